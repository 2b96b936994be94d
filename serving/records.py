"""What the database holds of learners and resources: seldom asked, so asked anew each time.

Every call waits for the database: call it in a thread.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.style import detect_learning_style, evidence
from sensei import curriculum, erasure, preferences
from sensei.errors import StorageUnavailable
from sensei.facts import MONITORED
from serving.monitored import NEVER_RAN, NOTHING, UNREACHABLE
from serving.question import LOG_UNREACHABLE

if TYPE_CHECKING:
    from sensei.audit_log import Actor
    from sensei.curriculum import Resource, Topic
    from sensei.log import Log


class Records:
    """Answers from the database; any thread may ask.

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
        self._connect = connect
        self._folders = folders
        self._suppression = suppression
        self._opened: Log | None = None
        self._seen: dict[int, tuple[Topic, Resource]] = {}
        self._monitored: dict[str, Any] = {}

    @property
    def _log(self) -> "Log":
        self._opened = self._opened or self._connect()
        return self._opened

    def find(self, doc_id: int) -> "tuple[Topic, Resource] | None":
        """A resource and its topic; while the database does not answer, as it was last seen.

        Raises:
            StorageUnavailable: the database does not answer, and it was never seen.
        """
        try:
            found = curriculum.find(self._log.engine, doc_id)
        except StorageUnavailable:
            if doc_id not in self._seen:
                raise
            return self._seen[doc_id]
        if found is not None:
            self._seen[doc_id] = found
        return found

    def learning_style(self, user_id: str) -> dict[str, Any]:
        """What a learner turns to, what he chose, and what counts."""
        try:
            kinds = preferences.kinds(self._log.engine, user_id)
            chosen = preferences.style_override(self._log.engine, user_id)
            fallback = None
        except StorageUnavailable:
            kinds, chosen, fallback = {}, None, LOG_UNREACHABLE
        seen = evidence(kinds)
        observed = detect_learning_style(**seen)
        return {
            "learning_style": chosen or observed,
            "observed": observed,
            "override": chosen,
            "evidence": seen,
            "fallback": fallback,
        }

    def choose_style(self, user_id: str, style: str | None) -> dict[str, Any]:
        """Keep a learner's choice, None to take it back; as `learning_style` answers.

        Raises:
            LearnerErased: the learner was erased.
            StorageUnavailable: nothing was written.
        """
        preferences.set_style_override(self._log.engine, user_id, style)
        return self.learning_style(user_id)

    def monitored(self) -> dict[str, Any]:
        """What the monitor last found; see `serving.monitored.Monitored`.

        While the database does not answer, as it was last read, which `fallback` says.
        """
        try:
            found = self._log.get_fact(MONITORED)
        except StorageUnavailable:
            missing = {"fallback": LOG_UNREACHABLE, "note": UNREACHABLE}
            return NOTHING | self._monitored | missing
        self._monitored = found if isinstance(found, dict) else {}
        return NOTHING | self._monitored | {"note": None if self._monitored else NEVER_RAN}

    def export(self, user_id: str, by: "Actor") -> dict[str, Any]:
        """Everything held of a learner; who asks stands in the audit log first.

        Raises:
            StorageUnavailable: the database does not answer, or takes no entry.
        """
        return erasure.export(self._log.engine, user_id, by)

    def erase(self, user_id: str, by: "Actor") -> dict[str, int]:
        """Erase a learner; rows erased by table. Who asks stands in the audit log.

        Raises:
            StorageUnavailable: something may remain; repeat it.
        """
        return erasure.erase(self._log.engine, user_id, self._folders, self._suppression, by)
