"""Definitions of the expectation suites, from the fields of an event and the model inputs.

`python -m expectations.suite_definitions` (`make suites`) writes them as `*.json` into this folder,
where `expectations.suites` reads them.
"""

import json
from collections.abc import Iterator
from typing import Any

from expectations.suites import FOLDER, Rule, Suite
from sensei.contracts import DIFFICULTY_INPUTS, RECOMMENDATION_INPUTS, Input
from sensei.event_fields import (
    DIFFICULTY,
    DURATION_SECONDS,
    EARLIEST,
    EVENT_ID,
    INTERACTION_TYPE,
    SCORE,
    TIMESTAMP,
    TOPIC_ID,
    USER_ID,
    EventField,
)
from sensei.events.frames import dtype

TYPED = (
    USER_ID,
    INTERACTION_TYPE,
    TOPIC_ID,
    SCORE,
    DURATION_SECONDS,
    TIMESTAMP,
    DIFFICULTY,
)
"""Fields whose column is validated as it is; of `event_id`, only the hash with `user_id` is."""

EVENT_KEY = f"{USER_ID.name}+{EVENT_ID.name}"
"""Column with one hash per learner and event id; see `expectations.validate`."""

_TYPES = {
    "category": "CategoricalDtypeType",
    "int64": "int64",
    "float64": "float64",
    "datetime64[us, UTC]": "Timestamp",
}
"""pandas dtype -> its name in Great Expectations."""

_VALUES_OF = {
    TOPIC_ID: "whole numbers",
    SCORE: "fractions",
    DURATION_SECONDS: "seconds",
    TIMESTAMP: "times with a time zone",
}
"""Field -> its values in words; of the other fields, "categories"."""

_CONVERT = "read the log again with `sensei run`, or convert the column"
_EVENTS_ARRIVE = "check that events still arrive"


def interactions() -> Suite:
    """Define the suite of the interactions: columns, rows, and the log as a whole."""
    return Suite([_columns(), *map(_type, TYPED), *_rows(), *_whole()])


def features() -> Suite:
    """Define the suite of the model inputs: every value a number within its range."""
    inputs = RECOMMENDATION_INPUTS + DIFFICULTY_INPUTS
    return Suite([rule for declared in inputs for rule in _input(declared)])


def suite_text(name: str, suite: Suite) -> str:
    """Return the content of a suite's file."""
    rules = ",\n".join(
        f'    {{"type": {_json(rule["type"])}, "severity": {_json(rule["severity"])},\n'
        f'     "kwargs": {_json(rule["kwargs"])},\n'
        f'     "meta": {_json(rule["meta"])}}}'
        for rule in suite
    )
    return f'{{\n  "name": {_json(name)},\n  "expectations": [\n{rules}\n  ]\n}}\n'


