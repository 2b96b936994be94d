"""Estimates with 95 % bootstrap intervals, resampling learners rather than answers.

A learner's answers depend on each other, so resampling answers would give intervals that are too
narrow. With few learners an interval is rough; with one learner there is none.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sensei.metrics import resamples

Floats = NDArray[np.float64]

SAMPLES = 1000
"""Number of bootstrap samples."""

ENDS = (2.5, 97.5)
"""Percentiles of the bootstrap samples that bound the interval."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, fit for JSON: unknown values are None, never NaN.

    Attributes:
        value: the figure; None if nothing was counted.
        low: lower end of the interval; None if there is none.
        high: upper end.
        n: number of counted answers.
        learners: number of learners who got them.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    learners: int


def exact(value: float, n: int, learners: int) -> Estimate:
    """Wrap an exact count, which has no interval."""
    return Estimate(_none_if_nan(value), None, None, n, learners)


def means(values: Floats, learner: NDArray[np.int64], seed: int) -> list[Estimate]:
    """Estimate the mean of each column; one bootstrap over learners serves all columns.

    Args:
        values: (n, m); NaN if a row has no value.
        learner: (n,) code of each row's learner.
        seed: seed of the bootstrap.
    """
    counted = ~np.isnan(values)
    totals = per_learner(np.where(counted, values, 0.0), learner)
    counts = per_learner(counted.astype(np.float64), learner)
    samples = np.array([ratio(w @ totals, w @ counts) for w in resampled(len(totals), seed)])
    value = ratio(totals.sum(axis=0), counts.sum(axis=0))
    return [
        estimate(value[column], samples[:, column], counts[:, column])
        for column in range(values.shape[1])
    ]


def estimate(value: float, samples: Floats, counts: Floats) -> Estimate:
    """Combine a figure and its bootstrap samples into an estimate.

    Args:
        value: the figure; NaN if nothing was counted.
        samples: (samples,) NaN for a sample with nothing to count.
        counts: (L,) answers of each learner.
    """
    learners = int(np.count_nonzero(counts))
    valid = samples[~np.isnan(samples)]
    has_interval = learners > 1 and len(valid)
    bounds = np.percentile(valid, ENDS) if has_interval else (math.nan, math.nan)
    low, high = (_none_if_nan(bound) for bound in bounds)
    return Estimate(_none_if_nan(value), low, high, int(counts.sum()), learners)


def per_learner(values: Floats, learner: NDArray[np.int64]) -> Floats:
    """Return the (L, m) sums over the rows of each learner that occurs."""
    _, code = np.unique(learner, return_inverse=True)
    sums: Floats = np.zeros((int(code.max(initial=-1)) + 1, values.shape[1]))
    for index, column in enumerate(values.T):
        sums[:, index] = np.bincount(code, column, len(sums))
    return sums


def codes(users: "Sequence[pd.Series[str]]") -> list[NDArray[np.int64]]:
    """Encode several columns of learners with common codes."""
    encoded, _ = pd.factorize(pd.concat([column.astype(object) for column in users]))
    ends = np.cumsum([len(column) for column in users])[:-1]
    return [part.astype(np.int64) for part in np.split(encoded, ends)]


def resampled(learners: int, seed: int) -> Iterator[Floats]:
    """Yield the (L,) learner counts of each bootstrap sample; one empty sample without learners."""
    return resamples(learners, SAMPLES, seed) if learners else iter([np.zeros(0)])


def ratio(totals: Floats, counts: Floats) -> Floats:
    """Divide totals by counts; NaN for a count of 0."""
    quotient: Floats = np.full(len(counts), math.nan)
    return np.divide(totals, counts, out=quotient, where=counts > 0)


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
