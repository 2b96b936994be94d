"""Whether something must be done: a decision about figures, without effects."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from monitoring.drift import Drift
from monitoring.estimates import Floats, codes, per_learner, ratio, resampled
from monitoring.measures import MEANS
from monitoring.skew import Skew

DRIFT = "sensei.drift.detected"
QUALITY = "sensei.quality.degraded"
SKEW = "sensei.skew.detected"

FEWEST_LEARNERS = 100
"""Of either period: below it nothing is called worse."""

FEWEST_CONTROLS = 30
"""Of the control arm in either period: resampling a handful says nothing of how much they vary."""

SURE = 3.3
"""Standard errors that a change must exceed, the margin included: one look in 2,000 by chance. Two
would do for one look, but the monitor looks every hour."""

EXPLAINED = 1.96
"""Standard errors from which on the control arm's change counts as one."""


class _Guard(NamedTuple):
    """A figure that must not get worse.

    Attributes:
        figure: of `monitoring.measures.MEANS`.
        better: 1 where more is better, -1 where less is.
        margin: a change up to that matters to nobody.
        controlled: whether the control arm is served by another policy, so that its change says
            what happened to learners rather than to the model.
    """

    figure: str
    better: int
    margin: float
    controlled: bool


GUARDS = (
    _Guard("recommendation_acceptance", 1, 0.05, controlled=True),
    _Guard("log_loss", -1, 0.05, controlled=False),
)


@dataclass(frozen=True)
class Alarm:
    """Something that a person should know, and retraining may mend.

    Attributes:
        event: name of the event.
        sentence: what is wrong, with its numbers.
        numbers: the same for programs, fit for JSON.
    """

    event: str
    sentence: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Change:
    """How a figure changed from one period to another.

    Attributes:
        before: mean of the earlier period.
        now: of the later one.
        standard_error: of the difference, learners resampled over both periods at once.
        learners: of the period that has fewer.
    """

    before: float
    now: float
    standard_error: float
    learners: int

    @property
    def value(self) -> float:
        """Now less before."""
        return self.now - self.before


def alarms(
    current: pd.DataFrame,
    before: pd.DataFrame,
    drift: Drift | None,
    skew: Skew | None,
    seed: int,
    drift_alarm: float,
) -> list[Alarm]:
    """What is wrong now.

    Quality is degraded where the champion's arm is worse than before by more than the margin, and
    by `SURE` standard errors more than that. Where the control arm, served by counting, changed
    too, and has `FEWEST_CONTROLS`, only what the champion's arm lost beyond it counts: then
    learners changed, and the drift says so. Drift is an alarm from `drift_alarm` on, any skew is
    one.

    Args:
        current: outcomes of the last window.
        before: outcomes of the reference period, earlier.
        drift: None where there was nothing to compare.
        skew: the same.
        seed: seed of the resampling.
        drift_alarm: score in [0, 1].
    """
    found = [_degraded(guard, current, before, seed) for guard in GUARDS]
    found += [_drifted(drift, drift_alarm), _skewed(skew)]
    return [each for each in found if each is not None]


def change(current: pd.DataFrame, before: pd.DataFrame, figure: str, seed: int) -> Change | None:
    """How a figure changed; None where either period has no value.

    Args:
        current: outcomes of one arm.
        before: of the same arm earlier.
        figure: of `monitoring.measures.MEANS`.
        seed: seed of the resampling.
    """
    values = [MEANS[figure](each) for each in (before, current)]
    known = [~np.isnan(each) for each in values]
    if not all(each.any() for each in known):
        return None
    periods = [before, current]
    users = codes([each.loc[kept, "user_id"] for each, kept in zip(periods, known, strict=True)])
    period = np.repeat([0, 1], [len(each) for each in users])[:, None] == np.arange(2)
    value = np.concatenate([of[kept] for of, kept in zip(values, known, strict=True)])
    learner = np.concatenate(users)
    totals = per_learner(period * value[:, None], learner)
    counts = per_learner(period.astype(np.float64), learner)

    def means(weight: Floats) -> Floats:
        return ratio(weight @ totals, weight @ counts)

    drawn = np.diff([means(w) for w in resampled(len(totals), seed)], axis=1)[:, 0]
    error = float(np.nanstd(drawn, ddof=1))
    mean = means(np.ones(len(totals)))
    fewest = int(np.count_nonzero(counts, axis=0).min())
    return Change(float(mean[0]), float(mean[1]), error, fewest)


def _degraded(
    guard: _Guard, current: pd.DataFrame, before: pd.DataFrame, seed: int
) -> Alarm | None:
    def of(arm: str) -> Change | None:
        now, then = (each[each["arm"] == arm] for each in (current, before))
        return change(now, then, guard.figure, seed)

    champion = of("champion")
    if champion is None or champion.learners < FEWEST_LEARNERS:
        return None
    lost, error = -guard.better * champion.value, champion.standard_error
    control = of("control") if guard.controlled else None
    if control and control.learners < FEWEST_CONTROLS:
        control = None
    if control and abs(control.value) > EXPLAINED * control.standard_error > 0:
        lost += guard.better * control.value
        error = math.hypot(error, control.standard_error)
    else:
        control = None
    if lost - SURE * error <= guard.margin:
        return None
    name = guard.figure.replace("_", " ")
    also = control and f", {control.value:+.3f} of it as in the control arm"
    sentence = (
        f"Quality: {name} of the champion went from {champion.before:.3f} to {champion.now:.3f}"
        f"{also or ''}, among {champion.learners:,} learners"
    )
    numbers = {
        "figure": guard.figure,
        "before": champion.before,
        "now": champion.now,
        "control_change": control and control.value,
        "lost": lost,
        "standard_error": error,
        "margin": guard.margin,
        "learners": champion.learners,
    }
    return Alarm(QUALITY, sentence, numbers)


def _drifted(drift: Drift | None, drift_alarm: float) -> Alarm | None:
    if drift is None or drift.small or drift.score < drift_alarm:
        return None
    moved = {name: each.value for name, each in drift.columns.items() if each.drifted}
    sentence = (
        f"Drift: {drift.score:.2f} of 1, at least {drift_alarm:.2f}; moved: {', '.join(moved)}"
    )
    numbers = {"score": drift.score, "drift_alarm": drift_alarm, "drifted": moved}
    return Alarm(DRIFT, sentence, numbers)


def _skewed(skew: Skew | None) -> Alarm | None:
    if skew is None or not skew.different:
        return None
    named = ", ".join(f"{name} in {count}" for name, count in skew.inputs.items())
    sentence = (
        f"Skew: {skew.different} of {skew.compared} answers were made from other inputs than "
        f"training reads: {named}"
    )
    numbers = {
        "compared": skew.compared,
        "different": skew.different,
        "inputs": skew.inputs,
    }
    return Alarm(SKEW, sentence, numbers)
