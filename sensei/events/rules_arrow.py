"""The rules of `sensei.events.rules` on whole columns, for imports and large batches.

Each column has a fast path that accepts only clearly valid values, with the result of the rule.
Every other value goes through the rule itself, so rows and columns cannot differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sensei.contracts import KINDS
from sensei.errors import InvalidInput
from sensei.event_fields import CHECKED, CONTRACT_COLUMNS, EARLIEST, FieldType
from sensei.events import rules
from sensei.events.event_ids import event_ids

ARROW_TYPES = {
    FieldType.KEY: pa.int64(),
    FieldType.TEXT: pa.string(),
    FieldType.INTEGER: pa.int64(),
    FieldType.NUMBER: pa.float64(),
    FieldType.TIME: pa.timestamp("us", "UTC"),
    FieldType.JSON: pa.string(),
}
"""Arrow types of the fields of an event."""

CANONICAL = pa.schema({field.name: ARROW_TYPES[field.type] for field in CHECKED})
"""Columns of checked rows, as the log stores them."""

_EARLIEST = pa.scalar(EARLIEST, pa.timestamp("us", "UTC"))
Mask = np.ndarray[Any, np.dtype[np.bool_]]
_NORMAL_USER_ID = "^[!-~]([ -~]*[!-~])?$"  # ASCII without blanks at the ends
_PLAIN_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?Z$"


@dataclass(frozen=True)
class BadRow:
    """Refused row: its raw values, and the first rule that it broke."""

    row: dict[str, Any]
    reason: str

    @property
    def expectation(self) -> str:
        """Text of the rule without the value, by which reasons are counted."""
        return self.reason.split(", got ")[0]


def check_table(table: pa.Table, until: datetime) -> tuple[pa.Table, list[BadRow]]:
    """Apply every rule to every row.

    Args:
        table: columns of the data contract; required ones must be present, others may be absent.
        until: latest time that does not count as future (`rules.latest`).

    Returns:
        The good rows as `CANONICAL`, in their order, with columns outside the contract unchanged;
        and the bad rows.
    """
    table = _within_calendar(table)
    reasons: dict[int, str] = {}
    columns: dict[str, pa.Array] = {}
    for name, (rule, fast) in _RULES.items():
        if name in table.column_names:
            column = table[name].combine_chunks()
            columns[name] = _checked(column, CANONICAL.field(name).type, rule, fast, reasons)
        else:
            columns[name] = pa.nulls(table.num_rows, CANONICAL.field(name).type)
    _check_future(columns["timestamp"], until, reasons)
    columns |= _details(table, reasons)
    good = pa.table({name: columns[name] for name in CANONICAL.names}, schema=CANONICAL)
    for name in table.column_names:
        if name not in (*CONTRACT_COLUMNS, *CANONICAL.names):
            good = good.append_column(name, table[name])
    bad = sorted(reasons)
    if bad:
        keep = np.ones(table.num_rows, bool)
        keep[bad] = False
        good = good.filter(pa.array(keep))
    rows = table.take(pa.array(bad, pa.int64())).to_pylist() if bad else []
    good = with_event_ids(good)
    return good, [BadRow(row, reasons[at]) for row, at in zip(rows, bad, strict=True)]


_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_CALENDAR = (-62_135_596_800, 253_402_300_799)  # seconds from 1970 to the years 1 and 9999


def _within_calendar(table: pa.Table) -> pa.Table:
    """Clip timestamps outside the calendar to its ends; the rules refuse them in any case."""
    if "timestamp" not in table.column_names or not pa.types.is_timestamp(table["timestamp"].type):
        return table
    column = table["timestamp"]
    if column.type.unit == "ns":  # years 1677 to 2262
        return table
    low, high = (second * _PER_SECOND[column.type.unit] for second in _CALENDAR)
    moments = column.cast(pa.int64())
    inside = pc.max_element_wise(
        pc.min_element_wise(moments, high, skip_nulls=False), low, skip_nulls=False
    )
    position = table.column_names.index("timestamp")
    return table.set_column(position, "timestamp", inside.cast(column.type))


def _checked(
    column: pa.Array,
    kind: pa.DataType,
    rule: Callable[[Any], Any],
    fast: Callable[[pa.Array], tuple[pa.Array, pa.Array]],
    reasons: dict[int, str],
) -> pa.Array:
    """Return a column in its canonical type; invalid values become null, with a reason."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        values, passed = fast(column)
        ok: Mask = pc.fill_null(passed, False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values, ok = pa.nulls(len(column), kind), np.zeros(len(column), bool)
    slow = np.flatnonzero(~ok)
    if not len(slow):
        return values.cast(kind)
    taken = column.take(pa.array(slow)).to_pylist()
    results = pa.array(_by_rule(taken, slow.tolist(), rule, reasons), kind)
    order = np.arange(len(column))
    order[slow] = len(column) + np.arange(len(slow))
    return pa.concat_arrays([values.cast(kind), results]).take(pa.array(order))


def _by_rule(
    values: Sequence[Any], rows: list[int], rule: Callable[[Any], Any], reasons: dict[int, str]
) -> list[Any]:
    """Apply the rule to values, once per distinct value."""
    outcomes: dict[Any, tuple[Any, str | None]] = {}
    results = []
    for row, value in zip(rows, values, strict=True):
        key = value if value.__hash__ else repr(value)
        if key not in outcomes:
            try:
                outcomes[key] = (rule(value), None)
            except InvalidInput as error:
                outcomes[key] = (None, str(error))
        result, reason = outcomes[key]
        results.append(result)
        if reason is not None:
            reasons.setdefault(row, reason)
    return results


def _fast_id(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    length = pc.utf8_length(pc.utf8_trim_whitespace(column))
    plain = pc.and_(pc.greater(length, 0), pc.less_equal(pc.utf8_length(column), rules.MAX_TEXT))
    return column, pc.and_(plain, pc.invert(pc.match_substring(column, "\0")))


def _fast_user_id(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    short = pc.less_equal(pc.utf8_length(column), rules.MAX_TEXT)
    return column, pc.and_(short, pc.match_substring_regex(column, _NORMAL_USER_ID))


def _fast_kind(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    return column, pc.is_in(column.cast(pa.string()), value_set=pa.array(KINDS))


def _fast_topic(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    if not pa.types.is_integer(column.type):
        raise pa.ArrowNotImplementedError("only whole numbers are plain")
    return column.cast(pa.int64()), pc.greater_equal(column, 0)


def _fast_number(column: pa.Array, high: float) -> tuple[pa.Array, pa.Array]:
    if pa.types.is_null(column.type):
        return column, pc.is_null(column)
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise pa.ArrowNotImplementedError("only numbers are plain")
    numbers = pc.add(column.cast(pa.float64()), 0.0)
    inside = pc.and_(pc.greater_equal(numbers, 0.0), pc.less_equal(numbers, high))
    return numbers, pc.or_(pc.is_null(numbers), pc.fill_null(inside, False))


def _fast_score(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    return _fast_number(column, 1.0)


def _fast_duration(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    numbers, passed = _fast_number(column, rules.MAX_DURATION_SECONDS)
    whole = pc.if_else(passed, pc.round(numbers, round_mode="half_to_even"), None)
    return whole.cast(pa.int64()), passed


def _fast_time(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    if pa.types.is_timestamp(column.type):
        moments = column.cast(pa.timestamp("us", "UTC"), safe=False)
        return moments, pc.greater_equal(moments, _EARLIEST)
    if not pc.all(pc.match_substring_regex(column, _PLAIN_TIME)).as_py():
        raise pa.ArrowNotImplementedError("only one spelling is plain")
    moments = column.cast(pa.timestamp("us", "UTC"))
    return moments, pc.greater_equal(moments, _EARLIEST)


def _rule_event_id(value: object) -> str | None:
    return None if value is None else rules.check_id("event_id", value)


def _fast_event_id(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    values, passed = _fast_id(column)
    return values, pc.or_(pc.is_null(values), pc.fill_null(passed, False))


_RULES: dict[str, tuple[Callable[[Any], Any], Callable[[pa.Array], tuple[pa.Array, pa.Array]]]] = {
    "user_id": (lambda value: rules.check_user_id("user_id", value), _fast_user_id),
    "interaction_type": (rules.check_kind, _fast_kind),
    "topic_id": (rules.check_topic, _fast_topic),
    "score": (rules.check_score, _fast_score),
    "duration_seconds": (rules.check_duration, _fast_duration),
    "timestamp": (rules.check_time, _fast_time),
    "event_id": (_rule_event_id, _fast_event_id),
}


def _check_future(times: pa.Array, until: datetime, reasons: dict[int, str]) -> None:
    late = pc.fill_null(pc.greater(times, pa.scalar(until, times.type)), False)
    for row in np.flatnonzero(late.to_numpy(zero_copy_only=False)).tolist():
        try:
            rules.check_not_future(times[row].as_py(), until)
        except InvalidInput as error:
            reasons.setdefault(row, str(error))


def _details(table: pa.Table, reasons: dict[int, str]) -> dict[str, pa.Array]:
    """Return canonical metadata with item and difficulty; each distinct text is parsed once."""
    names = ("metadata", "item_id", "difficulty")
    if "metadata" not in table.column_names or table["metadata"].null_count == table.num_rows:
        return {name: pa.nulls(table.num_rows, pa.string()) for name in names}
    column = table["metadata"].combine_chunks()
    if pa.types.is_nested(column.type):  # a file may hold objects: absent keys arrive as None
        column = pa.array([_object_text(value) for value in column.to_pylist()], pa.string())
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    broken: dict[int, str] = {}
    texts = encoded.dictionary.to_pylist()
    parsed = _by_rule(texts, list(range(len(texts))), rules.check_metadata, broken)
    if broken:
        rows = pc.is_in(encoded.indices, value_set=pa.array(list(broken), encoded.indices.type))
        for row in np.flatnonzero(rows.to_numpy(zero_copy_only=False)).tolist():
            reasons.setdefault(row, broken[encoded.indices[row].as_py()])
    details = [metadata or rules.EventMetadata() for metadata in parsed]
    columns = {
        "metadata": [metadata.text for metadata in details],
        "item_id": [metadata.item_id for metadata in details],
        "difficulty": [metadata.difficulty for metadata in details],
    }
    return {name: pa.array(columns[name], pa.string()).take(encoded.indices) for name in names}


def _object_text(value: object) -> str | None:
    if isinstance(value, dict):
        value = {key: child for key, child in value.items() if child is not None}
    value = rules.cut_off(value)
    return None if value is None else orjson.dumps(value, default=str).decode()


def with_event_ids(good: pa.Table) -> pa.Table:
    """Return checked rows; those without an event id get a derived one.

    See `sensei.events.event_ids`.
    """
    sent = good["event_id"].combine_chunks()
    if not good.num_rows or not sent.null_count:
        return good
    absent = np.flatnonzero(sent.is_null().to_numpy(zero_copy_only=False))
    derived = event_ids(good.take(pa.array(absent)))
    if sent.null_count < len(sent):
        order = np.arange(len(sent))
        order[absent] = len(sent) + np.arange(len(absent))
        derived = pa.concat_arrays([sent, derived]).take(pa.array(order))
    return good.set_column(0, "event_id", derived)
