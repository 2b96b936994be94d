"""The rules of one row: each takes a raw value and returns it as the log stores it.

They apply everywhere: `sensei.events.append` applies them to a single event,
`sensei.events.rules_arrow` to whole columns. Their limits are those of `sensei.event_fields`. Every
rule raises InvalidInput with the expected value, the value received and the next step.
"""

import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn

import orjson

from sensei import event_fields as fields
from sensei.contracts import MAX_FUTURE_MINUTES
from sensei.errors import InvalidInput

MAX_TEXT, MAX_METADATA = fields.MAX_TEXT, fields.MAX_METADATA
MAX_DURATION_SECONDS = fields.MAX_DURATION_SECONDS
MAX_TOPIC_ID = int(fields.TOPIC_ID.maximum)

MAX_LEVELS = 32
"""Maximum nesting of objects and lists in an event's metadata.

The JSON writer fails at about 250 levels.
"""
_SURROGATE = re.compile("[\ud800-\udfff]")
_ANSWERS = frozenset(field.name for field in fields.ANSWER_FIELDS)


@dataclass(frozen=True)
class EventMetadata:
    """Content of `metadata`: canonical JSON text, and the two values that models read."""

    text: str | None = None
    item_id: str | None = None
    difficulty: str | None = None


def refuse(field: str, expected: str, value: object, step: str) -> NoReturn:
    """Raise the error with the expected value, the value received and the next step."""
    received = repr(value) if isinstance(value, str) else str(cut_off(value))
    shown = received if len(received) <= 80 else received[:77] + "..."
    raise InvalidInput(f"{field}: expected {expected}, got {shown}; {step}")


def check_id(field: str, value: object) -> str:
    """Check the id of a learner or an event: text of 1 to 200 characters; integers become text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT or "\0" in value:
        refuse(field, fields.USER_ID.expected, value, f"send the {field}")
    if _SURROGATE.search(value):
        refuse(field, "Unicode text", value, "send it without lone surrogates")
    return value


_HIDDEN = re.compile(f"[{fields.HIDDEN_CHARACTERS}]")


def check_user_id(field: str, value: object) -> str:
    """Check the id of a learner and return its normal form, so that one id has one spelling.

    The form is NFC (a letter and its accent are one character) without blanks at the ends. Control
    characters and characters without width are refused.
    """
    name = normal_form(check_id(field, value))
    if _HIDDEN.search(name):
        refuse(field, "text without control and zero-width characters", value, "remove them")
    return check_id(field, name)


def normal_form(user_id: str) -> str:
    """Return an id in NFC, without blanks at its ends."""
    return unicodedata.normalize("NFC", user_id).strip()


def appearance(user_id: str) -> str:
    """Return what a reader sees of an id that older releases stored without a normal form."""
    return normal_form(_HIDDEN.sub("", user_id))


def check_kind(value: object) -> str:
    """Check that a value is one of the contract's kinds."""
    if value not in fields.INTERACTION_TYPE.choices:
        refuse("interaction_type", fields.INTERACTION_TYPE.expected, value, "send one of them")
    return str(value)


def check_topic(value: object) -> int:
    """Check a whole number of at least 0; numeric text, as in a CSV file, is converted."""
    number = value
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,19}(\.0*)?\s*", value, re.ASCII):
        number = int(value.split(".")[0])
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_TOPIC_ID:
        refuse("topic_id", fields.TOPIC_ID.expected, value, "send the topic's number")
    return number


def check_score(value: object) -> float | None:
    """Check a fraction in [0, 1]; None and NaN give None."""
    number = _number(value)
    if number is None and not _absent(value):
        refuse("score", fields.SCORE.expected, value, "send a number or leave it out")
    if number is None or 0 <= number <= 1:
        return None if number is None else number + 0.0  # no negative zero
    shown = int(number) if number.is_integer() else number
    refuse("score", fields.SCORE.expected, shown, _score_step(number))


def _score_step(number: float) -> str:
    """Return the next step for a number outside [0, 1]; its scale is often unknown.

    Slightly more than 1 is extra credit or rounding; up to 20, scales of 5, 10 and 20 points are as
    plausible as percent.
    """
    if number < 0:
        return "send at least 0, or leave it out"
    if number < 2:
        return "send at most 1"
    if 20 < number <= 100:
        return f"send {number / 100:g}"
    return "divide it by the highest possible score"


def check_duration(value: object, field: str = "duration_seconds") -> int | None:
    """Check seconds and round them to whole ones; None and NaN give None."""
    number = _number(value)
    if number is None and _absent(value):
        return None
    if number is None or not 0 <= number <= MAX_DURATION_SECONDS:
        refuse(field, fields.DURATION_SECONDS.expected, value, "send seconds or leave it out")
    return round(number)


