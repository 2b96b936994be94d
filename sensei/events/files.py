"""Files of interactions, read batch by batch: CSV, JSON Lines, Parquet."""

import csv
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sensei.errors import InvalidInput
from sensei.event_fields import CONTRACT_COLUMNS, REQUIRED_COLUMNS
from sensei.events import rules
from sensei.events.rules_arrow import BadRow

BATCH = 50_000
"""Rows per batch and transaction, so other writers wait only for a moment."""

KEPT = "\0"
"""Prefix of the name of a column outside the contract, which is passed on unchecked."""

_BLOCK_BYTES = 8 << 20  # of a CSV file: about as many rows
_HEAD = 4096  # first bytes of a file, which tell text from binary data

_GZIP = b"\x1f\x8b"
_BINARY = {
    _GZIP: "a gzip archive; unpack it",
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save it as CSV",
    b"PAR1": "a Parquet file; give it the ending .parquet",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
}
"""First bytes of a binary file -> its type and the next step."""

_OTHER = "binary data; save it as CSV, JSON Lines or Parquet"


@dataclass(frozen=True)
class FileBatch:
    """Some rows with the contract's column names, and the lines that are not rows."""

    table: pa.Table
    bytes_read: int
    bad: list[BadRow] = field(default_factory=list)


def size(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises:
        InvalidInput: there is no such file.
    """
    if not path.is_file():
        raise InvalidInput(f"file: expected a file at {path}, got none; check the path")
    return path.stat().st_size


def read(path: Path, mapping: Mapping[str, str]) -> Iterator[FileBatch]:
    """Read a file batch by batch.

    Args:
        path: the suffix tells the format: .csv, .jsonl, .ndjson or .parquet.
        mapping: a file's column -> the contract's column; an empty value leaves the column out.

    Raises:
        InvalidInput: the file is absent, broken, or its columns do not fit.
    """
    size(path)
    readers = {".csv": _csv, ".jsonl": _json, ".ndjson": _json, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        endings = ", ".join(readers)
        raise InvalidInput(f"{path.name}: expected an ending of {endings}; convert or rename it")
    if reader is not _parquet:
        _check_text(path)
    try:
        yield from reader(path, mapping)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        problem = str(error).splitlines()[0]
        whole = "parquet file" if reader is _parquet else f"{path.suffix[1:]} file in UTF-8"
        raise InvalidInput(
            f"{path.name}: expected a whole {whole}, got {problem!r}; "
            "write it again, then repeat: no row counts twice"
        ) from error


def columns(path: Path) -> list[str]:
    """Return the names of a file's columns; for JSON Lines, the keys of all its rows.

    Args:
        path: a file that `read` can read.
    """
    if path.suffix.lower() == ".parquet":
        return list(pyarrow.parquet.read_schema(path).names)
    if path.suffix.lower() == ".csv":
        return _header(path)
    with path.open("rb") as file:
        return list(dict.fromkeys(key for rows, _ in _objects(file) for row in rows for key in row))


def _check_text(path: Path) -> None:
    """Refuse a binary file before each of its lines is called broken.

    A NUL in a later line of a text file does not count as binary: only that row breaks a rule.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    try:
        getincrementaldecoder("utf-8")().decode(head)
        start = head.split(b"\n", 1)[0]
    except UnicodeDecodeError:
        start = head
    if b"\0" in start or head.startswith(_GZIP):
        content = next(
            (description for begin, description in _BINARY.items() if head.startswith(begin)),
            _OTHER,
        )
        raise InvalidInput(f"{path.name}: expected text in UTF-8, got {content}")


def names(path: Path, present: list[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the contract's column of each column to read.

    Raises:
        InvalidInput: a column is unknown, missing, or named twice.
    """
    for theirs, ours in mapping.items():
        if ours and not _expected(ours):
            columns_of_contract = ", ".join(CONTRACT_COLUMNS)
            raise InvalidInput(
                f"--map {theirs}={ours}: expected one of {columns_of_contract}, got {ours!r}"
            )
    absent = [t for t, ours in mapping.items() if t not in present and not ours.startswith(KEPT)]
    if absent:
        raise InvalidInput(
            f"--map {absent[0]}=...: expected a column of {path.name}, got {', '.join(present)}; "
            "name one of them"
        )
    ours_of = {theirs: mapping.get(theirs, theirs) for theirs in present}
    renamed = {theirs: ours for theirs, ours in ours_of.items() if ours}
    unknown = [theirs for theirs, ours in renamed.items() if not _expected(ours)]
    missing = [ours for ours in REQUIRED_COLUMNS if ours not in renamed.values()]
    if missing:
        step = f"name theirs with `--map THEIRS={missing[0]}`"
        raise InvalidInput(
            f"{path.name}: expected columns {', '.join(REQUIRED_COLUMNS)}, "
            f"got {', '.join(present) or 'none'}; {step}"
        )
    if unknown:
        raise InvalidInput(
            f"{path.name}: expected columns of the data contract, got also {', '.join(unknown)}; "
            f"name each with `--map {unknown[0]}=OURS`, or leave it out with `--map {unknown[0]}=`"
        )
    if len(set(present)) < len(present) or len(set(renamed.values())) < len(renamed):
        raise InvalidInput(f"{path.name}: expected each column once, got two; check `--map`")
    return renamed


def _expected(ours: str) -> bool:
    return ours in CONTRACT_COLUMNS or ours.startswith(KEPT)


def _parquet(path: Path, mapping: Mapping[str, str]) -> Iterator[FileBatch]:
    with pyarrow.parquet.ParquetFile(path) as file:
        renamed_columns = names(path, file.schema_arrow.names, mapping)
        rows = 0
        for batch in file.iter_batches(BATCH, columns=list(renamed_columns)):
            batch.validate(full=True)  # finds text that is not UTF-8 here, not in a later step
            rows += batch.num_rows
            table = pa.Table.from_batches([batch])
            renamed = table.rename_columns([renamed_columns[name] for name in table.column_names])
            yield FileBatch(renamed, size(path) * rows // file.metadata.num_rows)


def _csv(path: Path, mapping: Mapping[str, str]) -> Iterator[FileBatch]:
    renamed_columns = names(path, _header(path), mapping)
    bad: list[BadRow] = []

    def refuse(row: Any) -> str:
        reason = f"line: expected {row.expected_columns} fields, got {row.actual_columns}"
        bad.append(BadRow({"line": row.text}, f"{reason}; quote or correct it"))
        return "skip"

    # Everything as text: a type guessed from the first rows breaks on a later one.
    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(renamed_columns, pa.string()),
        include_columns=list(renamed_columns),
        strings_can_be_null=True,
        null_values=[""],
    )
    with path.open("rb") as file:
        reader = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=options,
        )
        for batch in reader:
            renamed = pa.Table.from_batches([batch]).rename_columns(list(renamed_columns.values()))
            yield FileBatch(renamed, file.tell(), bad.copy())
            bad.clear()
    if bad:  # the reader yields no batch if none of the lines is a row
        yield FileBatch(_no_rows(), size(path), bad)


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        return next(csv.reader(text), [])


def _no_rows() -> pa.Table:
    return pa.table({name: pa.nulls(0) for name in CONTRACT_COLUMNS})


def _json(path: Path, mapping: Mapping[str, str]) -> Iterator[FileBatch]:
    with path.open("rb") as file:
        for rows, bad in _objects(file):
            yield FileBatch(_json_table(path, mapping, rows), file.tell(), bad)


def _objects(file: BinaryIO) -> Iterator[tuple[list[dict[str, Any]], list[BadRow]]]:
    """Yield rows batch by batch, each with the lines that are not JSON objects."""
    while lines := list(islice(file, BATCH)):
        rows: list[dict[str, Any]] = []
        bad: list[BadRow] = []
        for line in lines:
            try:
                row = orjson.loads(line) if line.strip() else {}
            except orjson.JSONDecodeError:
                row = None
            if isinstance(row, dict):
                rows.extend([row] if row else [])
            else:
                text = line.decode(errors="replace").strip()
                reason = f"line: expected a JSON object, got {text[:80]!r}; correct it"
                bad.append(BadRow({"line": text}, reason))
        yield rows, bad


def _json_table(path: Path, mapping: Mapping[str, str], rows: list[dict[str, Any]]) -> pa.Table:
    # Keys may differ from row to row; an optional key may be absent from all rows.
    keys = list(dict.fromkeys(key for row in rows for key in row)) if rows else []
    of_part = {theirs: ours for theirs, ours in mapping.items() if theirs in keys}
    renamed_columns = names(path, keys, of_part) if rows else {}
    columns = {
        ours: _column([row.get(key) for row in rows], ours) for key, ours in renamed_columns.items()
    }
    return pa.table(columns) if rows else _no_rows()


def _column(values: list[Any], name: str) -> pa.Array:
    """Return values of one type unchanged; mixed values and objects as JSON text.

    Values nested too deep are cut off, and still break the rule. Arrow and the JSON writer would
    fail on them, but only that row must be refused.
    """
    values = [rules.cut_off(v) if isinstance(v, dict | list) else v for v in values]
    if name != "metadata":
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError):
            pass
    texts = [
        value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
        for value in values
    ]
    return pa.array(texts, pa.string())
