"""Files of corrections: CSV, JSON Lines or Parquet, one correction per row.

Columns: `user_id`, `event_id`, new values of fields that change, `void` (true voids the event) and
`reason`. An empty cell of a CSV file or a column that is absent changes nothing.
A row that voids an event and has new values too is refused.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet

from sensei.corrections.corrections import CHANGEABLE, Correction, CorrectionResult, correct
from sensei.errors import InvalidInput, LearnerErased
from sensei.events import rules
from sensei.events.log import Log

_CHUNK = 500  # corrections per transaction
_EXAMPLES = 5
_COLUMNS = ("user_id", "event_id", *CHANGEABLE, "void", "reason")


@dataclass
class CorrectionSummary:
    """Row counts of a file: read = changed + unchanged + unknown + refused + erased."""

    read: int = 0
    changed: int = 0
    unchanged: int = 0
    unknown: int = 0
    refused: int = 0
    erased: int = 0
    examples: list[str] = field(default_factory=list)

    def count(self, result: CorrectionResult) -> None:
        """Count one result."""
        if not result.is_known:
            self.unknown += 1
        elif result.is_new:
            self.changed += 1
        else:
            self.unchanged += 1


def correct_from_file(log: Log, path: Path, suppression: Path | None = None) -> CorrectionSummary:
    """Carry out the corrections of a file; rows that break a rule are counted and left out.

    Some hundred rows are one transaction: repeating an interrupted call completes it.

    Args:
        log: the log.
        path: the file; its ending tells the format.
        suppression: see `sensei.privacy.tombstones.ensure_key`.

    Raises:
        InvalidInput: the file cannot be read, or its columns do not fit.
        StorageUnavailable: the log cannot be written.
    """
    summary, orders = CorrectionSummary(), _orders(path)
    while chunk := list(islice(orders, _CHUNK)):
        summary.read += len(chunk)
        valid = [order for order in chunk if isinstance(order, Correction)]
        for message in (order for order in chunk if isinstance(order, str)):
            _refuse(summary, message)
        try:
            for result in correct(log.engine, valid, suppression=suppression):
                summary.count(result)
        except (InvalidInput, LearnerErased):
            for order in valid:  # separate transactions show which one failed
                _correct_one(log, order, suppression, summary)
    return summary


def _correct_one(
    log: Log, order: Correction, suppression: Path | None, summary: CorrectionSummary
) -> None:
    try:
        summary.count(correct(log.engine, [order], suppression=suppression)[0])
    except InvalidInput as error:
        _refuse(summary, f"{order.event_id}: {error}")
    except LearnerErased:
        summary.erased += 1


def _refuse(summary: CorrectionSummary, message: str) -> None:
    summary.refused += 1
    if len(summary.examples) < _EXAMPLES:
        summary.examples.append(message)


def _orders(path: Path) -> Iterator[Correction | str]:
    """Yield each row as a correction, or the sentence about the rule that it breaks."""
    for row in _rows(path):
        if not isinstance(row, dict):
            yield f"row: expected a JSON object, got {row!s:.80}; send one per line"
            continue
        unknown = sorted(row.keys() - {*_COLUMNS})
        if unknown:
            raise InvalidInput(
                f"{path.name}: expected columns of {', '.join(_COLUMNS)}, got also {unknown[0]}; "
                "leave it out"
            )
        try:
            yield _order(row)
        except InvalidInput as error:
            yield str(error)


def _order(row: dict[str, Any]) -> Correction:
    reason = row.get("reason")
    changes = {name: row[name] for name in CHANGEABLE if name in row}
    is_void = _is_void(row.get("void"))
    if is_void and changes:
        rules.refuse("void", "no new values next to true", [*changes], "send one or the other")
    return Correction(
        rules.check_user_id("user_id", row.get("user_id")),
        rules.check_id("event_id", row.get("event_id")),
        None if is_void else changes,
        None if reason is None else rules.check_id("reason", reason),
    )


def _is_void(value: object) -> bool:
    if str(value).strip().lower() in ("true", "1", "yes", "void"):
        return True
    if value is None or str(value).strip().lower() in ("false", "0", "no", ""):
        return False
    rules.refuse("void", "true or false", value, "send true to void the event")


def _rows(path: Path) -> Iterator[object]:
    readers = {".csv": _csv, ".jsonl": _json, ".ndjson": _json, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None or not path.is_file():
        raise InvalidInput(
            f"file: expected a file with an ending of {', '.join(readers)}, got {path}; check it"
        )
    try:
        yield from reader(path)
    except (OSError, UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
        raise InvalidInput(
            f"{path.name}: expected a whole file, got {str(error).splitlines()[0]!r}; "
            "write it again"
        ) from error


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file, strict=True):
            yield {name: value for name, value in row.items() if name and value}


def _json(path: Path) -> Iterator[object]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise InvalidInput(
                        f"{path.name}: expected a JSON object per line, got {line[:80]!r}; "
                        "correct it"
                    ) from error
                yield row


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_CHUNK):
            for row in batch.to_pylist():
                yield {name: value for name, value in row.items() if value is not None}