def check_time(value: object) -> datetime:
    """Check a time from 1970 on and return it in UTC.

    It accepts ISO 8601 text, a datetime or a date; without a zone it is UTC.
    """
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            moment = None
    elif isinstance(value, date) and not isinstance(value, datetime):
        moment = datetime(value.year, value.month, value.day)
    if isinstance(moment, datetime):
        try:
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            in_utc = aware.astimezone(UTC)
        except OverflowError:
            in_utc = None
        if in_utc is not None and in_utc >= fields.EARLIEST:
            return in_utc
        if in_utc is not None:
            expected = f"a time from {fields.EARLIEST.year} on"
            refuse("timestamp", expected, in_utc.isoformat(), "check the sender's clock")
    refuse("timestamp", "a time such as 2026-01-31T09:30:00Z", value, "send ISO 8601 in UTC")


def latest(now: datetime) -> datetime:
    """Return the latest time that is not refused as future."""
    return now + timedelta(minutes=MAX_FUTURE_MINUTES)


def check_not_future(moment: datetime, until: datetime) -> datetime:
    """Check that a time is at or before `until` (see `latest`)."""
    if moment > until:
        expected = f"a time at most {MAX_FUTURE_MINUTES} minutes in the future"
        refuse("timestamp", expected, moment.isoformat(), "check the sender's clock and time zone")
    return moment


def check_metadata(value: object) -> EventMetadata:
    """Check a JSON object, as text or as a dict, or None; the known keys have their own rules."""
    parsed = value
    if isinstance(value, str):
        try:
            parsed = orjson.loads(value)
        except orjson.JSONDecodeError:
            refuse("metadata", fields.METADATA.expected, value, "send an object or leave it out")
    if parsed is None or parsed == {}:
        return EventMetadata()
    if not isinstance(parsed, dict):
        refuse("metadata", fields.METADATA.expected, value, "send an object or leave it out")
    if is_nested_deeper(parsed, MAX_LEVELS):
        raise InvalidInput(
            f"metadata: expected at most {MAX_LEVELS} levels of nesting, got more; flatten it"
        )
    item, level = parsed.get("item_id"), parsed.get("difficulty")
    if isinstance(item, float) and item.is_integer():
        item = int(item)
    if level is not None and level not in fields.DIFFICULTY.choices:
        refuse("metadata.difficulty", fields.DIFFICULTY.expected, level, "send one of them")
    if not _ANSWERS.isdisjoint(parsed):
        _check_answers(parsed)
    try:
        text = orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        refuse("metadata", fields.METADATA.expected, value, "send only JSON values")
    if len(text) > MAX_METADATA:
        refuse("metadata", f"at most {MAX_METADATA} bytes", len(text), "send less of it")
    return EventMetadata(
        text.decode(), None if item is None else check_id("metadata.item_id", item), level
    )


_NESTS = (dict, list, tuple)


def is_nested_deeper(value: object, levels: int) -> bool:
    """Tell if objects and lists are nested more than `levels` deep.

    The search runs level by level, without recursion: values may be nested deeper than Python's
    stack.
    """
    level: list[Any] = [value] if isinstance(value, _NESTS) else []
    for _ in range(levels):
        if not level:
            return False
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, _NESTS)
        ]
    return bool(level)


def cut_off(value: Any, levels: int = MAX_LEVELS) -> Any:
    """Cut nested values below `levels` plus one; the result still breaks the rule.

    The JSON writer and `repr` fail on a value that is nested some hundred levels deep.
    """
    if not is_nested_deeper(value, levels):
        return value
    if levels < 0:
        return "..."
    if isinstance(value, dict):
        return {name: cut_off(child, levels - 1) for name, child in value.items()}
    return [cut_off(child, levels - 1) for child in value]


def _check_answers(metadata: dict[str, Any]) -> None:
    """Check the keys that answer a recommendation: rating, helpful, format, prediction_id."""
    rating, helpful = metadata.get("rating"), metadata.get("helpful")
    if rating is not None and (
        isinstance(rating, bool)
        or not isinstance(rating, int | float)
        or not fields.RATING.minimum <= rating <= fields.RATING.maximum
    ):
        refuse("metadata.rating", fields.RATING.expected, rating, "send it or leave it out")
    if helpful is not None and not isinstance(helpful, bool):
        refuse("metadata.helpful", fields.HELPFUL.expected, helpful, "send it or leave it out")
    for field in (fields.FORMAT, fields.PREDICTION_ID):
        text = metadata.get(field.name)
        if not isinstance(text, str | None):
            refuse(f"metadata.{field.name}", field.expected, text, "send text or leave it out")


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: object) -> float | None:
    """Return a finite number; None if the value is not one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str) and not re.fullmatch(r"[\s\d.eE+-]+", value, re.ASCII):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
