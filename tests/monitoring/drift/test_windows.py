"""Windows of one row a learner, by hand on a log of few events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.batch import encode, examples
from features.corpus import statistics as corpus
from features.corpus.catalogue_features import CatalogueFeatures
from monitoring.drift.windows import (
    GROWING,
    last_of_each,
    next_topic_window,
    steady,
    success_window,
    window_end,
)
from sensei.contracts import DIFFICULTY_INPUTS, RECOMMENDATION_INPUTS

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3_600_000_000


def log(rows):
    """(learner, hour, kind, topic, score) of each event."""
    names = ["user_id", "hour", "interaction_type", "topic_id", "score"]
    frame = pd.DataFrame(rows, columns=names)
    frame["timestamp"] = pd.Timestamp(START) + pd.to_timedelta(frame.pop("hour"), unit="h")
    frame["event_id"] = [f"e{i:03}" for i in range(len(frame))]
    frame["duration_seconds"] = np.nan
    return encode(frame.astype({"score": float}))


EVENTS = log(
    [
        ("ann", 1, "quiz_complete", 5, 0.2),
        ("ann", 2, "quiz_complete", 7, 0.9),
        ("ann", 3, "video_view", 5, None),
        ("ann", 4, "feedback_recommendation", 5, None),
        ("bob", 1, "text_read", 7, None),
        ("cid", 9, "quiz_complete", 5, 0.4),
    ]
)
ZERO = int(START.timestamp() * 1e6)


def rows_of(scored):
    mask = last_of_each(EVENTS, ZERO, ZERO + 9 * HOUR, scored=scored)
    statistics = corpus.fit(EVENTS, np.ones(len(EVENTS), bool))
    return examples(EVENTS, statistics, mask)


def test_each_learner_has_one_row_for_the_last_learning_event():
    rows = rows_of(scored=False)
    assert [EVENTS.user_ids[learner] for learner in rows.learner] == ["ann", "bob"]
    assert ((rows.time - ZERO) // HOUR).tolist() == [3, 1]


def test_only_scored_attempts_count_if_requested():
    rows = rows_of(scored=True)
    assert [EVENTS.user_ids[learner] for learner in rows.learner] == ["ann"]
    assert rows.score.tolist() == pytest.approx([0.9])


def test_the_window_ends_before_its_end_and_begins_with_its_start():
    assert last_of_each(EVENTS, ZERO + 9 * HOUR, ZERO + 9 * HOUR).sum() == 0
    assert last_of_each(EVENTS, ZERO + 9 * HOUR, ZERO + 9 * HOUR + 1).sum() == 1
    assert last_of_each(EVENTS, ZERO - HOUR, ZERO).sum() == 0


def test_no_id_and_no_total_is_a_column():
    names = steady(RECOMMENDATION_INPUTS) + steady(DIFFICULTY_INPUTS)
    assert not set(names) & set(GROWING)
    assert not [column for column in names if column.startswith(("last_topic", "most_frequent"))]
    columns = set(next_topic_window(rows_of(scored=False), None).columns)
    assert columns == {*steady(RECOMMENDATION_INPUTS), "interaction_type", "score"}


def test_outcomes_are_those_of_the_event():
    frame = next_topic_window(rows_of(scored=False), None)
    assert frame["interaction_type"].tolist() == ["video_view", "text_read"]
    assert frame["score"].isna().all()


def test_topics_become_domains_if_there_is_a_catalogue():
    rows = replace(rows_of(scored=False), outline=CatalogueFeatures({5: "web"}))
    assert next_topic_window(rows, None)["domain"].tolist() == ["web", None]


def test_the_recommended_topic_is_the_most_probable_existing_one_except_the_last():
    rows = rows_of(scored=False)
    width = rows.tables[0].width
    probability = np.full((2, width), 0.0)
    probability[:, :2] = [0.3, 0.5]  # topic 7 first; ann just had it, bob had nothing
    probability[:, 9] = 0.9  # a slot that no topic has
    frame = next_topic_window(rows, [(np.arange(2), {"probability": probability})])
    assert frame["recommended_topic"].tolist() == ["5", "7"]
    assert frame["recommended_probability"].tolist() == [0.3, 0.5]
    assert probability[0, 9] == 0.9  # the prediction itself is not changed


def test_expected_success_is_at_the_level_taken_without_the_item():
    rows = rows_of(scored=True)
    prediction = {"success": np.array([[0.9, 0.9, 0.9]]), "levels": np.array([[0.8, 0.5, 0.2]])}
    frame = success_window(rows, [(np.arange(1), prediction)])
    level = int(rows.level[0])
    assert frame["expected_success"].tolist() == [
        prediction["levels"][0, 1 if level < 0 else level]
    ]


def test_a_window_without_events_has_columns_and_no_row():
    rows = rows_of(scored=False).take(np.empty(0, int))
    frame = next_topic_window(rows, [])
    assert len(frame) == 0
    assert "recommended_topic" in frame


@pytest.mark.parametrize(
    ("days_ago", "ends"), [(None, 0), (0, 0), (7, 0), (8, 8), (-1, 0)], ids=str
)
def test_a_window_ends_now_unless_the_log_ended_before_it_began(days_ago, ends):
    last = None if days_ago is None else START - timedelta(days=days_ago)
    microsecond = timedelta(microseconds=1 if ends else 0)
    assert window_end(START, last, 7) == START - timedelta(days=ends) + microsecond
