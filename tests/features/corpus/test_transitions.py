"""Transitions between topics, compared with counts and probabilities worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.corpus.statistics import fit
from features.corpus.transitions import Transitions, context_of, count_continuations
from features.events import encode

TOPICS, WIDTH = 3, 5
POPULAR = np.array([4, 3, 1])
SHARE = np.array([5, 4, 2, 1, 1]) / 13  # one event added to each slot, newcomers included

# Events of two learners: (slot of the last topic, of the one before, events before, slot)
WALKS = [(0, 0, 0, 1), (1, 0, 1, 2), (2, 1, 2, 1), (1, 2, 3, 2), (2, 1, 4, 3),
         (0, 0, 0, 1), (1, 0, 1, 1), (1, 1, 2, 2)]  # fmt: skip


def counted(walks=WALKS) -> dict[str, np.ndarray]:
    last, before, previous, slot = np.array(walks, np.int64).reshape(-1, 4).T
    return count_continuations(last, before, previous, slot, TOPICS)


@pytest.fixture
def continuations() -> Transitions:
    return Transitions(popular=POPULAR, width=WIDTH, **counted())


def probabilities(continuations, last: int, before: int, previous: int) -> list[np.ndarray]:
    """Return P1 and P2 of the trained topics; check that newcomers have the ratio 0."""
    ratios = continuations.log_ratios(np.array([last]), np.array([before]), np.array([previous]))
    assert all((ratio[0, TOPICS:] == 0).all() for ratio in ratios), "nothing is known of newcomers"
    return [np.exp(ratio[0, :TOPICS].astype(np.float64)) / WIDTH for ratio in ratios]


def test_counts_by_hand() -> None:
    counts = counted()
    single = list(zip(counts["context"], counts["slot"], counts["count"], strict=True))
    assert single == [(0, 1, 2), (1, 1, 1), (1, 2, 3), (2, 1, 1), (2, 3, 1)]
    key = TOPICS + 2
    pairs = list(zip(counts["pair"], counts["pair_slot"], counts["pair_count"], strict=True))
    assert pairs == [
        (1 * key + 0, 1, 1), (1 * key + 0, 2, 1), (1 * key + 1, 2, 1), (1 * key + 2, 2, 1),
        (2 * key + 1, 1, 1), (2 * key + 1, 3, 1),
    ]  # fmt: skip


def test_nothing_is_counted_after_an_unknown_topic() -> None:
    counts = counted([(0, 1, 3, 2), (TOPICS + 1, 1, 3, 2)])
    assert all(len(values) == 0 for values in counts.values())


def test_an_unknown_topic_before_the_last_counts_as_none() -> None:
    counts = counted([(1, TOPICS + 1, 3, 2), (1, 0, 1, 2)])
    assert counts["pair"].tolist() == [1 * (TOPICS + 2)]
    assert counts["pair_count"].tolist() == [2]


def test_a_first_event_has_a_context_of_its_own() -> None:
    last, previous = np.array([0, 0, 2, TOPICS + 1]), np.array([0, 5, 5, 5])
    assert context_of(last, previous, TOPICS).tolist() == [0, TOPICS + 1, 2, TOPICS + 1]


def test_the_most_frequent_pairs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.corpus.transitions.PAIRS", 1)
    counts = counted([*WALKS, (2, 1, 2, 1)])
    assert (counts["pair"].tolist(), counts["pair_slot"].tolist()) == ([2 * (TOPICS + 2) + 1], [1])
    assert counts["pair_count"].tolist() == [2]
    assert len(counts["context"]) == 5


def test_witten_bell_by_hand(continuations: Transitions) -> None:
    first, second = probabilities(continuations, last=1, before=0, previous=1)
    # after topic 1: once 1, three times 2; two kinds in four events
    by_context = (np.array([1, 3, 0, 0, 0]) + 2 * SHARE) / (4 + 2)
    assert first == pytest.approx(by_context[:TOPICS], rel=1e-5)
    # after (none, 1): once 1, once 2; two kinds in two events
    by_pair = (np.array([1, 1, 0, 0, 0]) + 2 * by_context) / (2 + 2)
    assert second == pytest.approx(by_pair[:TOPICS], rel=1e-5)


def test_a_first_event_follows_first_events(continuations: Transitions) -> None:
    first, second = probabilities(continuations, last=0, before=0, previous=0)
    assert first == pytest.approx(((np.array([2, 0, 0, 0, 0]) + SHARE) / 3)[:TOPICS], rel=1e-5)
    assert (first == second).all()


def test_a_pair_never_seen_backs_off_to_the_last_topic(continuations: Transitions) -> None:
    first, second = probabilities(continuations, last=2, before=3, previous=5)
    by_context = (np.array([1, 0, 1, 0, 0]) + 2 * SHARE) / (2 + 2)
    assert first == pytest.approx(by_context[:TOPICS], rel=1e-5)
    assert (first == second).all()


@pytest.mark.parametrize("last", [0, 3, TOPICS + 1, TOPICS + 2])
def test_a_topic_without_continuations_backs_off_to_popularity(continuations, last) -> None:
    first, second = probabilities(continuations, last, before=1, previous=9)
    assert first == pytest.approx(SHARE[:TOPICS], rel=1e-5)
    assert (first == second).all()


def test_without_counts_all_topics_are_equally_probable() -> None:
    empty = Transitions(popular=np.zeros(TOPICS, np.int64), width=WIDTH, **counted([]))
    for ratio in empty.log_ratios(np.array([0, 1]), np.array([0, 2]), np.array([0, 3])):
        assert ratio == pytest.approx(0.0, abs=1e-6)


STEPS = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(1, TOPICS))


@given(st.lists(STEPS, max_size=40), STEPS)
def test_probabilities_of_all_slots_sum_to_one(walks, step) -> None:
    transitions = Transitions(popular=POPULAR, width=TOPICS, **counted(walks))
    last, before, previous, _ = step
    for ratio in transitions.log_ratios(np.array([last]), np.array([before]), np.array([previous])):
        assert (np.exp(ratio.astype(np.float64)) / TOPICS).sum() == pytest.approx(1.0, rel=1e-5)


def test_statistics_count_only_what_the_mask_allows(make_frame) -> None:
    quiz = ("quiz_complete",)
    rows = [("ann", *quiz, topic, None, None, at, None, None)
            for at, topic in enumerate([10, 20, 10, 30])]  # fmt: skip
    rows.insert(2, ("ann", "recommendation_accepted", 30, None, None, 1.5, None, None))
    events = encode(make_frame(rows))
    statistics = fit(events, events.time < 3_000_000)
    assert statistics.topic_ids.tolist() == [10, 20]
    single = list(zip(statistics.context, statistics.slot, statistics.count, strict=True))
    assert single == [(0, 1, 1), (1, 2, 1), (2, 1, 1)], "a response stands between no two topics"
    assert statistics.continuations.width == statistics.width