def suite_texts() -> dict[str, str]:
    """Return the content of every suite's file by the suite's name."""
    suites = {"interactions": interactions(), "features": features()}
    return {name: suite_text(name, suite) for name, suite in suites.items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _rule(
    kind: str, kwargs: dict[str, Any], meta: dict[str, Any], severity: str = "critical"
) -> Rule:
    return {"type": f"expect_{kind}", "severity": severity, "kwargs": kwargs, "meta": meta}


def _meta(role: str, field: str, expected: str, step: str, **further: Any) -> dict[str, Any]:
    return {"role": role, "field": field, "expected": expected, "next": step} | further


def _columns() -> Rule:
    names = [EVENT_ID.name, *(field.name for field in TYPED)]
    return _rule(
        "table_columns_to_match_set",
        {"column_set": names, "exact_match": False},
        _meta(
            "column",
            "columns",
            "the columns of the data contract",
            "import the file with `--map theirs=ours`",
        ),
    )


def _type(field: EventField) -> Rule:
    return _rule(
        "column_values_to_be_of_type",
        {"column": field.name, "type_": _TYPES[dtype(field)]},
        _meta("column", field.name, _VALUES_OF.get(field, "categories"), _CONVERT),
    )


def _rows() -> Iterator[Rule]:
    yield _not_null(USER_ID, "a learner's name")
    yield _rule(
        "column_values_to_not_be_in_set",
        {"column": USER_ID.name, "value_set": [""]},
        _meta("row", USER_ID.name, "a learner's name", "send one", got="an empty one"),
    )
    yield _not_null(EVENT_ID, "an identifier of the event", EVENT_KEY)
    yield _rule(
        "column_values_to_be_unique",
        {"column": EVENT_KEY},
        _meta(
            "row",
            EVENT_ID.name,
            "a unique id per learner",
            "send a new id for a new event",
            got="a repeated id",
        ),
    )
    yield _not_null(INTERACTION_TYPE, "a kind of event")
    yield _in_set(INTERACTION_TYPE)
    yield _between(SCORE, "send a fraction", percent=True)
    yield _rule(  # the column's type bounds it above
        "column_values_to_be_between",
        {"column": TOPIC_ID.name, "min_value": TOPIC_ID.minimum},
        _meta("row", TOPIC_ID.name, TOPIC_ID.expected, "send the topic's number"),
    )
    yield _between(DURATION_SECONDS, "send seconds or leave it out")
    yield _not_null(TIMESTAMP, "a time")
    yield _rule(
        "column_values_to_be_between",
        {
            "column": TIMESTAMP.name,
            "min_value": EARLIEST.isoformat(),
            "max_value": {"$PARAMETER": "latest"},
        },
        _meta(
            "row",
            TIMESTAMP.name,
            f"a time from {EARLIEST.year} to {{latest}}",
            "correct the sender's clock",
        ),
    )
    yield _in_set(DIFFICULTY)


def _not_null(field: EventField, expected: str, column: str = "") -> Rule:
    return _rule(
        "column_values_to_not_be_null",
        {"column": column or field.name},
        _meta("row", field.name, expected, "send one", got="nothing"),
    )


def _in_set(field: EventField) -> Rule:
    return _rule(
        "column_values_to_be_in_set",
        {"column": field.name, "value_set": list(field.choices)},
        _meta("row", field.name, field.expected, "send one of them"),
    )


def _between(field: EventField, step: str, **further: Any) -> Rule:
    return _rule(
        "column_values_to_be_between",
        {"column": field.name, "min_value": field.minimum, "max_value": field.maximum},
        _meta("row", field.name, field.expected, step, **further),
    )


def _whole() -> Iterator[Rule]:
    """Yield the rules about the log as a whole; their failures are warnings."""
    yield _rule(
        "column_values_to_be_in_set",
        {"column": TOPIC_ID.name, "value_set": {"$PARAMETER": "known_topics"}},
        _meta(
            "topics",
            TOPIC_ID.name,
            "topics of the catalogue",
            "load the newer catalogue with `sensei curriculum load FILE`",
        ),
        "warning",
    )
    yield _rule(
        "table_row_count_to_be_between",
        {"min_value": {"$PARAMETER": "fewest_rows"}},
        _meta(
            "run",
            "volume",
            "at least {fewest_rows} rows, half of the previous run's",
            _EVENTS_ARRIVE,
        ),
        "warning",
    )
    yield _rule(
        "column_max_to_be_between",
        {"column": TIMESTAMP.name, "min_value": {"$PARAMETER": "previous_newest"}},
        _meta(
            "run",
            "freshness",
            "an event as late as the previous run's newest, {previous_newest}",
            _EVENTS_ARRIVE,
        ),
        "warning",
    )


def _input(declared: Input) -> Iterator[Rule]:
    step = "fix its formula in features/"
    yield _rule(
        "column_values_to_not_be_null",
        {"column": declared.name},
        _meta("input", declared.name, "a number", step),
    )
    yield _rule(
        "column_values_to_be_between",
        {"column": declared.name, "min_value": declared.low, "max_value": declared.high},
        _meta(
            "input",
            declared.name,
            f"{declared.unit} in [{declared.low:g}, {declared.high:g}]",
            step,
        ),
    )


if __name__ == "__main__":
    for name, text in suite_texts().items():
        (FOLDER / f"{name}.json").write_text(text, "utf-8")
