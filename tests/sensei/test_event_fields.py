"""Types that are written out by hand, compared with the fields of an event."""

from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pytest

from sensei import event_fields
from sensei.errors import InvalidInput
from sensei.event_fields import CHECKED, CONTRACT_COLUMNS, FIELDS, REQUIRED_COLUMNS
from sensei.events import append, event_ids, rules
from sensei.events.append import EventRow, Interaction
from sensei.events.log import Event
from sensei.storage.tables import UserInteraction

ROW = {
    "user_id": "ann",
    "interaction_type": "quiz_complete",
    "topic_id": 7,
    "score": 0.5,
    "duration_seconds": 60,
    "timestamp": 1_767_225_600_000_000,
    "metadata": '{"item_id":"q"}',
}


def test_the_table_has_the_fields_in_their_order() -> None:
    columns = [*UserInteraction.__table__.columns][: len(FIELDS)]
    assert [column.name for column in columns] == [field.name for field in FIELDS]
    assert [column.nullable for column in columns] == [field.is_nullable for field in FIELDS]


@pytest.mark.parametrize("row", [EventRow, Event])
def test_typed_rows_have_fields_of_the_table_in_its_order(row: Any) -> None:
    names = [name for name in row._fields if name != "arrival"]  # how rows are kept, no fact
    assert names == [field.name for field in FIELDS if field.name in names]
    hints = get_type_hints(row)
    for field in FIELDS:
        if field.name in hints:
            assert (type(None) in get_args(hints[field.name])) == field.is_nullable, field.name


def test_a_checked_row_has_every_checked_field() -> None:
    assert EventRow._fields == tuple(field.name for field in CHECKED)


def test_a_request_may_hold_the_contracts_columns_and_must_hold_the_required_ones() -> None:
    assert set(Interaction.model_fields) == set(CONTRACT_COLUMNS)
    required = {name for name, field in Interaction.model_fields.items() if field.is_required()}
    assert required == set(REQUIRED_COLUMNS)


@pytest.mark.parametrize("field", [field for field in CHECKED if field.example is not None])
def test_the_example_of_a_field_passes_its_rule(field: Any) -> None:
    event = {
        "user_id": "ann",
        "interaction_type": "quiz_complete",
        "topic_id": 1,
        "timestamp": "2026-01-31",
    }
    sent = {field.name: field.example}
    append.parse(event | (sent if field.is_sent else {"metadata": sent}))


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (rules.check_topic, event_fields.TOPIC_ID),
        (rules.check_score, event_fields.SCORE),
        (rules.check_duration, event_fields.DURATION_SECONDS),
        (lambda value: rules.check_metadata({"rating": value}), event_fields.RATING),
    ],
)
def test_a_rule_accepts_the_bounds_of_its_field_and_nothing_beyond(rule: Any, field: Any) -> None:
    low, high = int(field.minimum), int(field.maximum)
    rule(low)
    rule(high)
    for beyond in (low - 1, high + 1):
        with pytest.raises(InvalidInput, match=field.name):
            rule(beyond)


def test_limits_are_keywords_of_a_json_schema() -> None:
    assert event_fields.SCORE.limits == {"minimum": 0, "maximum": 1}
    assert event_fields.USER_ID.limits == {"minLength": 1, "maxLength": 200}
    assert event_fields.DIFFICULTY.limits == {"enum": ["easy", "medium", "hard"]}
    assert {field.name for field in CHECKED if not field.limits} == {"timestamp", "metadata"}


def test_derived_ids_never_change() -> None:
    """Another order of the payload's columns would store every imported event again."""
    derived = "f08704f6-931a-5a3b-8c3f-31151d32346d"
    assert event_ids.event_id(*ROW.values()) == derived  # type: ignore[arg-type]
    table = pa.Table.from_pylist([ROW])
    assert event_ids.event_ids(table).to_pylist() == [derived]
