import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.corpus.statistics import Statistics
from features.history import History
from features.inputs import read_topic
from features.learner_state import FAST_DECAY, HISTORY_DECAY, RING_EVENTS, RING_WIDTH
from sensei.contracts import DIFFICULTY_INPUTS, RECOMMENDATION_INPUTS

SECOND = 1_000_000
DAY = 86_400 * SECOND


def statistics_of(*topic_ids: int) -> Statistics:
    zeros = np.zeros(len(topic_ids), np.int64)
    none = np.zeros(0, np.int64)
    return Statistics(
        np.array(topic_ids, np.int64), zeros, zeros, zeros, zeros, zeros,
        np.zeros(0, np.str_), none, none, np.array(-1),
    )  # fmt: skip


def inputs_by_name(history: History, now: int, statistics: Statistics) -> dict[str, float]:
    values = history.recommendation_inputs(now, statistics).tolist()
    return dict(zip((input_spec.name for input_spec in RECOMMENDATION_INPUTS), values, strict=True))


def read(history: History, topic: int, now: int = 0) -> list[float]:
    """Read the inputs of one topic from the history of a learner who has met it."""
    out = [0.0] * 6
    read_topic(out, history.topics[topic], history.events, now)
    return out


def test_inputs_of_a_worked_history():
    history = History.of(
        [
            ("text_read", 20, None, 60.0, 0),
            ("quiz_complete", 10, 0.5, 30.0, 10 * SECOND),
            ("recommendation_accepted", 10, None, None, 11 * SECOND),
            ("quiz_complete", 10, 0.8, None, DAY),
        ]
    )
    values = inputs_by_name(history, DAY + 5 * SECOND, statistics_of(10, 20))
    assert [values[f"last_topic_{lag}"] for lag in range(1, 6)] == [1, 1, 2, 0, 0]
    assert values["most_frequent_topic"] == 1
    assert values["last_kind"] == 1
    expected = {
        "log_events": math.log(4),
        "mean_score": 0.65,
        "mean_score_last_5": 0.65,
        "log_topic_events": math.log(3),
        "topic_mean_score_last_5": 0.65,
        "topic_last_score": 0.8,
        "log_topic_streak": math.log(3),
        "log_topics": math.log(3),
        "log_events_per_active_day": math.log(2.5),
        "topic_pass_share_last_3": 0.5,
        "log_seconds_since_last": math.log(6),
        "log_topic_seconds": math.log(31),
        "log_accepted": math.log(2),
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)


def test_difficulty_inputs_of_a_worked_history():
    history = History.of(
        [("quiz_complete", 10, score, None, time * SECOND) for time, score in enumerate([0, 1, 1])]
    )
    values = history.difficulty_inputs(10, 12 * SECOND, statistics_of(10))
    # Nobody's attempts are in the statistics: every rate is a half.
    prior = 0.5 + (2 - 1.5) / (3 + 4)
    won = 2 + 4 * prior
    recent = 0.3 + 0.7 * 0.3
    assert values.tolist() == pytest.approx(
        [math.log(won / (7 - won)), math.log(4), recent - 2 / 3, math.log(11)]
    )
    assert history.difficulty_inputs(99, 0, statistics_of(10))[3] == -1


def test_an_unknown_learner_has_neutral_inputs():
    values = inputs_by_name(History.new(), 0, statistics_of(10))
    halves = {"mean_score", "mean_score_last_5", "topic_mean_score_last_5", "topic_last_score"}
    assert values == {name: 0.5 if name in halves else 0.0 for name in values}
    inputs = History.new().difficulty_inputs(10, 0, statistics_of(10))
    assert inputs.tolist() == [0, 0, 0, -1]
    assert len(inputs) == len(DIFFICULTY_INPUTS)


@pytest.mark.parametrize(("score", "share"), [(0.59, 0), (0.6, 0), (0.69, 0), (0.7, 1), (1.0, 1)])
def test_the_share_of_strong_scores_requires_more_than_a_pass(score, share):
    history = History.of([("quiz_complete", 10, score, None, 0)])
    assert inputs_by_name(history, DAY, statistics_of(10))["topic_pass_share_last_3"] == share


def test_time_before_the_last_event_counts_as_no_time():
    history = History.of([("text_read", 10, None, None, DAY)])
    assert inputs_by_name(history, 0, statistics_of(10))["log_seconds_since_last"] == 0


@given(st.lists(st.integers(1, 5), max_size=150))
def test_history_weight_halves_with_the_same_number_of_events_everywhere(topics):
    history = History.of(
        ("text_read", topic, None, None, time) for time, topic in enumerate(topics)
    )
    for index, decay in enumerate((HISTORY_DECAY, FAST_DECAY)):
        expected = dict.fromkeys(topics, 0.0)
        for age, topic in enumerate(reversed(topics)):
            expected[topic] += math.exp(-decay * age)
        weights = {topic: math.expm1(read(history, topic)[index]) for topic in history.topics}
        assert weights == pytest.approx(expected)


@given(st.integers(0, 250))
def test_ring_holds_the_last_hundred_events_oldest_first(count):
    history = History.of(("quiz_complete", topic, 0.5, None, topic) for topic in range(count))
    expected = [(topic, 0, 0.5, topic) for topic in range(max(0, count - 100), count)]
    slots = (index % RING_EVENTS for index in range(max(0, count - RING_EVENTS), count))
    assert [tuple(history.ring[RING_WIDTH * p : RING_WIDTH * (p + 1)]) for p in slots] == expected


def test_a_response_touches_no_topic():
    history = History.of([("feedback_recommendation", 10, None, None, 0)])
    assert (history.events, history.last_topic_id, history.topics) == (0, None, {})


def test_a_view_with_a_score_is_no_attempt():
    history = History.of([("video_view", 10, 0.1, None, 0)])
    assert inputs_by_name(history, 0, statistics_of(10))["mean_score"] == 0.5


def test_topic_ids_beyond_floating_point_stay_exact():
    history = History.of([("text_read", 2**60 + 1, None, None, 0)])
    assert history.last_topic_id == 2**60 + 1


def test_style_counts_the_learners_own_formats():
    assert History.of([("video_view", 1, None, None, 0)]).learning_style() == "visual"


@pytest.mark.parametrize(("score", "logit"), [(1.0, 8), (0.0, -8)])
def test_endless_success_or_failure_stays_in_the_contracts_range(score, logit):
    history = History.of(("quiz_complete", 10, score, None, time) for time in range(20_000))
    assert history.difficulty_inputs(10, 0, statistics_of(10))[0] == logit
