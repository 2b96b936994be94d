"""Learner data and resources in the database; read per request, because requests are rare."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from features.style import detect_learning_style, evidence
from sensei import curriculum
from sensei.app_state import MONITORED
from sensei.contracts import LOG_UNREACHABLE
from sensei.errors import StorageUnavailable
from sensei.events import corrections
from sensei.privacy import erasure, preferences, tombstones
from sensei.privacy.look_alikes import look_alikes
from sensei.storage import database
from serving.state.log_reads import Reads

if TYPE_CHECKING:
    from sensei.curriculum import Resource, Topic
    from sensei.events.corrections import Correction, CorrectionResult
    from sensei.events.log import Log
    from sensei.privacy.audit_log import Actor


READ_SECONDS = 0.5
"""Deadline, in seconds, of a read that has a fallback."""

WRITE_SECONDS = 5.0
"""Deadline, in seconds, of a write of a learner's choice."""

LONG_SECONDS = 60.0
"""Deadline, in seconds, of an export, which may be long, and of an erasure, which waits for
readers."""

READERS, WRITERS = 1, 2
"""Number of threads for reads and for writes, separate so that slow writes do not block reads."""


NEVER_RAN = "monitoring: expected a first run, got none; run `sensei monitor`"
UNREACHABLE = "log: expected an answer, got none; the figures are those last read"


class LearnerData:
    """Access to learner data in the database, with deadlines.

    Args:
        connect: opens the log; called again after a failure to open.
        folders: folders of files derived from the log; an erasure empties them.
        suppression: file of erased learners, which outlives a restored backup.
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
        self._guarded: tuple[dict[str, Any], int | None] = ({}, None)

    def close(self) -> None:
        """Stop the threads."""
        self._reads.close()
        self._writes.close()

    async def find(self, doc_id: int) -> "tuple[Topic, Resource] | None":
        """Return a resource and its topic; during an outage, the last version read.

        Raises:
            StorageUnavailable: the database does not answer, and the resource was never read.
        """
        try:
            resource = await self._reads.ask(
                lambda log: curriculum.find(log.engine, doc_id), READ_SECONDS
            )
        except StorageUnavailable:
            if doc_id not in self._seen:
                raise
            return self._seen[doc_id]
        if resource is not None:
            self._seen[doc_id] = resource
        return resource

    async def learning_style(self, user_id: str) -> dict[str, Any]:
        """Return a learner's learning style: in effect, observed, chosen, and the evidence."""
        try:
            observed = await self._reads.ask(partial(_style, user_id=user_id), READ_SECONDS)
        except StorageUnavailable:
            return _described({}, None, LOG_UNREACHABLE)
        return _described(*observed, None)

    async def choose_style(self, user_id: str, style: str | None) -> dict[str, Any]:
        """Store a learner's choice, or remove it with None; return the result of `learning_style`.

        Raises:
            LearnerErased: the learner was erased.
            StorageUnavailable: nothing was written, or the outcome is unknown; repeat the call.
        """
        await self._writes.run(
            lambda log: preferences.set_style_override(log.engine, user_id, style), WRITE_SECONDS
        )
        return await self.learning_style(user_id)

    async def correct(self, order: "Correction", by: "Actor") -> "CorrectionResult":
        """Carry out a correction of an event.

        Raises:
            InvalidInput: a new value breaks a rule.
            LearnerErased: the learner was erased.
            StorageUnavailable: nothing was written, or the outcome is unknown; repeat the call.
        """
        return await self._writes.run(
            lambda log: corrections.correct(log.engine, [order], by, self._suppression)[0],
            WRITE_SECONDS,
        )

    async def monitored(self) -> dict[str, Any]:
        """Return the monitor's latest figures; those that are known, with a note.

        During a database outage, return the last figures read, labelled in `fallback`.
        """
        try:
            figures = await self._reads.ask(lambda log: log.get_fact(MONITORED), READ_SECONDS)
        except StorageUnavailable:
            missing = {"fallback": LOG_UNREACHABLE, "note": UNREACHABLE}
            return self._monitored | missing
        self._monitored = figures if isinstance(figures, dict) else {}
        return self._monitored | {"note": None if self._monitored else NEVER_RAN}

    async def guard_state(self) -> tuple[dict[str, Any], int | None]:
        """Return the monitor's figures and the time of the newest event, for the metrics.

        Both are single rows by an index. During a database outage, return those last read.
        """
        with suppress(StorageUnavailable):
            self._guarded = await self._reads.ask(_guarded, READ_SECONDS)
        return self._guarded

    async def quarantine(self, events: "Sequence[Any]") -> None:
        """Store refused events, except those of erased learners.

        Args:
            events: with `row`, `reason` and `expectation`.

        Raises:
            StorageUnavailable: nothing was stored.
        """
        await self._writes.run(lambda log: _quarantine(log, events), WRITE_SECONDS)

    async def export(self, user_id: str, by: "Actor") -> bytes | None:
        """Export all data held on a learner as JSON; None if there is none.

        An entry is written to the audit log first.

        Raises:
            StorageUnavailable: the database does not answer, or the audit entry cannot be written.
        """
        read = partial(_exported, user_id=user_id, suppression=self._suppression, by=by)
        return await self._writes.run(read, LONG_SECONDS)

    async def erase(self, user_id: str, by: "Actor") -> tuple[dict[str, int], list[str]]:
        """Erase a learner; return the number of rows erased by table, and the look-alikes.

        An entry is written to the audit log.

        Raises:
            StorageUnavailable: some data may remain; repeat the call.
        """
        return await self._writes.run(
            lambda log: (
                erasure.erase(log.engine, user_id, self._folders, self._suppression, by),
                look_alikes(log.engine, user_id),
            ),
            LONG_SECONDS,
        )


def _style(log: "Log", user_id: str) -> tuple[dict[str, int], str | None]:
    """Return the number of events by kind, and the style that the learner chose."""
    kinds = preferences.kinds(log.engine, user_id)
    return kinds, preferences.style_override(log.engine, user_id)


def _guarded(log: "Log") -> tuple[dict[str, Any], int | None]:
    monitored = log.get_fact(MONITORED)
    return monitored if isinstance(monitored, dict) else {}, log.last_time(2**63 - 1)


def _quarantine(log: "Log", events: "Sequence[Any]") -> None:
    from sensei.events import quarantine  # here: a service that refuses nothing needs neither
    from sensei.events.refusals import HTTP

    with database.write_transaction(log.engine) as connection:
        gone = tombstones.erased(connection, {str(event.row.get("user_id")) for event in events})
        stored = [event for event in events if str(event.row.get("user_id")) not in gone]
        quarantine.store(connection, stored, HTTP, datetime.now(UTC))


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


def _exported(log: "Log", user_id: str, suppression: Path | None, by: "Actor") -> bytes | None:
    rows = erasure.export(log.engine, user_id, suppression, by)
    if not any(rows.values()):
        return None
    others = look_alikes(log.engine, user_id)
    return orjson.dumps({"user_id": user_id, "held": rows, "look_alikes": others})
