"""Promotion gate: a pure decision, with its reason, if a challenger replaces the champion."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sensei.errors import InvalidInput
from sensei.metrics import Floats, Ints, resamples
from training.release.serving_checks import ServingCheck

RESAMPLES = 2_000

ROUNDING = 1e-4
"""Minimum margin of the gain, in units of the metric; a smaller gain may be a rounding error."""

INFERIOR = 0.02
"""Non-inferiority margin of a slice, in units of the metric: NDCG@5, or nats of log loss."""

GAIN, FIRST = "gain", "first champion"
"""Name of the first check: with a champion, and without one."""

FEW_LEARNERS = 20
"""Minimum number of learners to resample; with fewer, the interval would be too narrow."""


@dataclass(frozen=True)
class PerLearner:
    """Metric of one model summed per learner; two models are compared on the same events.

    Attributes:
        metric: name of the metric, as in the reason.
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
        """Sum per-row values by learner.

        Args:
            metric: name of the metric.
            higher_is_better: True if a higher value is better.
            value: (n,) the metric of each target.
            learner: (n,) code of each target's learner.
        """
        codes, position = np.unique(learner, return_inverse=True)
        total = np.bincount(position, value, minlength=len(codes)).astype(np.float64)
        count = np.bincount(position, minlength=len(codes)).astype(np.float64)
        return cls(metric, higher_is_better, codes, total, count)

    @property
    def mean(self) -> float:
        """Mean over targets; NaN without targets."""
        return float(self.total.sum() / self.count.sum()) if len(self.count) else float("nan")


@dataclass(frozen=True)
class Decision:
    """Decision of the gate, with its reason and metrics.

    Attributes:
        promote: True if the challenger becomes champion.
        reason: one sentence for the ledger and the reviewer.
        gain: improvement by the challenger, positive if it is better; NaN if nothing was compared,
            as are `low` and `high`.
        low: lower end of the gain's 95 % interval.
        high: upper end of the gain's 95 % interval.
        challenger: metric of the challenger on the compared events; NaN if nothing was compared.
        champion: metric of the champion on the same events; NaN if nothing was compared.
        checks: all checks, the gain first; each must pass.
    """

    promote: bool
    reason: str
    gain: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    challenger: float = float("nan")
    champion: float = float("nan")
    checks: tuple[ServingCheck, ...] = ()

    @property
    def summary(self) -> str:
        """Every check with its verdict, in one line."""
        return ", ".join(f"{check.name} {check.verdict}" for check in self.checks)


NOTHING = Decision(False, "")
"""Decision before any comparison."""


def decide(
    champion: PerLearner | None, challenger: PerLearner, margin: float, seed: int
) -> Decision:
    """Compare both models on the same later events, with the same resamples of learners.

    Args:
        champion: None if there is no champion yet.
        challenger: on the same targets as the champion.
        margin: the lower bound of the gain must exceed it, in units of the metric; at least
            `ROUNDING` is used.
        seed: seed of the resampling; the same seed gives the same decision.

    Raises:
        InvalidInput: the two were not measured on the same targets.

    Source: Field & Welsh 2007 (cluster bootstrap), JRSS B 69(3).
    """
    if champion is None:
        return _decided((ServingCheck(FIRST, True, "the best candidate becomes the first one"),))
    _check_same_targets(champion, challenger)
    learners, targets = len(challenger.learner), int(challenger.count.sum())
    if learners < 2:
        finding = f"{targets} later events of {learners} learners are too few to compare on"
        return _decided((ServingCheck(GAIN, False, finding),))
    gain, low, high = _gain(champion, challenger, seed)
    margin = max(margin, ROUNDING)
    passed = bool(low > margin)
    bound = "exceeds" if passed else "does not exceed"
    finding = (
        f"{challenger.metric} is {challenger.mean:.4f} against {champion.mean:.4f} on "
        f"{targets:,} later events of {learners:,} learners, a gain of {gain:+.4f} "
        f"(95 % interval {low:+.4f} to {high:+.4f}) whose lower bound {bound} the margin of "
        f"{margin:g}"
    )
    figures = Decision(passed, "", gain, low, high, challenger.mean, champion.mean)
    return _decided((ServingCheck(GAIN, passed, finding, gain),), figures)


