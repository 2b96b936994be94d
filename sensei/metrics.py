"""Metrics of rankings and of probabilities: pure NumPy, one value per row first.

A ranking metric is the mean over rows of a value in [0, 1]. The values per row feed the table, the
slices, the learner bootstrap and the gate alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

CALIBRATION_BINS = 15
"""Number of equal-count bins of the calibration error."""

_SMALLEST = 1e-7  # probabilities are float32: they carry no information closer to 0 or 1


def ranks(scores: NDArray[np.floating], target: Ints, masked: Ints | None = None) -> Floats:
    """Rank each row's target among all topics, ties broken against the model.

    Args:
        scores: (n, T), higher is better; column i belongs to slot i + 1. NaN is the worst score.
        target: (n,), slot of the observed topic; 0 if it has no slot.
        masked: (n,), slot that may not be recommended in that row; 0 for none.

    Returns:
        (n,), 1 is best; infinity if the target has no slot or is masked.
    """
    column = np.maximum(np.asarray(target, np.int64) - 1, 0)[:, None]
    beaten = scores < np.take_along_axis(scores, column, axis=1)
    rank: Floats = (scores.shape[1] - np.count_nonzero(beaten, axis=1)).astype(np.float64)
    lost = np.asarray(target) <= 0
    if masked is not None:
        hidden = np.maximum(np.asarray(masked, np.int64) - 1, 0)[:, None]
        counted = ~np.take_along_axis(beaten, hidden, axis=1)[:, 0] & (np.asarray(masked) > 0)
        rank -= counted
        lost = lost | ((np.asarray(masked) > 0) & (hidden == column)[:, 0])
    rank[lost] = np.inf
    return rank


def hit_rate_at_k(rank: Floats, k: int) -> Floats:
    """Return 1 for each row whose target is among the first k, else 0; its mean is HR@k."""
    return (rank <= k).astype(np.float64)


def ndcg_at_k(rank: Floats, k: int) -> Floats:
    """Return the normalised discounted cumulative gain of one relevant topic per row.

    It is 1 / log2(rank + 1) up to k, else 0. The ideal gain of one relevant topic is 1, so the
    discount is the value itself.
    Source: Jarvelin & Kekalainen 2002, TOIS 20(4).
    """
    return np.where(rank <= k, 1.0 / np.log2(rank + 1.0), 0.0)


def mrr(rank: Floats) -> Floats:
    """Return the reciprocal rank of each row, 0 if the target cannot be ranked; its mean is MRR."""
    return np.divide(1.0, rank)


def accuracy(label: Ints, probability: NDArray[np.floating]) -> Floats:
    """Return 1 for each row whose outcome is on the probability's side of 0.5, else 0."""
    right: Floats = ((np.asarray(probability) >= 0.5) == (np.asarray(label) > 0)).astype(np.float64)
    return right


def log_loss(label: Ints, probability: NDArray[np.floating]) -> Floats:
    """Return -log of the probability of the observed outcome, in nats; finite: clipped at 1e-7."""
    p = np.clip(np.asarray(probability, np.float64), _SMALLEST, 1.0 - _SMALLEST)
    return -np.where(np.asarray(label) > 0, np.log(p), np.log1p(-p))


def brier(label: Ints, probability: NDArray[np.floating]) -> Floats:
    """Return the squared error of the probability, in [0, 1]. Source: Brier 1950."""
    return (np.asarray(probability, np.float64) - np.asarray(label)) ** 2


def auc(label: Ints, probability: NDArray[np.floating], weight: Floats | None = None) -> float:
    """Return the probability that a success is scored above a failure; ties count one half.

    Args:
        label: (n,), 1 success, 0 failure.
        probability: (n,), any monotone score.
        weight: (n,), number of times that each row counts; by default once.

    Returns:
        In [0, 1]; NaN if only one class is present.
    """
    _, group = np.unique(probability, return_inverse=True)
    w = np.ones(len(label)) if weight is None else weight
    return _auc_of_groups(np.asarray(label) > 0, group, w)


