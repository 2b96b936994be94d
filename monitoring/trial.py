"""The live trial: whether the challenger's arm does better than the champion's, and how surely."""

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from monitoring.estimates import Estimate
from monitoring.measures import difference
from monitoring.outcomes import read_outcomes
from sensei.tables import to_microseconds
from sensei.trial import Trial

FEWEST_LEARNERS = 100
"""Of each arm, on the days that both share: below it the normal approximation is not trusted."""

ERROR = 0.05
"""Chance to claim a difference that is none, over all looks together."""

NARROWEST = 0.01
"""Standard error at which the bound is narrowest: there a gain of three points shows."""


class _Question(NamedTuple):
    """What a trial of a model is about: a figure, whether more of it is better, and the words."""

    figure: str
    better: int
    words: str
    unit: float


QUESTIONS = {
    "recommendation": _Question(
        "recommendation_acceptance",
        1,
        "the challenger's recommendations were accepted {value} points more often than the "
        "champion's",
        100.0,
    ),
    "difficulty": _Question(
        "log_loss",
        -1,
        "the challenger's log loss of success was {value} hundredths of a nat above the champion's",
        100.0,
    ),
}


@dataclass(frozen=True)
class Verdict:
    """What the trial says so far.

    Attributes:
        enough: whether the evidence is enough to end it.
        sentence: the verdict in words.
        difference: acceptance (log loss, of a difficulty model) of the challenger's arm less that
            of the champion's, on the same days; `low` and `high` hold at whatever moment one looks.
            None without such a day.
        learners: arm -> learners on these days.
        days: UTC days on which both arms were served.
    """

    enough: bool
    sentence: str
    difference: Estimate | None
    learners: dict[str, int]
    days: int


def follow(engine: Engine, trial: Trial, end_us: int, horizon_us: int, seed: int) -> dict[str, Any]:
    """What a running trial says by now, fit for JSON; `said` is its verdict in words.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    start = to_microseconds(datetime.fromisoformat(trial.since)) if trial.since else 0
    outcomes = read_outcomes(engine, start, end_us, horizon_us)
    verdict = trial_verdict(outcomes, seed, trial.model)
    found = asdict(verdict)
    return {"said": found.pop("sentence"), **found}


def trial_verdict(outcomes: pd.DataFrame, seed: int, model: str = "recommendation") -> Verdict:
    """Compare the arms of a trial; it may be asked as often as one likes.

    The evidence is enough if the difference's bounds exclude 0 and each arm has
    `FEWEST_LEARNERS`. The bounds are not those of one look, which somebody who looks every hour
    would sooner or later see exclude 0 by chance: they hold at all looks together, see `anytime`.
    That is so as long as all outcomes since the trial began are given, not a moving window.

    Args:
        outcomes: of `monitoring.outcomes.read_outcomes` since the trial began. The challenger is
            the bundle that was last shown in its arm.
        seed: seed of the resampling.
        model: which one is tried, `recommendation` or `difficulty`.
    """
    question = QUESTIONS.get(model, QUESTIONS["recommendation"])
    shown = _of_last_bundle(outcomes)
    found = difference(shown, "challenger", "champion", seed, question.figure)
    if found is None:
        return Verdict(False, "No day yet on which both arms have outcomes.", None, {}, 0)
    half = anytime(found.standard_error)
    value = float(found.value)
    bounds = Estimate(value, value - half, value + half, found.n, sum(found.learners))
    learners = dict(zip(("challenger", "champion"), found.learners, strict=True))
    few = min(learners.values()) < FEWEST_LEARNERS
    enough = not few and abs(value) > half
    sentence = _sentence(question, bounds, len(found.days), learners, enough)
    return Verdict(enough, sentence, bounds, learners, len(found.days))


def anytime(standard_error: float, error: float = ERROR) -> float:
    """Half the width of an interval that holds at every look at once.

    Robbins' normal mixture bound of a Brownian motion, in the information I = 1 / se^2:
    se sqrt((1 + r / I) (log(1 + I / r) + 2 log(1 / error))), r chosen so that it is narrowest
    at `NARROWEST`. It holds where the estimate's increments are about independent, as those of
    means are; and asymptotically, which is what `FEWEST_LEARNERS` is for.
    Source: Waudby-Smith et al. 2021, Time-uniform central limit theory and asymptotic confidence
    sequences, theorem 2.2 and appendix B.2 (arXiv:2103.06476).

    Args:
        standard_error: of the estimate; 0 gives 0, infinity itself.
        error: chance that the truth is ever outside.
    """
    if standard_error in (0.0, math.inf):
        return standard_error
    twice = -2 * math.log(error)
    mixture = NARROWEST**-2 / (twice + math.log(twice) + 1)
    information = standard_error**-2
    grown = math.log1p(information / mixture) + twice
    return standard_error * math.sqrt((1 + mixture / information) * grown)


def _of_last_bundle(outcomes: pd.DataFrame) -> pd.DataFrame:
    """All but what the challenger's arm was shown by bundles of earlier trials."""
    challenger = outcomes["arm"] == "challenger"
    last = outcomes.loc[challenger].sort_values("time")["bundle"].dropna().iloc[-1:]
    kept: pd.DataFrame = outcomes[~challenger | outcomes["bundle"].isin(np.asarray(last, object))]
    return kept


def _sentence(
    question: _Question, found: Estimate, days: int, learners: dict[str, int], enough: bool
) -> str:
    value, low, high = (
        f"{question.unit * (each or 0.0):+.1f}" for each in (found.value, found.low, found.high)
    )
    said = (
        f"On {days} day{'s' * (days != 1)} {question.words.format(value=value)}, "
        f"between {low} and {high} at whatever moment one looks"
    )
    if enough:
        gained = question.better * (found.value or 0.0) > 0
        return f"{said}: enough evidence, the {'challenger' if gained else 'champion'} is better."
    short, count = min(learners.items(), key=lambda each: each[1])
    few = f"{count} of {FEWEST_LEARNERS} learners in the arm of the {short}"
    why = few if count < FEWEST_LEARNERS else "it may be none at all"
    return f"{said}: not enough yet, {why}."
