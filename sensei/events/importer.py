"""Import of interaction files: streamed, safe to interrupt and to repeat."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sensei.app_state import DEMO
from sensei.corrections.imports import begin_import
from sensei.curriculum import topic_ids
from sensei.errors import InvalidInput
from sensei.event_fields import CONTRACT_COLUMNS
from sensei.events import files, frames, rules
from sensei.events.log import Log
from sensei.events.rules_arrow import CANONICAL, BadRow, check_table

_EXAMPLES = 5


@dataclass
class ImportSummary:
    """Row counts of an import: read = inserted + repeated + quarantined + erased.

    `outside` has the good rows on each topic that the catalogue does not have.
    `identical` counts those of the repeated rows that came in batches without any event id: each is
    identical to an earlier row, of this import or of an earlier one.
    """

    read: int = 0
    inserted: int = 0
    repeated: int = 0
    identical: int = 0
    quarantined: int = 0
    erased: int = 0
    import_id: int | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    outside: Counter[int] = field(default_factory=Counter)

    def refuse(self, rows: Sequence[BadRow]) -> None:
        """Count refused rows, and keep an example of each of the first few reasons."""
        for bad in rows:
            if bad.expectation not in self.reasons and len(self.examples) < _EXAMPLES:
                self.examples.append(bad.reason)
            self.reasons[bad.expectation] += 1
        self.quarantined += len(rows)


@dataclass(frozen=True)
class CheckedBatch:
    """Some rows of a file: the good ones as `rules_arrow.CANONICAL`, and the bad ones.

    `has_ids` is False if no row came with an event id.
    """

    good: pa.Table
    bad: list[BadRow]
    bytes_read: int
    has_ids: bool


def import_files(
    log: Log,
    paths: Sequence[Path],
    mapping: Mapping[str, str],
    progress: Callable[[int, int], None] | None = None,
) -> ImportSummary:
    """Append the rows of files to the log; bad rows go into quarantine.

    Each batch is one transaction: repeating an interrupted import completes it.

    Args:
        log: the log to append to.
        paths: CSV, JSON Lines or Parquet files.
        mapping: a file's column -> the contract's column; an empty value leaves the column out.
        progress: called with the bytes read so far and the bytes of all files.

    Raises:
        InvalidInput: a file is broken or its columns do not fit; or the database is a demo.
        StorageUnavailable: the log cannot be written.
    """
    if log.get_fact(DEMO):
        raise InvalidInput(
            "import: expected a log of real learners, got a database of simulated ones; "
            "set SENSEI_HOME to another folder and run `sensei db upgrade` there"
        )
    total, catalogue = sum(files.size(path) for path in paths), topic_ids(log.engine)
    imported, done = ImportSummary(import_id=begin_import(log.engine, paths)), 0
    for path in paths:
        for batch in read_file(path, mapping):
            appended = log.append_table(
                batch.good, path.name, batch.bad, import_id=imported.import_id
            )
            imported.read += batch.good.num_rows + len(batch.bad)
            imported.inserted += appended.inserted
            imported.repeated += appended.repeated
            imported.identical += 0 if batch.has_ids else appended.repeated
            imported.erased += appended.erased
            imported.refuse([*appended.refused, *appended.conflicts])
            imported.outside += _outside(batch.good["topic_id"], catalogue)
            if progress:
                progress(done + batch.bytes_read, total)
        done += files.size(path)
    return imported


def _outside(topics: pa.ChunkedArray, catalogue: set[int]) -> Counter[int]:
    """Count the rows on each topic that the catalogue does not have; none without a catalogue."""
    if not catalogue:
        return Counter()
    counts = pc.value_counts(topics).to_pylist()
    return Counter(
        {row["values"]: row["counts"] for row in counts if row["values"] not in catalogue}
    )


def read_file(
    path: Path, mapping: Mapping[str, str], now: datetime | None = None
) -> Iterator[CheckedBatch]:
    """Read and check a file batch by batch.

    Args:
        path: a CSV, JSON Lines or Parquet file.
        mapping: a file's column -> the contract's column; an empty value leaves the column out.
        now: time from which the future is measured; the current time by default.

    Raises:
        InvalidInput: the file is broken or its columns do not fit.
    """
    until = rules.latest(now or datetime.now(UTC))
    for part in files.read(path, mapping):
        good, bad = check_table(part.table, until)
        yield CheckedBatch(good, [*part.bad, *bad], part.bytes_read, _has_ids(part.table))


def _has_ids(table: pa.Table) -> bool:
    return "event_id" in table.column_names and table["event_id"].null_count < table.num_rows


def read_frame(
    path: Path, mapping: Mapping[str, str], keep: Sequence[str] = ()
) -> tuple[pd.DataFrame, ImportSummary]:
    """Read a whole file as a frame with metadata, without a database; repeats are kept once.

    Args:
        path: a CSV, JSON Lines or Parquet file.
        mapping: a file's column -> the contract's column; an empty value leaves the column out.
        keep: columns of the file outside the contract to keep unchanged.

    Raises:
        InvalidInput: the file is broken, its columns do not fit, or a column to keep has a name
            that the frame uses.
    """
    taken = {"item_id", "difficulty", "interaction_id"} & set(keep)
    if taken:
        raise InvalidInput(
            f"column: expected a name that the log does not use, got {min(taken)}; rename it"
        )
    handed_on = {
        name: files.KEPT + name
        for name in keep
        if not (mapping.get(name) or name in CONTRACT_COLUMNS)
    }
    batches, imported = list(read_file(path, {**mapping, **handed_on})), ImportSummary()
    goods = [batch.good.select(CANONICAL.names) for batch in batches]
    table = pa.concat_tables([CANONICAL.empty_table(), *goods])
    for batch in batches:
        imported.read += batch.good.num_rows + len(batch.bad)
        imported.refuse(batch.bad)
    frame = frames.from_arrow(table, metadata=True)
    for name, inside in handed_on.items():
        values = [value for batch in batches for value in _values(batch.good, inside)]
        if any(value is not None for value in values):
            frame[name] = pd.Series(values, dtype=object)
    once = frame.drop_duplicates(["user_id", "event_id"]).reset_index(drop=True)
    imported.inserted, imported.repeated = len(once), len(frame) - len(once)
    return once, imported


def _values(table: pa.Table, name: str) -> list[Any]:
    """Return a column's values; None per row if it is absent, as in some JSON Lines batches."""
    return table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