def _auc_of_groups(success: NDArray[np.bool_], group: NDArray[np.intp], w: Floats) -> float:
    """Return the AUC of rows whose equal probabilities share a group number, in ascending order."""
    wins = np.bincount(group, w * success)
    losses = np.bincount(group, w * ~success)
    below = np.cumsum(losses) - losses / 2
    pairs = wins.sum() * losses.sum()
    return float((wins * below).sum() / pairs) if pairs > 0 else float("nan")


def calibration_error(
    label: Ints, probability: NDArray[np.floating], bins: int = CALIBRATION_BINS
) -> float:
    """Return the expected calibration error: |mean probability - success rate|, mean over bins.

    Bins hold equal counts and are weighted by their rows. Equal probabilities stay in one bin, so
    the order of rows has no effect.
    Source: Naeini et al. 2015 (AAAI); equal-count bins as in Nguyen & O'Connor 2015.

    Returns:
        In [0, 1]; NaN without rows.
    """
    bin_of, filled = calibration_bins(probability, bins)
    if len(filled) == 0:
        return float("nan")
    gap = np.bincount(bin_of, np.asarray(probability, np.float64) - np.asarray(label))
    return float(np.abs(gap).sum() / len(bin_of))


def calibration_bins(
    probability: NDArray[np.floating], bins: int = CALIBRATION_BINS
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Assign rows to equal-count bins by probability.

    Returns:
        (n,) bin of each row, and the sorted numbers of the non-empty bins.
    """
    p = np.asarray(probability, np.float64)
    position = np.searchsorted(np.sort(p), p, side="left").astype(np.int64)
    bin_of = position * bins // max(len(p), 1)
    return bin_of, np.unique(bin_of)


@dataclass(frozen=True)
class Interval:
    """Estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def resamples(learners: int, samples: int, seed: int) -> Iterator[Floats]:
    """Yield per resample how often each learner occurs: (learners,), with `learners` as its sum.

    One resample at a time, so memory does not grow with their number.
    """
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        drawn = rng.integers(0, learners, size=learners)
        yield np.bincount(drawn, minlength=learners).astype(np.float64)


def learner_bootstrap(value: Floats, learner: Ints, seed: int, samples: int = 1000) -> Interval:
    """Return the mean of per-row values, with an interval from resampling learners, not rows.

    A learner's rows depend on each other; resampling rows would give intervals that are too narrow.

    Args:
        value: (n,), per-row metric.
        learner: (n,), code of each row's learner.
        seed: seed of the resampling.
        samples: number of resamples.

    Returns:
        Mean over rows and the 2.5 and 97.5 percentiles of the resampled means; NaN without rows.

    Source: Field & Welsh 2007 (cluster bootstrap), JRSS B 69(3).
    """
    if len(value) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    _, code = np.unique(learner, return_inverse=True)
    total = np.bincount(code, value)
    count = np.bincount(code).astype(np.float64)
    means = [(w @ total) / (w @ count) for w in resamples(len(total), samples, seed)]
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(total.sum() / count.sum()), float(low), float(high))


def auc_bootstrap(
    label: Ints, probability: NDArray[np.floating], learner: Ints, seed: int, samples: int = 200
) -> Interval:
    """Return the AUC with an interval from resampling learners; NaN if only one class is present.

    Args:
        label: (n,), 1 success, 0 failure.
        probability: (n,) any monotone score; or (s, n) for s trained models, whose AUCs are
            averaged, also within each resample.
        learner: (n,), code of each row's learner.
        seed: seed of the resampling.
        samples: number of resamples.
    """
    _, code = np.unique(learner, return_inverse=True)
    success = np.asarray(label) > 0
    models = np.atleast_2d(probability)
    groups = [np.unique(scores, return_inverse=True)[1] for scores in models]  # sorts each once

    def mean(w: Floats) -> float:
        return float(np.mean([_auc_of_groups(success, group, w) for group in groups]))

    count = int(code.max()) + 1 if len(code) else 0
    drawn = [mean(w[code]) for w in resamples(count, samples, seed)] if count else []
    defined = [auc for auc in drawn if not np.isnan(auc)]
    low, high = np.percentile(defined, (2.5, 97.5)) if defined else (float("nan"), float("nan"))
    return Interval(mean(np.ones(len(success))), float(low), float(high))
