"""The log of interactions: the single source of truth, append-only."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from sensei.corrections.merged_ids import PRESENT_ID, merged_ids
from sensei.events import append, quarantine
from sensei.events.append import Interaction
from sensei.privacy import tombstones
from sensei.storage import database, revisions
from sensei.storage.database import Deadlines
from sensei.storage.database_file import DatabaseFile
from sensei.storage.revisions import Revisions
from sensei.storage.tables import (
    AppStateRow,
    ErasedLearner,
    LearnerRow,
    ServingState,
    UserInteraction,
    to_datetime,
    to_microseconds,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from sensei.events.rules_arrow import BadRow

# Modules for columns are imported in the methods that use them. pandas and Arrow take 70 MB of
# memory and half a second, and serving, which works on rows, never needs them.


@dataclass(frozen=True)
class BulkAppendResult:
    """Outcome of a bulk append; `conflicts` is filled only if the rows may be quarantined.

    Rows of erased learners are never stored: `erased` counts them. `refused` are the bad rows of
    other learners.
    """

    inserted: int
    repeated: int
    conflicts: "tuple[BadRow, ...]" = ()
    refused: "tuple[BadRow, ...]" = ()
    erased: int = 0


class Event(NamedTuple):
    """One valid interaction of a learner, as serving folds it; time in microseconds since 1970.

    `arrival` is its key, or the key of the row that was first stored for it.
    """

    id: int
    event_id: str
    interaction_type: str
    topic_id: int
    score: float | None
    duration_seconds: int | None
    timestamp: int
    item_id: str | None
    difficulty: str | None
    arrival: int

    @property
    def order(self) -> tuple[int, int]:
        """Sort key of the fold: time, then arrival."""
        return self.timestamp, self.arrival


_EVENTS = (
    f"SELECT {', '.join(Event._fields)} FROM valid_interactions "  # noqa: S608 - our own names
    f"WHERE user_id = {PRESENT_ID.format('%s')} AND id > %s"
)

_HALF = 2**53
"""Bound of the two integers that hold a score in SQLite's JSON.

They hold a score in [0, 1] exactly, or to 2**-106 if it is below 2**-54.
"""

_SQLITE_EVENTS = f"""
SELECT json_group_array(json_array(
    id, event_id, interaction_type, topic_id, high,
    CAST((score * {_HALF}.0 - high) * {_HALF}.0 AS INTEGER),
    duration_seconds, timestamp, item_id, difficulty, arrival
)) FROM (
    SELECT *, CAST(score * {_HALF}.0 AS INTEGER) AS high FROM valid_interactions
    WHERE user_id = {PRESENT_ID.format("?")} AND (timestamp, id) > (?, ?) AND id > ?
    ORDER BY timestamp, id LIMIT ?
)
"""  # noqa: S608 - our own numbers
"""Query for a page of a learner's events as one row.

