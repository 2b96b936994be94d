"""How sure a figure is: 95 % intervals from resampling learners, not answers.

A learner's answers depend on each other; resampling answers would give intervals that are too
narrow. Of few learners an interval is rough, of one there is none.
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
ENDS = (2.5, 97.5)
"""Percentiles of the resampled figures: the ends of the interval."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, fit for JSON: what nobody knows is None, never NaN.

    Attributes:
        value: the figure; None where nothing was counted.
        low: lower end of the interval; None where there is none.
        high: upper end.
        n: answers that were counted.
        learners: to whom they were given.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    learners: int


def exact(value: float, n: int, learners: int) -> Estimate:
    """A figure that was counted, not estimated: it has no interval."""
    return Estimate(_known(value), None, None, n, learners)


def means(values: Floats, learner: NDArray[np.int64], seed: int) -> list[Estimate]:
    """Mean of each column, learners resampled for all of them at once.

    Args:
        values: (n, m); NaN where a row has no value.
        learner: (n,) code of each row's learner.
        seed: seed of the resampling.
    """
    counted = ~np.isnan(values)
    totals = per_learner(np.where(counted, values, 0.0), learner)
    counts = per_learner(counted.astype(np.float64), learner)
    drawn = np.array([ratio(w @ totals, w @ counts) for w in resampled(len(totals), seed)])
    value = ratio(totals.sum(axis=0), counts.sum(axis=0))
    return [
        estimate(value[each], drawn[:, each], counts[:, each]) for each in range(values.shape[1])
    ]


def estimate(value: float, drawn: Floats, counts: Floats) -> Estimate:
    """A figure and what became of it in the resamples.

    Args:
        value: NaN where nothing was counted.
        drawn: (samples,) NaN where a resample held nothing to count.
        counts: (L,) answers of each learner.
    """
    learners = int(np.count_nonzero(counts))
    known = drawn[~np.isnan(drawn)]
    some = learners > 1 and len(known)
    low, high = np.percentile(known, ENDS) if some else (math.nan, math.nan)
    return Estimate(_known(value), _known(low), _known(high), int(counts.sum()), learners)


def per_learner(values: Floats, learner: NDArray[np.int64]) -> Floats:
    """(L, m) sums over the rows of each learner that occurs."""
    _, code = np.unique(learner, return_inverse=True)
    sums: Floats = np.zeros((int(code.max(initial=-1)) + 1, values.shape[1]))
    for place, column in enumerate(values.T):
        sums[:, place] = np.bincount(code, column, len(sums))
    return sums


def codes(users: "Sequence[pd.Series[str]]") -> list[NDArray[np.int64]]:
    """The same number for the same learner in all of several columns."""
    found, _ = pd.factorize(pd.concat([each.astype(object) for each in users]))
    ends = np.cumsum([len(each) for each in users])[:-1]
    return [part.astype(np.int64) for part in np.split(found, ends)]


def resampled(learners: int, seed: int) -> Iterator[Floats]:
    """How often each learner occurs, resample by resample; one without anybody where none is."""
    return resamples(learners, SAMPLES, seed) if learners else iter([np.zeros(0)])


def ratio(totals: Floats, counts: Floats) -> Floats:
    """Means; NaN where nothing was counted."""
    found: Floats = np.full(len(counts), math.nan)
    return np.divide(totals, counts, out=found, where=counts > 0)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
