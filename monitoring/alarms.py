"""Alarms: pure decisions on quality, drift, skew and the guards."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from monitoring.drift.drift_score import Drift
from monitoring.estimates import Floats, codes, per_learner, ratio, resampled
from monitoring.guards import EVENTS, OF_DATA, GuardVerdict
from monitoring.measures import MEANS
from monitoring.skew import Skew

DRIFT = "sensei.drift.detected"
QUALITY = "sensei.quality.degraded"
SKEW = "sensei.skew.detected"

TRAINING = frozenset({DRIFT, QUALITY})
"""Events for which the deployment `on-drift` waits."""

FEWEST_LEARNERS = 100
"""Minimum number of learners per period; below it no figure counts as degraded."""

FEWEST_CONTROLS = 30
"""Minimum number of control learners per period; fewer give no usable variance."""

SURE = 3.3
"""Standard errors by which a loss must exceed the margin: p = 1/2,000 per look.

Two standard errors would do for a single look, but the monitor looks every hour.
"""

EXPLAINED = 1.96
"""Standard errors at which a change of the control arm counts as real."""


class _Guard(NamedTuple):
    """A figure that must not get worse.

    Attributes:
        figure: a key of `monitoring.measures.MEANS`.
        better: 1 if higher is better, -1 if lower is.
        margin: change that is too small to matter.
        controlled: True if another policy serves the control arm, so that its change shows a
            change of learners rather than of the model.
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
    """A condition that needs a person's attention; of those in `TRAINING`, retraining may fix it.

    Attributes:
        event: name of the event.
        sentence: the condition in words, with its numbers.
        numbers: the same for programs, fit for JSON.
    """

    event: str
    sentence: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class FigureChange:
    """Change of a figure between two periods.

    Attributes:
        before: mean of the earlier period.
        now: mean of the later period.
        standard_error: bootstrap standard error of the difference, over the learners of both
            periods together.
        learners: learners of the smaller period.
    """

    before: float
    now: float
    standard_error: float
    learners: int

    @property
    def value(self) -> float:
        """Difference: now minus before."""
        return self.now - self.before


def alarms(
    current: pd.DataFrame,
    before: pd.DataFrame,
    drift: Drift | None,
    skew: Skew | None,
    seed: int,
    drift_alarm: float,
) -> list[Alarm]:
    """Decide which alarms hold now.

    Quality is degraded if the champion's arm lost more than the margin, by `SURE` standard
    errors. If the control arm, which counting serves, changed too and has `FEWEST_CONTROLS`
    learners, only the champion's additional loss counts: then the learners changed, and drift
    reports that. A drift score of at least `drift_alarm` is an alarm, and so is any skew.

    Args:
        current: outcomes of the last window.
        before: outcomes of the earlier reference period.
        drift: None if there was nothing to compare.
        skew: None if there was nothing to compare.
        seed: seed of the bootstrap.
        drift_alarm: score in [0, 1].
    """
    candidates = [_degraded(guard, current, before, seed) for guard in GUARDS]
    candidates += [_drifted(drift, drift_alarm), _skewed(skew)]
    return [alarm for alarm in candidates if alarm is not None]


def guard_alarms(verdicts: Collection[GuardVerdict]) -> list[Alarm]:
    """Return an alarm for each guard that fires."""
    return [
        Alarm(
            EVENTS[verdict.guard],
            f"{verdict.guard.capitalize()}: {verdict.sentence}",
            {"guard": verdict.guard, "value": verdict.value, "limit": verdict.limit},
        )
        for verdict in verdicts
        if verdict.fires
    ]


def hold_back(
    raised: Collection[Alarm], verdicts: Collection[GuardVerdict]
) -> tuple[list[Alarm], list[Alarm]]:
    """Split alarms into those to give and those to hold back while events are missing.

    With a tenth of the events, drift and quality measure which events are missing, not how
    learners changed, and a training would learn the remainder.

    Args:
        raised: of drift, quality and skew.
        verdicts: of all guards.
    """
    if not any(verdict.fires and verdict.guard in OF_DATA for verdict in verdicts):
        return list(raised), []
    given = [alarm for alarm in raised if alarm.event not in TRAINING]
    return given, [alarm for alarm in raised if alarm.event in TRAINING]


def change(
    current: pd.DataFrame, before: pd.DataFrame, figure: str, seed: int
) -> FigureChange | None:
    """Estimate the change of a figure; None if either period has no value.

    Args:
        current: outcomes of one arm.
        before: earlier outcomes of the same arm.
        figure: a key of `monitoring.measures.MEANS`.
        seed: seed of the bootstrap.
    """
    periods = [before, current]
    values = [MEANS[figure](outcomes) for outcomes in periods]
    valid = [~np.isnan(value) for value in values]
    if not all(mask.any() for mask in valid):
        return None
    users = codes([rows.loc[mask, "user_id"] for rows, mask in zip(periods, valid, strict=True)])
    period = np.repeat([0, 1], [len(codes_of) for codes_of in users])[:, None] == np.arange(2)
    value = np.concatenate([value[mask] for value, mask in zip(values, valid, strict=True)])
    learner = np.concatenate(users)
    totals = per_learner(period * value[:, None], learner)
    counts = per_learner(period.astype(np.float64), learner)

    def means(weight: Floats) -> Floats:
        return ratio(weight @ totals, weight @ counts)

    samples = np.diff([means(w) for w in resampled(len(totals), seed)], axis=1)[:, 0]
    error = float(np.nanstd(samples, ddof=1))
    mean = means(np.ones(len(totals)))
    fewest = int(np.count_nonzero(counts, axis=0).min())
    return FigureChange(float(mean[0]), float(mean[1]), error, fewest)


def _degraded(
    guard: _Guard, current: pd.DataFrame, before: pd.DataFrame, seed: int
) -> Alarm | None:
    def change_in(arm: str) -> FigureChange | None:
        now, then = (outcomes[outcomes["arm"] == arm] for outcomes in (current, before))
        return change(now, then, guard.figure, seed)

    champion = change_in("champion")
    if champion is None or champion.learners < FEWEST_LEARNERS:
        return None
    lost, error = -guard.better * champion.value, champion.standard_error
    control = change_in("control") if guard.controlled else None
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
    shared = control and f", {control.value:+.3f} of it as in the control arm"
    sentence = (
        f"Quality: {name} of the champion went from {champion.before:.3f} to {champion.now:.3f}"
        f"{shared or ''}, among {champion.learners:,} learners"
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
    drifted = {name: column.value for name, column in drift.columns.items() if column.drifted}
    sentence = (
        f"Drift: {drift.score:.2f} of 1, at least {drift_alarm:.2f}; drifted: {', '.join(drifted)}"
    )
    numbers = {"score": drift.score, "drift_alarm": drift_alarm, "drifted": drifted}
    return Alarm(DRIFT, sentence, numbers)


def _skewed(skew: Skew | None) -> Alarm | None:
    if skew is None or not skew.different:
        return None
    listed = ", ".join(f"{name} in {count}" for name, count in skew.inputs.items())
    sentence = (
        f"Skew: {skew.different} of {skew.compared} answers used inputs that differ from "
        f"those of training: {listed}"
    )
    numbers = {
        "compared": skew.compared,
        "different": skew.different,
        "inputs": skew.inputs,
    }
    return Alarm(SKEW, sentence, numbers)