SQLite releases and takes Python's global lock again at each row: next to a busy event loop, 300
rows took 300 ms. SQLite's JSON rounds floats, so a score is sent as two integers.
"""


def _pieces_of_sqlite(cursor: Any, user_id: str, size: int, after_id: int) -> Iterator[list[Event]]:
    last = (-(2**63), 0)
    while True:
        cursor.execute(_SQLITE_EVENTS, (user_id, user_id, *last, after_id, size))
        rows = orjson.loads(cursor.fetchall()[0][0])
        if not rows:
            return
        for row in rows:
            low = row.pop(5)
            if low is not None:
                row[4] = (row[4] + low / _HALF) / _HALF
        yield [Event._make(row) for row in rows]
        last = max((row[6], row[0]) for row in rows)


def open_log(
    url: str, deadlines: Deadlines = database.PATIENT, file: DatabaseFile | None = None
) -> "Log":
    """Open the log.

    Args:
        url: URL of the database.
        deadlines: longest waits for the database.
        file: see `database.connect`.

    Raises:
        StorageUnavailable: the database is absent, unreadable, or not at the newest migration.
    """
    log = Log(url, deadlines, file)
    database.check(log.engine)
    return log


class Log:
    """The log and the small tables next to it; packages with their own tables use `engine`."""

    def __init__(
        self,
        url: str,
        deadlines: Deadlines = database.PATIENT,
        file: DatabaseFile | None = None,
    ) -> None:
        """Create the engine without a connection; see `open_log`."""
        self.engine = database.connect(url, deadlines, file)
        self.sqlite = database.is_sqlite(self.engine.url)
        self._revisions = revisions.Revisions(self.engine)

    def close(self) -> None:
        """Close all connections."""
        self._revisions.close()
        self.engine.dispose()

    # Writing

    def append(
        self, interactions: Iterable[Interaction | Mapping[str, Any]], now: datetime | None = None
    ) -> BulkAppendResult:
        """Append events, all or none; an event that is stored already is counted, not repeated.

        Args:
            interactions: events in the data contract.
            now: time of receipt; the current time by default.

        Raises:
            InvalidInput: an event breaks a rule.
            ConflictingEvent: an event id is stored with another payload.
            LearnerErased: a learner was erased.
            StorageUnavailable: nothing was written.
        """
        now = now or datetime.now(UTC)
        submission = append.entries(interactions, now)
        appended = append.append(self.engine, submission, now)
        return BulkAppendResult(appended.inserted, len(submission) - appended.inserted)

    def append_table(
        self,
        table: "pa.Table",
        source: str,
        bad: "Sequence[BadRow]" = (),
        now: datetime | None = None,
        import_id: int | None = None,
    ) -> BulkAppendResult:
        """Append checked rows in one transaction; conflicting rows go into quarantine.

        Rows of erased learners are dropped, bad rows included.

        Args:
            table: rows as `rules_arrow.CANONICAL`.
            source: name of the rows' source, for the quarantine.
            bad: refused rows to quarantine in the same transaction.
            now: time of receipt; the current time by default.
            import_id: the import that the rows belong to, if any.

        Raises:
            StorageUnavailable: nothing was written.
        """
        from sensei.corrections import imports
        from sensei.events import bulk_append

        now = now or datetime.now(UTC)
        suspects = {
            *table["user_id"].unique().to_pylist(),
            *(str(bad_row.row.get("user_id")) for bad_row in bad),
        }
        with database.write_transaction(self.engine) as connection:
            erased_ids = tombstones.erased(connection, suspects)
            accepted, refused = _without(erased_ids, table, bad)
            inserted, conflicts = bulk_append.append(connection, accepted, now, import_id)
            if import_id is not None:
                imports.count_rows(connection, import_id, inserted)
            quarantine.store(connection, [*refused, *conflicts], source, now)
        repeated = accepted.num_rows - inserted - len(conflicts)
        erased = table.num_rows + len(bad) - accepted.num_rows - len(refused)
        return BulkAppendResult(inserted, repeated, tuple(conflicts), tuple(refused), erased)

    def quarantine_interactions(
        self, reasons: Mapping[int, str], expectation: str, source: str = "validation"
    ) -> int:
        """Exclude interactions from the valid ones.

        Args:
            reasons: the reason by interaction id.
            expectation: the expectation that they failed.
            source: name of the check that found them.

        Returns:
            Number of interactions that were not in quarantine before.
        """
        with database.write_transaction(self.engine) as connection:
            tombstones.join_writers(connection)
            users, count = quarantine.take_out(connection, reasons, expectation, source)
            names = merged_ids(connection, users).all_of(users)
            revisions.raise_revisions(connection, names)
        return count

    # Reading

    def read(
        self,
        until: datetime | None = None,
        since: datetime | None = None,
        columns: Sequence[str] | None = None,
        metadata: bool = False,
    ) -> "pd.DataFrame":
        """Read valid interactions with `since` <= timestamp < `until`; see `sensei.events.frames`.

        Args:
            until: end of the window, exclusive; None: to the end.
            since: start of the window, inclusive; None: from the start.
            columns: columns of the log to read; by default all that the frame has.
            metadata: include the metadata as JSON text.

        Raises:
            StorageUnavailable: the database cannot be read.
        """
        from sensei.events import frames

        names = [*(columns or frames.COLUMNS), *(["metadata"] if metadata else [])]
        return frames.from_arrow(self.read_arrow(until, since, names), metadata)

    def read_arrow(
        self, until: datetime | None, since: datetime | None, columns: Sequence[str]
    ) -> "pa.Table":
        """Read like `read`, but return an Arrow table of the named columns."""
        from sensei.events import bulk_read

        bounds = [f"timestamp >= {to_microseconds(since)}"] if since else []
        bounds += [f"timestamp < {to_microseconds(until)}"] if until else []
        return bulk_read.read(self.engine, columns, " AND ".join(bounds))

    def read_learner(self, user_id: str, after_id: int = 0) -> list[Event]:
        """Return a learner's valid events with a key above `after_id`, by time, then arrival."""
        pieces = self.learner_in_pieces(user_id, 1_000, after_id)
        return sorted(chain.from_iterable(pieces), key=lambda event: event.order)

    def learner_in_pieces(
        self, user_id: str, size: int, after_id: int = 0
    ) -> Iterator[list[Event]]:
        """Yield a learner's valid events in no fixed order, in lists of at most `size`.

        The connection stays open until the last list.
        """
        with database.read_connection(self.engine) as connection:
            cursor = connection.connection.cursor()
            if self.sqlite:
                yield from _pieces_of_sqlite(cursor, user_id, size, after_id)
                return
            cursor.execute(_EVENTS, (user_id, user_id, after_id))
            while rows := cursor.fetchmany(size):
                yield [Event._make(row) for row in rows]

    def last_id(self) -> int:
        """Return the newest key; 0 for an empty log."""
        return int(self._scalar(select(func.coalesce(func.max(UserInteraction.id), 0))))

    def last_time(self, before_us: int) -> int | None:
        """Return the last interaction's time before a time (us since 1970); None without one."""
        query = "SELECT MAX(timestamp) FROM user_interactions WHERE timestamp < :before"
        time = self._scalar(text(query).bindparams(before=before_us))
        return None if time is None else int(time)

    def revision(self, user_id: str) -> int | None:
        """Return the number of writes that touched a learner; None if they were never seen."""
        return self.revisions((user_id,)).get(user_id)

    def revisions(self, user_ids: Sequence[str]) -> dict[str, int]:
        """Return the revision of each learner; those never seen are left out."""
        return self._revisions.of(user_ids)

    def revisions_without_waiting(self) -> "Revisions | None":
        """Open a reader of revisions for an event loop; see `Revisions.without_waiting`."""
        return self._revisions.without_waiting()

    def log_revision(self) -> int:
        """Return a number that grows with every write to any learner's interactions."""
        present, gone = (
            select(func.coalesce(func.sum(table.revision), 0)).scalar_subquery()
            for table in (LearnerRow, ErasedLearner)
        )
        return int(self._scalar(select(present + gone)))

    def count(self) -> int:
        """Return the number of interactions in the log, quarantined ones included."""
        return int(self._scalar(select(func.count()).select_from(UserInteraction)))

    def is_empty(self) -> bool:
        """Tell if the log has no interaction."""
        return self._scalar(select(UserInteraction.id).limit(1)) is None

    def last_event(self) -> datetime | None:
        """Return the time of the newest valid interaction; None without one."""
        time = self._scalar(text("SELECT MAX(timestamp) FROM valid_interactions"))
        return None if time is None else to_datetime(time)

    def _scalar(self, query: Any) -> Any:
        with database.read_connection(self.engine) as connection:
            return connection.execute(query).scalar()

    # Facts and the serving pointer

    def get_fact(self, name: str) -> Any:
        """Return a named value about the database; None if it was never set."""
        return self._scalar(select(AppStateRow.value).where(AppStateRow.name == name))

    def set_fact(self, name: str, value: Any) -> None:
        """Set a named value, anything that JSON can hold."""
        self._replace(AppStateRow(name=name, value=value))

    def pointer(self) -> str | None:
        """Return the digest of the bundle that serving must load; None if none was set."""
        digest = self._scalar(select(ServingState.bundle).where(ServingState.name == "serving"))
        return None if digest is None else str(digest)

    def set_pointer(self, digest: str) -> None:
        """Point serving at a bundle."""
        now = datetime.now(UTC)
        self._replace(ServingState(name="serving", bundle=digest, updated_at=now))

    def _replace(self, row: AppStateRow | ServingState) -> None:
        with database.write_transaction(self.engine) as connection, Session(connection) as session:
            session.merge(row)
            session.flush()


def _without(
    erased_ids: set[str], table: "pa.Table", bad: "Sequence[BadRow]"
) -> "tuple[pa.Table, list[BadRow]]":
    """Return the rows without those of erased learners."""
    if not erased_ids:
        return table, list(bad)
    import pyarrow as pa
    import pyarrow.compute as pc

    theirs = pc.is_in(table["user_id"], value_set=pa.array(sorted(erased_ids)))
    refused = [bad_row for bad_row in bad if str(bad_row.row.get("user_id")) not in erased_ids]
    return table.filter(pc.invert(theirs)), refused
