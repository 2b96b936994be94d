"""What the outcomes say of the models: figures over all, by day and arm, and between arms."""

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
    """A metric of the difficulties that were judged; NaN elsewhere."""

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
"""Figures that are means over answers; of those that are open only `fallback_share` counts."""

FIGURES = (*MEANS, "calibration_error", "catalogue_coverage")
"""All figures."""


def summarise(outcomes: pd.DataFrame, seed: int) -> dict[str, Row]:
    """The figures of all outcomes.

    Args:
        outcomes: of `monitoring.outcomes.read_outcomes`.
        seed: seed of the resampling.

    Returns:
        Name -> `value`, `low`, `high`, `n`, `learners`, see `Estimate`:
        `recommendation_acceptance`, `hit_rate_at_k`, `told_acceptance` (by the platform's own
        word), `helpful_share`, `user_satisfaction` (mean rating, 1 to 5; an answer that was rated
        several times counts once, with its mean), `fallback_share`; of judged difficulties
        `accuracy` (the outcome lies on the side of 0.5 that the probability names), `log_loss`
        and `calibration_error`; `catalogue_coverage`: share of the catalogue's topics that were
        shown to anybody, which is counted and has no interval.
    """
    (learner,) = codes([outcomes["user_id"]])
    values = np.stack([of(outcomes) for of in MEANS.values()], axis=1)
    found = dict(zip(MEANS, means(values, learner, seed), strict=True))
    found["calibration_error"] = _calibration_error(outcomes, learner, seed)
    found["catalogue_coverage"] = _coverage(outcomes)
    return {name: asdict(each) for name, each in found.items()}


def by_day(outcomes: pd.DataFrame, seed: int = 0) -> list[Row]:
    """The figures of each kind of answer, model, version, arm and UTC day.

    Returns:
        `day`, `kind`, `model`, `version` (None of a counting policy), `arm`, `answers` (open ones
        included), and of each figure of which something was counted what `summarise` says.
    """
    keys = ["day", "kind", "model", "version", "arm"]
    rows = []
    for names, group in outcomes.groupby(keys, observed=True, dropna=False):
        texts = (name if isinstance(name, str) else None for name in names)
        named = dict(zip(keys, texts, strict=True))
        counted = {name: row for name, row in summarise(group, seed).items() if row["n"]}
        rows.append(named | {"answers": len(group)} | counted)
    return rows


def lift(
    outcomes: pd.DataFrame, seed: int, treated: str = "champion", control: str = "control"
) -> Estimate | None:
    """How much more often one arm's recommendations are accepted than another's, on the same days.

    The days' differences are weighted by n m / (n + m), n and m the answers of each arm: days on
    which only one arm was served weigh nothing. Learners are resampled within their arm.
    Source: Greenland & Robins 1985, Biometrics 41 (Mantel-Haenszel risk difference).

    Returns:
        Difference of shares in [-1, 1]; `n` and `learners` of both arms; None where they share
        no day.
    """
    found = difference(outcomes, treated, control, seed)
    if found is None:
        return None
    low, high = np.percentile(found.drawn, ENDS)
    return Estimate(found.value, float(low), float(high), found.n, sum(found.learners))


@dataclass(frozen=True)
class Difference:
    """How much higher a figure is in one arm than in another; see `lift`.

    Attributes:
        value: difference of means.
        drawn: (samples,) those of the resamples.
        days: that both arms share.
        n: answers on these days.
        learners: of either arm on these days.
    """

    value: float
    drawn: Floats
    days: tuple[str, ...]
    n: int
    learners: tuple[int, int]

    @property
    def standard_error(self) -> float:
        """Of the value, learners resampled."""
        return float(self.drawn.std(ddof=1)) if len(self.drawn) > 1 else math.inf


def difference(
    outcomes: pd.DataFrame,
    treated: str,
    control: str,
    seed: int,
    figure: str = "recommendation_acceptance",
) -> Difference | None:
    """A difference of `MEANS` with all its resamples; None where the arms share no day."""
    known = outcomes.assign(value=MEANS[figure](outcomes)).dropna(subset="value")
    arms = [known[known["arm"] == arm] for arm in (treated, control)]
    days = sorted(set(arms[0]["day"]) & set(arms[1]["day"]))
    if not days:
        return None
    totals, counts = [], []
    for arm in (each[each["day"].isin(days)] for each in arms):
        (learner,) = codes([arm["user_id"]])
        on = arm["day"].to_numpy(object)[:, None] == np.array(days, object)
        totals.append(per_learner(on * arm["value"].to_numpy()[:, None], learner))
        counts.append(per_learner(on.astype(np.float64), learner))
    draws = zip(*(resampled(len(of), seed + at) for at, of in enumerate(counts)), strict=True)
    drawn = np.array([_mantel_haenszel(*_weighed(w, totals, counts)) for w in draws])
    ones = [np.ones(len(each)) for each in counts]
    return Difference(
        _mantel_haenszel(*_weighed(ones, totals, counts)),
        drawn[~np.isnan(drawn)],
        tuple(days),
        int(sum(each.sum() for each in counts)),
        (len(counts[0]), len(counts[1])),
    )


def _weighed(weights: Any, totals: list[Floats], counts: list[Floats]) -> list[Floats]:
    return [w @ of for parts in (totals, counts) for w, of in zip(weights, parts, strict=True)]


def _mantel_haenszel(total: Floats, control: Floats, n: Floats, m: Floats) -> float:
    """Weighted difference of means over the days; NaN without a day that both arms share."""
    both = n + m > 0
    total, control, n, m = (each[both] for each in (total, control, n, m))
    weight = float((n * m / (n + m)).sum())
    gained = float(((total * m - control * n) / (n + m)).sum())
    return gained / weight if weight > 0 else math.nan


def _calibration_error(outcomes: pd.DataFrame, learner: NDArray[np.int64], seed: int) -> Estimate:
    """Of judged difficulties; the bins are those of all, in each resample."""
    known = outcomes["passed"].notna().to_numpy()
    passed, probability = (
        outcomes.loc[known, name].to_numpy() for name in ("passed", "probability")
    )
    bin_of, _ = metrics.calibration_bins(probability)
    gaps = (bin_of[:, None] == np.arange(metrics.CALIBRATION_BINS)) * (probability - passed)[
        :, None
    ]
    gap = per_learner(gaps, learner[known])
    counts = per_learner(np.ones((len(passed), 1)), learner[known])
    weights = resampled(len(gap), seed)
    drawn = [ratio(np.abs(w @ gap).sum(keepdims=True), w @ counts)[0] for w in weights]
    return estimate(metrics.calibration_error(passed, probability), np.array(drawn), counts)


def _coverage(outcomes: pd.DataFrame) -> Estimate:
    given = outcomes[outcomes["kind"] == "recommendation"]
    shown = {topic for each in given["shown"].unique() for topic in each}
    topics = int(given["catalogue"].max()) if len(given) else 0
    share = min(len(shown) / topics, 1.0) if topics else math.nan
    return exact(share, len(given), given["user_id"].nunique())
