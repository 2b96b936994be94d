import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.corpus.statistics import Statistics, fit, merged
from features.events import Events, encode, together

ROWS = [
    ("ann", "quiz_complete", 30, 0.9, None, 1, "a", None),
    ("ann", "quiz_complete", 30, 0.1, None, 2, "b", None),
    ("bob", "practice_attempt", 10, 0.6, None, 3, None, None),
    ("bob", "text_read", 20, None, None, 4, None, None),
    ("bob", "recommendation_accepted", 50, None, None, 5, None, None),
    ("bob", "quiz_complete", 40, 1.0, None, 9, "c", None),
]


@pytest.fixture
def events(make_frame):
    return encode(make_frame(ROWS))


def test_statistics_count_what_the_mask_allows(events):
    statistics = fit(events, events.time < 9_000_000, extra_topics=[25, 10])
    assert statistics.topic_ids.tolist() == [10, 20, 25, 30]
    assert statistics.topic_events.tolist() == [1, 1, 0, 2]
    assert statistics.topic_attempts.tolist() == [1, 0, 0, 2]
    assert statistics.topic_passes.tolist() == [1, 0, 0, 1]
    assert statistics.plain_attempts.tolist() == [1, 0, 0, 0]
    assert statistics.item_ids.tolist() == ["a", "b"]
    assert statistics.item_passes.tolist() == [1, 0]
    assert statistics.trained_until == 5_000_000


def test_slot_zero_stands_for_unknown_topics(events):
    statistics = fit(events, events.time < 9_000_000)
    assert [statistics.slot_of(topic) for topic in (10, 20, 30, 40, 50)] == [1, 2, 3, 0, 0]
    assert statistics.slots_of(np.array([50, 20])).tolist() == [0, 2]


def test_pass_rate_of_an_unknown_topic_is_the_rate_of_all(events):
    statistics = fit(events, events.time < 9_000_000)
    overall = (2 + 1) / (3 + 2)
    assert statistics.pass_rate(99) == pytest.approx(overall)
    assert statistics.pass_rate(30) == pytest.approx((1 + 4 * overall) / (2 + 4))


def test_arrays_carry_the_statistics_without_pickle(events, tmp_path):
    statistics = fit(events, np.ones(len(events), bool))
    np.savez(tmp_path / "statistics.npz", **statistics.to_arrays())
    with np.load(tmp_path / "statistics.npz", allow_pickle=False) as arrays:
        loaded = Statistics.from_arrays(dict(arrays))
    for name, array in statistics.to_arrays().items():
        np.testing.assert_array_equal(array, loaded.to_arrays()[name])


def test_an_empty_mask_gives_an_empty_vocabulary(events):
    statistics = fit(events, np.zeros(len(events), bool))
    assert len(statistics.topic_ids) == 0
    assert statistics.trained_until == -1
    assert statistics.pass_rate(10) == 0.5


KINDS_HERE = ("quiz_complete", "text_read", "recommendation_accepted")
LOGS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cid", "dot", "eve"]),
        st.sampled_from(KINDS_HERE),
        st.integers(1, 6),
        st.sampled_from([None, 0.0, 1.0]),
        st.none(),
        st.integers(0, 30),
        st.sampled_from([None, "a", "b", "c"]),
        st.none(),
    ),
    min_size=1,
    max_size=60,
)


def split_by_learner(events: Events, parts: int, mask: np.ndarray):
    """Whole learners in parts, and which of their events are known."""
    for part in range(parts):
        learner_mask = np.arange(len(events.user_ids)) % parts == part
        yield events.of_learners(learner_mask), mask[learner_mask[events.learner]]


@given(LOGS, st.integers(1, 4), st.randoms(use_true_random=False), st.sets(st.integers(5, 8)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_merged_statistics_equal_those_of_one_pass(make_frame, rows, parts, chance, extra):
    events = encode(make_frame(rows))
    used = np.array([chance.random() < 0.7 for _ in range(len(events))])
    expected = fit(events, used, extra)
    partial = [
        fit(subset, mask, subset.topic_ids)
        for subset, mask in split_by_learner(events, parts, used)
    ]
    all_topics = events.topic_ids.tolist()
    one_by_one = functools.reduce(lambda a, b: merged([a, b], all_topics), partial)
    for result in (merged(partial, extra), merged([one_by_one], extra)):
        for name, array in expected.to_arrays().items():
            np.testing.assert_array_equal(array, result.to_arrays()[name], name)


@given(LOGS, st.integers(1, 4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_combined_parts_equal_the_log(make_frame, rows, parts):
    events = encode(make_frame(rows))
    combined = together([part for part, _ in split_by_learner(events, parts, events.kind > 9)])
    for field in dataclasses.fields(Events):
        np.testing.assert_array_equal(getattr(events, field.name), getattr(combined, field.name))


def test_merged_statistics_keep_the_most_frequent_pairs(make_frame):
    rows = [("ann", "text_read", topic, None, None, t, None, None)
            for t, topic in enumerate([1, 2, 1, 2, 1, 2, 3])]  # fmt: skip
    events = encode(make_frame(rows))
    both = [fit(events, np.ones(len(events), bool))] * 2
    assert merged(both, pairs=2).pair_count.tolist() == [4, 4]
