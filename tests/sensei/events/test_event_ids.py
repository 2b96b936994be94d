import uuid
from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from sensei.events import rules
from sensei.events.event_ids import Occurrences, event_ids
from sensei.events.rules_arrow import check_table

UNTIL = rules.latest(datetime(2026, 6, 1, tzinfo=UTC))


def checked(topics: list[int], **values: object) -> pa.Table:
    row = {"user_id": "a", "interaction_type": "video_view", "timestamp": "2026-01-01"} | values
    table = pa.Table.from_pylist([row | {"topic_id": topic} for topic in topics])
    return check_table(table, UNTIL)[0]


def test_ids_are_uuids_of_version_5() -> None:
    made = [uuid.UUID(text) for text in event_ids(checked([1, 1, 2]), Occurrences()).to_pylist()]
    assert len(set(made)) == 3
    assert {(each.version, each.variant) for each in made} == {(5, uuid.RFC_4122)}


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.data())
@settings(deadline=None)
def test_ids_do_not_depend_on_where_a_file_is_cut(topics: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(topics) - 1))
    whole = event_ids(checked(topics), Occurrences()).to_pylist()
    occurrences = Occurrences()
    parts = [
        event_ids(checked(part), occurrences).to_pylist() for part in (topics[:cut], topics[cut:])
    ]
    assert parts[0] + parts[1] == whole
    assert len(set(whole)) == len(topics)


def test_every_part_of_a_row_makes_another_id() -> None:
    others = [
        checked([1]),
        checked([1], user_id="b"),
        checked([1], interaction_type="text_read"),
        checked([1], timestamp="2026-01-02"),
        checked([1], score=0.0),
        checked([1], duration_seconds=0),
        checked([1], metadata='{"item_id":"x"}'),
    ]
    made = {event_ids(each, Occurrences())[0].as_py() for each in others}
    assert len(made) == len(others)
