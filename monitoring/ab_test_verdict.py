"""Verdict of an A/B test: challenger against champion, valid at every look."""

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
from sensei.ab_test_state import AbTest
from sensei.storage.tables import to_microseconds

FEWEST_LEARNERS = 100
"""Minimum number of learners per arm on shared days, for the normal approximation."""

ERROR = 0.05
"""Probability of a false claim, over all looks together."""

NARROWEST = 0.01
"""Standard error at which the bound is narrowest; there a gain of three points is visible."""


class _Question(NamedTuple):
    """The question of a test: a figure, its better direction (1 or -1), its words and unit."""

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
    """Result of the test so far.

    Attributes:
        enough: True if the evidence is enough to end the test.
        sentence: the verdict in words.
        difference: acceptance (for a difficulty model log loss) of the challenger's arm minus the
            champion's, on the same days; `low` and `high` hold at every look. None without a
            shared day.
        learners: arm -> learners on these days.
        days: number of UTC days on which both arms were served.
    """

    enough: bool
    sentence: str
    difference: Estimate | None
    learners: dict[str, int]
    days: int


def follow(
    engine: Engine, trial: AbTest, end_us: int, horizon_us: int, seed: int
) -> dict[str, Any]:
    """Summarise a running test, fit for JSON; `said` is the verdict in words.

    Raises:
        StorageUnavailable: the database cannot be read.
    """
    start = to_microseconds(datetime.fromisoformat(trial.since)) if trial.since else 0
    outcomes = read_outcomes(engine, start, end_us, horizon_us)
    verdict = asdict(trial_verdict(outcomes, seed, trial.model))
    return {"said": verdict.pop("sentence"), **verdict}


def trial_verdict(outcomes: pd.DataFrame, seed: int, model: str = "recommendation") -> Verdict:
    """Compare the arms of a test; the result is valid at every look.

    The evidence is enough if the bounds of the difference exclude 0 and each arm has
    `FEWEST_LEARNERS`. With hourly looks, bounds for a single look would exclude 0 by chance sooner
    or later. These bounds hold at all looks together, see `anytime`. They require `outcomes` since
    the start of the test, not of a moving window.

    Args:
        outcomes: frame of `monitoring.outcomes.read_outcomes` since the start of the test. The
            challenger is the last bundle that was shown in its arm.
        seed: seed of the bootstrap.
        model: the model under test, `recommendation` or `difficulty`.
    """
    question = QUESTIONS.get(model, QUESTIONS["recommendation"])
    current_outcomes = _last_challenger_only(outcomes)
    gained = difference(current_outcomes, "challenger", "champion", seed, question.figure)
    if gained is None:
        return Verdict(False, "No day yet with outcomes in both arms.", None, {}, 0)
    half = anytime(gained.standard_error)
    value = float(gained.value)
    bounds = Estimate(value, value - half, value + half, gained.n, sum(gained.learners))
    learners = dict(zip(("challenger", "champion"), gained.learners, strict=True))
    few = min(learners.values()) < FEWEST_LEARNERS
    enough = not few and abs(value) > half
    sentence = _sentence(question, bounds, len(gained.days), learners, enough)
    return Verdict(enough, sentence, bounds, learners, len(gained.days))


def anytime(standard_error: float, error: float = ERROR) -> float:
    """Compute half the width of an asymptotic confidence sequence.

    Robbins' normal mixture bound of a Brownian motion, in the information I = 1 / se^2:
    se sqrt((1 + r / I) (log(1 + I / r) + 2 log(1 / error))), with r chosen so that it is
    narrowest at `NARROWEST`. It holds asymptotically (hence `FEWEST_LEARNERS`) if the increments
    of the estimate are nearly independent, as those of means are.
    Source: Waudby-Smith et al. 2021, Time-uniform central limit theory and asymptotic confidence
    sequences, theorem 2.2 and appendix B.2 (arXiv:2103.06476).

    Args:
        standard_error: standard error of the estimate; 0 gives 0, infinity gives infinity.
        error: probability that the truth is ever outside.
    """
    if standard_error in (0.0, math.inf):
        return standard_error
    twice = -2 * math.log(error)
    mixture = NARROWEST**-2 / (twice + math.log(twice) + 1)
    information = standard_error**-2
    grown = math.log1p(information / mixture) + twice
    return standard_error * math.sqrt((1 + mixture / information) * grown)


def _last_challenger_only(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Drop the challenger's answers that bundles of earlier tests gave."""
    challenger = outcomes["arm"] == "challenger"
    last = outcomes.loc[challenger].sort_values("time")["bundle"].dropna().iloc[-1:]
    rows: pd.DataFrame = outcomes[~challenger | outcomes["bundle"].isin(np.asarray(last, object))]
    return rows


def _sentence(
    question: _Question, bounds: Estimate, days: int, learners: dict[str, int], enough: bool
) -> str:
    value, low, high = (
        f"{question.unit * (number or 0.0):+.1f}"
        for number in (bounds.value, bounds.low, bounds.high)
    )
    summary = (
        f"On {days} day{'s' * (days != 1)} {question.words.format(value=value)} "
        f"(95 % interval {low} to {high}, valid at every look)"
    )
    if enough:
        better = "challenger" if question.better * (bounds.value or 0.0) > 0 else "champion"
        return f"{summary}: enough evidence, the {better} is better."
    smaller, count = min(learners.items(), key=lambda arm: arm[1])
    few = f"{count} of {FEWEST_LEARNERS} learners in the arm of the {smaller}"
    why = few if count < FEWEST_LEARNERS else "the difference may be zero"
    return f"{summary}: not enough evidence yet, {why}."
