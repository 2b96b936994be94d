import numpy as np
import pandas as pd

from features.events import encode

ROWS = [
    ("bob", "text_read", 30, None, None, 2, None, None),
    ("ann", "quiz_complete", 10, 0.5, 9.0, 5, "b", "hard"),
    ("ann", "quiz_complete", 30, 1.0, None, 5, "a", None),
    ("ann", "practice_attempt", 20, 0.0, None, 1, "b", "easy"),
]


def test_events_are_sorted_by_learner_and_time_with_ties_in_order_of_arrival(make_frame):
    events = encode(make_frame(ROWS))
    assert events.user_ids.tolist() == ["ann", "bob"]
    assert events.offsets.tolist() == [0, 3, 4]
    assert events.row.tolist() == [3, 1, 2, 0]
    assert events.topic_ids[events.topic].tolist() == [20, 10, 30, 30]
    assert events.item.tolist() == [1, 1, 0, -1]
    assert events.level.tolist() == [0, 2, -1, -1]
    assert events.time.tolist() == [1_000_000, 5_000_000, 5_000_000, 2_000_000]


def test_text_columns_encode_like_categories(make_frame):
    frame = make_frame(ROWS)
    texts = frame.assign(
        user_id=frame["user_id"].astype(object),
        interaction_type=frame["interaction_type"].astype(object),
        difficulty=frame["difficulty"].astype(object),
        item_id=frame["item_id"].astype("category"),
    )
    from_categories, from_texts = encode(frame), encode(texts)
    for name in ("user_ids", "offsets", "kind", "item", "item_ids", "level", "row"):
        np.testing.assert_array_equal(getattr(from_categories, name), getattr(from_texts, name))


def test_unused_categories_make_no_learners(make_frame):
    assert encode(make_frame(ROWS).iloc[:1]).user_ids.tolist() == ["bob"]


def test_items_and_levels_may_be_absent(make_frame):
    events = encode(make_frame(ROWS).drop(columns=["item_id", "difficulty"]))
    assert set(events.item.tolist()) == {-1}
    assert set(events.level.tolist()) == {-1}


def test_an_empty_log_has_no_learners(make_frame):
    events = encode(make_frame([]))
    assert (len(events), events.offsets.tolist()) == (0, [0])


def test_encoding_does_not_change_the_frame(make_frame):
    frame = make_frame(ROWS)
    before = frame.copy(deep=True)
    encode(frame)
    pd.testing.assert_frame_equal(frame, before)
