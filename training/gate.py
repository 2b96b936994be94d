"""Decide whether a challenger replaces the champion: only on evidence, and always with a reason."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensei.errors import InvalidInput
from sensei.metrics import Floats, Ints, resamples

RESAMPLES = 2_000


@dataclass(frozen=True)
class PerLearner:
    """One model's metric, summed by learner; two models are compared on the same events.

    Attributes:
        metric: its name, as the reason says it.
        higher_is_better: True for NDCG, False for log loss.
        learner: (L,) codes, sorted.
        total: (L,) sum of the metric over the learner's targets.
        count: (L,) number of those targets.
    """

    metric: str
    higher_is_better: bool
    learner: Ints
    total: Floats
    count: Floats

    @classmethod
    def of(cls, metric: str, higher_is_better: bool, value: Floats, learner: Ints) -> "PerLearner":
        """Sum per-row values.

        Args:
            metric: name of the metric.
            higher_is_better: whether more of it is better.
            value: (n,) the metric of each target.
            learner: (n,) code of each target's learner.
        """
        codes, position = np.unique(learner, return_inverse=True)
        total = np.bincount(position, value, minlength=len(codes)).astype(np.float64)
        count = np.bincount(position, minlength=len(codes)).astype(np.float64)
        return cls(metric, higher_is_better, codes, total, count)

    @property
    def mean(self) -> float:
        """Mean over targets; NaN without one."""
        return float(self.total.sum() / self.count.sum()) if len(self.count) else float("nan")


@dataclass(frozen=True)
class Decision:
    """Whether to promote, why, and the figures behind it.

    Attributes:
        promote: True where the challenger becomes champion.
        reason: one sentence for the ledger and the person who reviews.
        gain: how much better the challenger is, positive whichever way the metric points; NaN
            where nothing was compared, as are `low` and `high`.
        low: lower end of the gain's 95 % interval.
        high: upper end.
    """

    promote: bool
    reason: str
    gain: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def decide(
    champion: PerLearner | None, challenger: PerLearner, margin: float, seed: int
) -> Decision:
    """Compare both on the same later events, learners resampled for both at once.

    Args:
        champion: None where there is none yet.
        challenger: on the same targets as the champion.
        margin: the lower bound of the gain must exceed it, in units of the metric.
        seed: seed of the resampling; the same seed gives the same decision.

    Raises:
        InvalidInput: the two were not measured on the same targets.

    Source: Field & Welsh 2007 (cluster bootstrap), JRSS B 69(3).
    """
    if champion is None:
        return Decision(True, "There is no champion yet: the best candidate becomes the first.")
    _check_same_targets(champion, challenger)
    learners, targets = len(challenger.learner), int(challenger.count.sum())
    if learners < 2:
        return Decision(
            False,
            f"The champion stays: {targets} later events of {learners} learners are too few to "
            "compare on.",
        )
    sign = 1.0 if challenger.higher_is_better else -1.0
    better = sign * (challenger.total - champion.total)
    gain = float(better.sum() / challenger.count.sum())
    low, high = _interval(better, challenger.count, seed)
    promote = bool(low > margin)
    verdict = "The challenger is promoted" if promote else "The champion stays"
    bound = "exceeds" if promote else "does not exceed"
    reason = (
        f"{verdict}: {challenger.metric} is {challenger.mean:.4f} against {champion.mean:.4f} on "
        f"{targets:,} later events of {learners:,} learners, a gain of {gain:+.4f} "
        f"(95 % interval {low:+.4f} to {high:+.4f}) whose lower bound {bound} the margin of "
        f"{margin:g}."
    )
    return Decision(promote, reason, gain, low, high)


def _check_same_targets(champion: PerLearner, challenger: PerLearner) -> None:
    same = (
        champion.metric == challenger.metric
        and champion.higher_is_better == challenger.higher_is_better
        and np.array_equal(champion.learner, challenger.learner)
        and np.array_equal(champion.count, challenger.count)
    )
    if not same:
        raise InvalidInput(
            f"gate: expected both models on the same targets, got {champion.metric} on "
            f"{champion.count.sum():.0f} and {challenger.metric} on {challenger.count.sum():.0f}; "
            "score champion and challenger on the same events"
        )
    if not np.isfinite(champion.total).all() or not np.isfinite(challenger.total).all():
        raise InvalidInput(
            f"gate: expected finite values of {challenger.metric}, got NaN or infinity; "
            "score models whose answers are numbers"
        )


def _interval(better: NDArray[np.float64], count: Floats, seed: int) -> tuple[float, float]:
    drawn = [(w @ better) / (w @ count) for w in resamples(len(better), RESAMPLES, seed)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)
