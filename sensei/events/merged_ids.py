"""Former ids of merged learners: what is sent under one counts for the learner it became."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection

from sensei.storage.sql import signs

PRESENT_ID = "COALESCE((SELECT into_user_id FROM merged_learners WHERE user_id = {0}), {0})"
"""SQL for the present id of a learner; `{0}` stands for a parameter with any id of theirs."""

_CHUNK = 5_000  # names per statement: databases limit its parameters


@dataclass(frozen=True)
class MergedIds:
    """Former ids that concern some learners.

    Attributes:
        into: former id -> the learner's present id.
    """

    into: Mapping[str, str]

    def present(self, user_id: str) -> str:
        """Return the present id of a learner."""
        return self.into.get(user_id, user_id)

    def all_of(self, user_ids: Iterable[str]) -> set[str]:
        """Return the present ids of learners, and all their former ids."""
        present = {self.present(user_id) for user_id in user_ids}
        return present | {former for former, into in self.into.items() if into in present}


def merged_ids(connection: Connection, user_ids: Iterable[str]) -> MergedIds:
    """Read all former ids of the learners that some ids name."""
    cursor, names = connection.connection.cursor(), iter(user_ids)
    into: dict[str, str] = {}
    while chunk := list(islice(names, _CHUNK)):
        listed = signs(connection, len(chunk))
        cursor.execute(
            "SELECT user_id, into_user_id FROM merged_learners "  # noqa: S608 - our own signs
            f"WHERE user_id IN ({listed}) OR into_user_id IN ({listed}) OR into_user_id IN "
            f"(SELECT into_user_id FROM merged_learners WHERE user_id IN ({listed}))",
            3 * chunk,
        )
        into.update(cursor.fetchall())
    return MergedIds(into)
