import uuid
from datetime import UTC, datetime

import pyarrow as pa

from sensei.events import rules
from sensei.events.event_ids import event_ids
from sensei.events.rules_arrow import check_table

UNTIL = rules.latest(datetime(2026, 6, 1, tzinfo=UTC))


def checked(topics: list[int], **values: object) -> pa.Table:
    row = {"user_id": "a", "interaction_type": "video_view", "timestamp": "2026-01-01"} | values
    table = pa.Table.from_pylist([row | {"topic_id": topic} for topic in topics])
    return check_table(table, UNTIL)[0]


def test_ids_are_uuids_of_version_5() -> None:
    made = [uuid.UUID(text) for text in event_ids(checked([1, 1, 2])).to_pylist()]
    assert len(set(made)) == 2, "identical rows are one event"
    assert {(each.version, each.variant) for each in made} == {(5, uuid.RFC_4122)}


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
    made = {event_ids(each)[0].as_py() for each in others}
    assert len(made) == len(others)
