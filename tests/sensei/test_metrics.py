"""Metrics against cases worked by hand, and properties that hold for any scores."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sensei import metrics

SCORES = np.array([[0.1, 0.4, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]], np.float32)


def test_rank_counts_topics_scored_higher() -> None:
    assert metrics.ranks(SCORES[:1], np.array([3])).tolist() == [2.0]


def test_ties_are_broken_against_the_model() -> None:
    assert metrics.ranks(SCORES[1:], np.array([1])).tolist() == [4.0]


def test_target_without_a_slot_is_never_found() -> None:
    rank = metrics.ranks(SCORES, np.array([0, 0]))
    assert np.isinf(rank).all()
    assert metrics.mrr(rank).tolist() == [0.0, 0.0]


def test_masked_topic_no_longer_counts_above_the_target() -> None:
    assert metrics.ranks(SCORES, np.array([3, 1]), np.array([2, 4])).tolist() == [1.0, 3.0]


def test_masked_topic_below_the_target_changes_nothing() -> None:
    assert metrics.ranks(SCORES[:1], np.array([3]), np.array([1])).tolist() == [2.0]


def test_masked_target_is_never_found() -> None:
    assert np.isinf(metrics.ranks(SCORES[:1], np.array([3]), np.array([3]))).all()


def test_nothing_is_masked_by_slot_zero() -> None:
    assert metrics.ranks(SCORES[:1], np.array([4]), np.array([0])).tolist() == [3.0]


def test_nan_scores_rank_last() -> None:
    broken = np.full((1, 4), np.nan)
    assert metrics.ranks(broken, np.array([1])).tolist() == [4.0]


def test_hit_rate_ndcg_and_mrr_by_hand() -> None:
    rank = np.array([1.0, 3.0, 7.0, np.inf])
    assert metrics.hit_rate_at_k(rank, 3).tolist() == [1, 1, 0, 0]
    assert metrics.ndcg_at_k(rank, 5).tolist() == [1, 0.5, 0, 0]
    assert metrics.mrr(rank) == pytest.approx([1, 1 / 3, 1 / 7, 0])


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=1, max_size=8),
    st.data(),
)
def test_rank_with_mask_equals_rank_by_sorting(rows: list[list[int]], data: st.DataObject) -> None:
    scores = np.array(rows, float)
    slots = st.lists(st.integers(1, 6), min_size=len(rows), max_size=len(rows))
    target, masked = np.array(data.draw(slots)), np.array(data.draw(slots)) - 1
    expected = []
    for row, topic, hidden in zip(scores, target, masked, strict=True):
        kept = [s for slot, s in enumerate(row, start=1) if slot != hidden]
        worst = sum(s >= row[topic - 1] for s in kept)
        expected.append(math.inf if topic == hidden else worst)
    assert metrics.ranks(scores, target, masked).tolist() == expected


def test_auc_equals_scikit_learn_with_ties_and_weights() -> None:
    rng = np.random.default_rng(0)
    label, p = rng.integers(0, 2, 400), rng.integers(0, 20, 400) / 20
    weight = rng.integers(0, 4, 400).astype(float)
    assert metrics.auc(label, p) == pytest.approx(roc_auc_score(label, p))
    expected = roc_auc_score(label, p, sample_weight=weight)
    assert metrics.auc(label, p, weight) == pytest.approx(expected)


def test_auc_of_one_sided_labels_is_nan() -> None:
    assert math.isnan(metrics.auc(np.ones(3, int), np.array([0.1, 0.2, 0.3])))


def test_log_loss_brier_and_accuracy_by_hand() -> None:
    label, p = np.array([1, 0]), np.array([0.8, 0.8])
    assert metrics.log_loss(label, p) == pytest.approx([-math.log(0.8), -math.log(0.2)])
    assert metrics.brier(label, p) == pytest.approx([0.04, 0.64])
    assert metrics.accuracy(label, p).tolist() == [1, 0]


def test_log_loss_stays_finite_for_a_certain_mistake() -> None:
    assert np.isfinite(metrics.log_loss(np.array([1, 0]), np.array([0.0, 1.0]))).all()


def test_calibration_error_by_hand() -> None:
    p = np.repeat([0.2, 0.9], 10)
    label = np.array([1] * 4 + [0] * 6 + [1] * 9 + [0])
    assert metrics.calibration_error(label, p, bins=2) == pytest.approx(0.1)


def test_calibration_bins_hold_equal_counts() -> None:
    bin_of, _ = metrics.calibration_bins(np.random.default_rng(0).random(150))
    assert np.bincount(bin_of).tolist() == [10] * 15


@given(st.permutations(range(30)))
def test_order_of_rows_changes_no_calibration(order: list[int]) -> None:
    p, label = np.repeat([0.1, 0.5, 0.7], 10), np.arange(30) % 2
    moved = metrics.calibration_error(label[order], p[order])
    assert moved == pytest.approx(metrics.calibration_error(label, p))


def test_interval_holds_the_mean_and_is_wider_by_learner_than_by_row() -> None:
    rng = np.random.default_rng(1)
    learner = np.repeat(np.arange(40), 25)
    value = np.repeat(rng.random(40), 25)  # a learner's rows are alike
    by_learner = metrics.learner_bootstrap(value, learner, seed=0)
    by_row = metrics.learner_bootstrap(value, np.arange(1000), seed=0)
    assert by_learner.low < by_learner.value < by_learner.high
    assert by_learner.high - by_learner.low > 3 * (by_row.high - by_row.low)


def test_same_seed_gives_the_same_interval() -> None:
    value, learner = np.arange(20.0), np.arange(20) // 4
    first = metrics.learner_bootstrap(value, learner, seed=3)
    assert first == metrics.learner_bootstrap(value, learner, seed=3)


def test_a_constant_gain_has_an_interval_of_no_width() -> None:
    rng = np.random.default_rng(2)
    second, learner = rng.random(50), np.arange(50) // 5
    gain = metrics.learner_bootstrap((second + 0.1) - second, learner, seed=0)
    assert (gain.low, gain.high) == pytest.approx((0.1, 0.1))


def test_auc_interval_holds_the_auc() -> None:
    rng = np.random.default_rng(4)
    label = rng.integers(0, 2, 300)
    found = metrics.auc_bootstrap(label, label + rng.random(300) * 2, np.arange(300) // 10, seed=0)
    assert found.low < found.value < found.high


def test_metrics_of_no_rows_are_nan() -> None:
    none = np.array([], float)
    found = metrics.auc_bootstrap(none.astype(int), none, none.astype(int), seed=0)
    assert math.isnan(found.value)
    assert math.isnan(metrics.calibration_error(none.astype(int), none))
    assert math.isnan(metrics.learner_bootstrap(none, none.astype(int), seed=0).value)
