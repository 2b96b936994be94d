"""Figures of the outcomes: over all answers, by day and arm, and between arms."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.estimates import (
    ENDS,
    Estimate,
    Floats,
    codes,
    estimate,
    exact,
    means,
    per_learner,
    ratio,
    resampled,
)
from sensei import metrics

Row = dict[str, Any]


def _judged(metric: Callable[..., Floats]) -> Callable[[pd.DataFrame], Floats]:
    """Apply a metric to the judged difficulties; NaN elsewhere."""

    def of(outcomes: pd.DataFrame) -> Floats:
        passed = outcomes["passed"].to_numpy(np.float64)
        probability = outcomes["probability"].to_numpy(np.float64)
        return np.where(np.isnan(passed), np.nan, metric(passed, probability))

    return of


def _column(name: str) -> Callable[[pd.DataFrame], Floats]:
    return lambda outcomes: outcomes[name].to_numpy(np.float64)


MEANS: Mapping[str, Callable[[pd.DataFrame], Floats]] = {
    "recommendation_acceptance": _column("accepted"),
    "hit_rate_at_k": _column("hit"),
    "told_acceptance": _column("told"),
    "helpful_share": _column("helpful"),
    "user_satisfaction": _column("rating"),
    "accuracy": _judged(metrics.accuracy),
    "log_loss": _judged(metrics.log_loss),
    "fallback_share": lambda outcomes: np.where(outcomes["fallback"].notna(), 1.0, 0.0),
}
"""Figures that are means over answers; for open answers only `fallback_share` is known."""

FIGURES = (*MEANS, "calibration_error", "catalogue_coverage")
"""Names of all figures."""


def summarise(outcomes: pd.DataFrame, seed: int) -> dict[str, Row]:
    """Compute the figures of all outcomes.

    Args:
        outcomes: frame of `monitoring.outcomes.read_outcomes`.
        seed: seed of the bootstrap.

    Returns:
        Name -> `value`, `low`, `high`, `n`, `learners`, see `Estimate`:
        `recommendation_acceptance`, `hit_rate_at_k`, `told_acceptance` (reported by the
        platform), `helpful_share`, `user_satisfaction` (mean rating, 1 to 5; an answer rated
        several times counts once, with its mean), `fallback_share`; for judged difficulties
        `accuracy` (the probability lies on the outcome's side of 0.5), `log_loss` and
        `calibration_error`; `catalogue_coverage`: share of the catalogue's topics that were
        shown to anybody, an exact count without an interval.
    """
    (learner,) = codes([outcomes["user_id"]])
    values = np.stack([metric(outcomes) for metric in MEANS.values()], axis=1)
    estimates = dict(zip(MEANS, means(values, learner, seed), strict=True))
    estimates["calibration_error"] = _calibration_error(outcomes, learner, seed)
    estimates["catalogue_coverage"] = _coverage(outcomes)
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def by_day(outcomes: pd.DataFrame, seed: int = 0) -> list[Row]:
    """Compute the figures per kind of answer, model, version, arm and UTC day.

    Returns:
        `day`, `kind`, `model`, `version` (None for a counting policy), `arm`, `answers` (open
        ones included), and each figure with a count above 0, as `summarise` gives it.
    """
    keys = ["day", "kind", "model", "version", "arm"]
    rows = []
    for names, group in outcomes.groupby(keys, observed=True, dropna=False):
        texts = (name if isinstance(name, str) else None for name in names)
        group_key = dict(zip(keys, texts, strict=True))
        counted = {name: row for name, row in summarise(group, seed).items() if row["n"]}
        rows.append(group_key | {"answers": len(group)} | counted)
    return rows


def lift(
    outcomes: pd.DataFrame, seed: int, treated: str = "champion", control: str = "control"
) -> Estimate | None:
    """Estimate the lift: acceptance in one arm minus acceptance in another, on the same days.

    The days' differences are weighted by n m / (n + m), n and m the answers of each arm: days
    with only one arm have weight 0. Learners are resampled within their arm.
    Source: Greenland & Robins 1985, Biometrics 41 (Mantel-Haenszel risk difference).

    Returns:
        Difference of shares in [-1, 1]; `n` and `learners` of both arms; None if they share
        no day.
    """
    gained = difference(outcomes, treated, control, seed)
    if gained is None:
        return None
    low, high = np.percentile(gained.samples, ENDS)
    return Estimate(gained.value, float(low), float(high), gained.n, sum(gained.learners))


@dataclass(frozen=True)
class Difference:
    """Difference of a figure between two arms; see `lift`.

    Attributes:
        value: difference of means.
        samples: (samples,) differences in the bootstrap samples.
        days: UTC days that both arms share.
        n: answers on these days.
        learners: learners of each arm on these days.
    """

    value: float
    samples: Floats
    days: tuple[str, ...]
    n: int
    learners: tuple[int, int]

    @property
    def standard_error(self) -> float:
        """Bootstrap standard error of the value, over learners."""
        return float(self.samples.std(ddof=1)) if len(self.samples) > 1 else math.inf


def difference(
    outcomes: pd.DataFrame,
    treated: str,
    control: str,
    seed: int,
    figure: str = "recommendation_acceptance",
) -> Difference | None:
    """Estimate a difference of `MEANS`, with all samples; None if the arms share no day."""
    valued = outcomes.assign(value=MEANS[figure](outcomes)).dropna(subset="value")
    arms = [valued[valued["arm"] == arm] for arm in (treated, control)]
    days = sorted(set(arms[0]["day"]) & set(arms[1]["day"]))
    if not days:
        return None
    totals, counts = [], []
    for arm in (rows[rows["day"].isin(days)] for rows in arms):
        (learner,) = codes([arm["user_id"]])
        day_mask = arm["day"].to_numpy(object)[:, None] == np.array(days, object)
        totals.append(per_learner(day_mask * arm["value"].to_numpy()[:, None], learner))
        counts.append(per_learner(day_mask.astype(np.float64), learner))
    samples = zip(*(resampled(len(n), seed + arm) for arm, n in enumerate(counts)), strict=True)
    differences = np.array([_mantel_haenszel(*_weighted(w, totals, counts)) for w in samples])
    ones = [np.ones(len(n)) for n in counts]
    return Difference(
        _mantel_haenszel(*_weighted(ones, totals, counts)),
        differences[~np.isnan(differences)],
        tuple(days),
        int(sum(n.sum() for n in counts)),
        (len(counts[0]), len(counts[1])),
    )


def _weighted(weights: Any, totals: list[Floats], counts: list[Floats]) -> list[Floats]:
    return [w @ sums for parts in (totals, counts) for w, sums in zip(weights, parts, strict=True)]


def _mantel_haenszel(total: Floats, control: Floats, n: Floats, m: Floats) -> float:
    """Compute the weighted difference of means over the days; NaN if the arms share no day."""
    both = n + m > 0
    total, control, n, m = (values[both] for values in (total, control, n, m))
    weight = float((n * m / (n + m)).sum())
    gained = float(((total * m - control * n) / (n + m)).sum())
    return gained / weight if weight > 0 else math.nan


def _calibration_error(outcomes: pd.DataFrame, learner: NDArray[np.int64], seed: int) -> Estimate:
    """Estimate the calibration error of judged difficulties; all samples use the same bins."""
    scored = outcomes["passed"].notna().to_numpy()
    passed, probability = (
        outcomes.loc[scored, name].to_numpy() for name in ("passed", "probability")
    )
    bin_of, _ = metrics.calibration_bins(probability)
    gaps = (bin_of[:, None] == np.arange(metrics.CALIBRATION_BINS)) * (probability - passed)[
        :, None
    ]
    gap = per_learner(gaps, learner[scored])
    counts = per_learner(np.ones((len(passed), 1)), learner[scored])
    weights = resampled(len(gap), seed)
    samples = [ratio(np.abs(w @ gap).sum(keepdims=True), w @ counts)[0] for w in weights]
    return estimate(metrics.calibration_error(passed, probability), np.array(samples), counts)


def _coverage(outcomes: pd.DataFrame) -> Estimate:
    recommendations = outcomes[outcomes["kind"] == "recommendation"]
    shown_topics = {topic for topics in recommendations["shown"].unique() for topic in topics}
    catalogue = int(recommendations["catalogue"].max()) if len(recommendations) else 0
    share = min(len(shown_topics) / catalogue, 1.0) if catalogue else math.nan
    return exact(share, len(recommendations), recommendations["user_id"].nunique())
