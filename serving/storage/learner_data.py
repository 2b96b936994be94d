"""What the database holds of learners and resources: seldom asked, so read at each request."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from features.style import detect_learning_style, evidence
from sensei import curriculum
from sensei.app_state import MONITORED
from sensei.errors import StorageUnavailable
from sensei.privacy import erasure, preferences
from serving.api.monitoring_schemas import NEVER_RAN, NOTHING, UNREACHABLE
from serving.engine.request_context import LOG_UNREACHABLE
from serving.state.log_reads import Reads

if TYPE_CHECKING:
    from sensei.curriculum import Resource, Topic
    from sensei.events.log import Log
    from sensei.privacy.audit_log import Actor


READ_SECONDS = 0.5
"""Deadline of a read that has a fallback."""

WRITE_SECONDS = 5.0
"""Deadline of a learner's choice."""

LONG_SECONDS = 60.0
"""Deadline of an export, which may be long, and of an erasure, which waits for readers."""

READERS, WRITERS = 1, 2
"""Threads of each kind: what is slow must not keep the reads waiting."""


class LearnerData:
    """Answers from the database, within a deadline.

    Args:
        connect: opens the log; called again after a failure to open.
        folders: what lies in them is made from the log, and an erase empties them.
        suppression: the list of who was erased, which outlives a restored backup.
    """

    def __init__(
        self,
        connect: "Callable[[], Log]",
        folders: Sequence[Path],
        suppression: Path | None = None,
    ) -> None:
        self._folders = folders
        self._suppression = suppression
        self._reads = Reads(connect, READERS, "records")
        self._writes = Reads(connect, WRITERS, "changes")
        self._seen: dict[int, tuple[Topic, Resource]] = {}
        self._monitored: dict[str, Any] = {}

    def close(self) -> None:
        """Let the threads end."""
        self._reads.close()
        self._writes.close()

    async def find(self, doc_id: int) -> "tuple[Topic, Resource] | None":
        """A resource and its topic; while the database does not answer, as it was last seen.

        Raises:
            StorageUnavailable: the database does not answer, and it was never seen.
        """
        try:
            found = await self._reads.ask(
                lambda log: curriculum.find(log.engine, doc_id), READ_SECONDS
            )
        except StorageUnavailable:
            if doc_id not in self._seen:
                raise
            return self._seen[doc_id]
        if found is not None:
            self._seen[doc_id] = found
        return found

    async def learning_style(self, user_id: str) -> dict[str, Any]:
        """What a learner turns to, what the learner chose, and what counts."""
        try:
            found = await self._reads.ask(partial(_style, user_id=user_id), READ_SECONDS)
        except StorageUnavailable:
            return _described({}, None, LOG_UNREACHABLE)
        return _described(*found, None)

    async def choose_style(self, user_id: str, style: str | None) -> dict[str, Any]:
        """Keep a learner's choice, None to take it back; as `learning_style` answers.

        Raises:
            LearnerErased: the learner was erased.
            StorageUnavailable: nothing was written, or nobody knows; it may be repeated.
        """
        await self._writes.run(
            lambda log: preferences.set_style_override(log.engine, user_id, style), WRITE_SECONDS
        )
        return await self.learning_style(user_id)

    async def monitored(self) -> dict[str, Any]:
        """What the monitor last found; see `serving.api.monitoring_schemas.Monitored`.

        While the database does not answer, as it was last read, which `fallback` says.
        """
        try:
            found = await self._reads.ask(lambda log: log.get_fact(MONITORED), READ_SECONDS)
        except StorageUnavailable:
            missing = {"fallback": LOG_UNREACHABLE, "note": UNREACHABLE}
            return NOTHING | self._monitored | missing
        self._monitored = found if isinstance(found, dict) else {}
        return NOTHING | self._monitored | {"note": None if self._monitored else NEVER_RAN}

    async def export(self, user_id: str, by: "Actor") -> bytes | None:
        """Export everything held of a learner as JSON; None if nothing is held.

        The audit log takes an entry first.

        Raises:
            StorageUnavailable: the database does not answer, or takes no entry.
        """
        read = partial(_exported, user_id=user_id, by=by)
        return await self._writes.run(read, LONG_SECONDS)

    async def erase(self, user_id: str, by: "Actor") -> dict[str, int]:
        """Erase a learner; rows erased by table. The audit log takes an entry.

        Raises:
            StorageUnavailable: something may remain; repeat it.
        """
        return await self._writes.run(
            lambda log: erasure.erase(log.engine, user_id, self._folders, self._suppression, by),
            LONG_SECONDS,
        )


def _style(log: "Log", user_id: str) -> tuple[dict[str, int], str | None]:
    """Number of events by kind, and the style that the learner chose."""
    kinds = preferences.kinds(log.engine, user_id)
    return kinds, preferences.style_override(log.engine, user_id)


def _described(kinds: dict[str, int], chosen: str | None, fallback: str | None) -> dict[str, Any]:
    seen = evidence(kinds)
    observed = detect_learning_style(**seen)
    return {
        "learning_style": chosen or observed,
        "observed": observed,
        "override": chosen,
        "evidence": seen,
        "fallback": fallback,
    }


def _exported(log: "Log", user_id: str, by: "Actor") -> bytes | None:
    held = erasure.export(log.engine, user_id, by)
    return orjson.dumps({"user_id": user_id, "held": held}) if any(held.values()) else None
