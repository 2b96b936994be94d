from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from sensei.contracts import KINDS, LEVELS
from sensei.events.frames import from_arrow, microseconds

MOMENT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def table(count: int = 2) -> pa.Table:
    rows = {
        "event_id": ["b", "a"],
        "user_id": ["Zoë", "Ada"],
        "interaction_type": ["video_view", "quiz_complete"],
        "topic_id": [2, 1],
        "score": [None, 0.5],
        "duration_seconds": pa.array([None, 30], pa.int64()),
        "timestamp": pa.array([MOMENT, MOMENT], pa.timestamp("us", "UTC")),
        "metadata": ['{"item_id":5,"difficulty":"hard"}', None],
    }
    return pa.table(rows).slice(0, count)


def test_a_table_becomes_the_typed_frame() -> None:
    frame = from_arrow(table())
    assert list(frame["interaction_type"].cat.categories) == list(KINDS)
    assert list(frame["difficulty"].cat.categories) == list(LEVELS)
    assert frame["user_id"].tolist() == ["Zoë", "Ada"]
    assert np.isnan(frame["score"][0])
    assert frame["duration_seconds"][1] == 30
    assert (frame["item_id"][0], frame["difficulty"][0]) == ("5", "hard")
    assert frame["item_id"].isna()[1]
    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    assert frame["timestamp"][0] == MOMENT
    assert "metadata" not in frame


def test_times_in_microseconds_and_as_moments_are_the_same() -> None:
    as_integers = table()["timestamp"].cast(pa.int64())
    other = from_arrow(table().set_column(6, "timestamp", as_integers))
    assert other.equals(from_arrow(table()))
    assert microseconds(other).tolist() == as_integers.to_pylist()


def test_a_frame_without_rows_has_the_same_types() -> None:
    empty, full = from_arrow(table(0), metadata=True), from_arrow(table(), metadata=True)
    assert list(empty.columns) == list(full.columns)
    assert [str(kind) for kind in empty.dtypes] == [str(kind) for kind in full.dtypes]


def test_the_table_is_not_changed() -> None:
    given = table()
    from_arrow(given)["topic_id"].to_list()
    assert given.equals(table())