def judge(decision: Decision, checks: Sequence[ServingCheck]) -> Decision:
    """Return the decision with further checks; one failed check prevents the promotion."""
    return _decided((*decision.checks, *checks), decision)


def _decided(checks: tuple[ServingCheck, ...], figures: Decision = NOTHING) -> Decision:
    """Build the decision from checks, the first of which is the comparison with the champion."""
    promote = all(check.passed for check in checks)
    compared, failed = checks[0], [check for check in checks[1:] if not check.passed]
    if compared.name == FIRST:
        verdict = "There is no champion yet" if promote else "There is still no champion"
    else:
        verdict = "The challenger is promoted" if promote else "The champion stays"
    failures = [f"{check.name}: {check.said}" for check in failed]
    findings = failures if failed and compared.name == FIRST else [*failures, compared.said]
    reason = f"{verdict}: {'; '.join(findings)}."
    return replace(figures, promote=promote, reason=reason, checks=checks)


def not_inferior(
    name: str, champion: PerLearner, challenger: PerLearner, seed: int, margin: float = INFERIOR
) -> ServingCheck:
    """Check that a challenger is not inferior in one slice of the same later events.

    It passes if the gain's interval lies above minus the margin. It fails if the interval does not
    and lies below 0: the loss is significant. Otherwise the evidence is insufficient and the slice
    is not judged. So an equal challenger fails in one of 40 cases, for any size of the slice.

    Args:
        name: name of the slice.
        champion: on the targets of the slice.
        challenger: on the same targets.
        seed: seed of the resampling.
        margin: the non-inferiority margin, in units of the metric.

    Source: Piaggio et al. 2012 (JAMA), non-inferiority by confidence intervals.
    """
    _check_same_targets(champion, challenger)
    learners, targets = len(challenger.learner), int(challenger.count.sum())
    sample = f"{targets:,} targets of {learners:,} learners"
    if learners < FEW_LEARNERS:
        return ServingCheck(name, True, f"{sample} are too few to judge", judged=False)
    gain, low, high = _gain(champion, challenger, seed)
    finding = f"gain {gain:+.4f} ({low:+.4f} to {high:+.4f}) on {sample}"
    if low > -margin:
        return ServingCheck(name, True, f"{finding}, above -{margin:g}", gain)
    if high < 0:
        return ServingCheck(
            name, False, f"{finding}, a loss beyond chance and not above -{margin:g}", gain
        )
    return ServingCheck(name, True, f"{finding}, too few to judge", gain, judged=False)


def _gain(champion: PerLearner, challenger: PerLearner, seed: int) -> tuple[float, float, float]:
    """Return the challenger's gain and its 95 % interval."""
    sign = 1.0 if challenger.higher_is_better else -1.0
    gains = sign * (challenger.total - champion.total)
    gain = float(gains.sum() / challenger.count.sum())
    return gain, *_interval(gains, challenger.count, seed)


def _check_same_targets(champion: PerLearner, challenger: PerLearner) -> None:
    same_targets = (
        champion.metric == challenger.metric
        and champion.higher_is_better == challenger.higher_is_better
        and np.array_equal(champion.learner, challenger.learner)
        and np.array_equal(champion.count, challenger.count)
    )
    if not same_targets:
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


def _interval(gains: NDArray[np.float64], count: Floats, seed: int) -> tuple[float, float]:
    resampled_gains = [(w @ gains) / (w @ count) for w in resamples(len(gains), RESAMPLES, seed)]
    low, high = np.percentile(resampled_gains, (2.5, 97.5))
    return float(low), float(high)
