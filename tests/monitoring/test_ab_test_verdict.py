import json
import math
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from monitoring.ab_test_verdict import ERROR, anytime, follow, trial_verdict
from monitoring.outcomes import MEASURED, SOURCE
from sensei.ab_test_state import AbTest
from sensei.contracts import DAY
from sensei.events.log import Log
from sensei.storage.tables import to_microseconds

Given = Callable[..., None]


def arm(name: str, share: float, learners: int, days: int = 4, **columns: str) -> pd.DataFrame:
    """One answer per learner and day; `share` is the accepted part of each day's answers."""
    rows = pd.MultiIndex.from_product([range(days), range(learners)]).to_frame(index=False)
    rows.columns = pd.Index(["day", "learner"])
    frame = pd.DataFrame(None, rows.index, [*SOURCE, *MEASURED])
    accepted = (rows["learner"] + 7 * rows["day"]) % learners < share * learners
    return frame.assign(
        user_id=name + rows["learner"].astype(str),
        arm=name,
        bundle=columns.get("bundle", name),
        kind="recommendation",
        day="2026-01-0" + (rows["day"] + 1).astype(str),
        time=rows["day"],
        accepted=accepted.astype(float),
    )


def test_a_clear_difference_among_many_learners_is_enough() -> None:
    verdict = trial_verdict(pd.concat([arm("challenger", 0.5, 400), arm("champion", 0.3, 400)]), 0)
    assert verdict.enough
    assert verdict.difference is not None
    assert verdict.difference.value == pytest.approx(0.2)
    assert verdict.difference.low > 0  # type: ignore[operator]
    assert (verdict.days, verdict.learners) == (4, {"challenger": 400, "champion": 400})
    assert verdict.sentence.endswith("enough evidence, the challenger is better.")


def test_a_worse_challenger_is_reported() -> None:
    verdict = trial_verdict(pd.concat([arm("challenger", 0.2, 400), arm("champion", 0.5, 400)]), 0)
    assert verdict.enough
    assert verdict.sentence.endswith("enough evidence, the champion is better.")


def test_no_difference_is_never_enough() -> None:
    verdict = trial_verdict(pd.concat([arm("challenger", 0.3, 400), arm("champion", 0.3, 400)]), 0)
    assert not verdict.enough
    assert "not enough evidence yet" in verdict.sentence


def test_difficulty_models_are_compared_by_log_loss_of_success() -> None:
    def difficulty_arm(name: str, probability: float) -> pd.DataFrame:
        constants = {"accepted": np.nan, "passed": 1.0}
        return arm(name, 0.5, 400).assign(probability=probability, **constants)

    outcomes = pd.concat([difficulty_arm("challenger", 0.8), difficulty_arm("champion", 0.5)])
    verdict = trial_verdict(outcomes, 0, "difficulty")
    assert verdict.difference is not None
    assert verdict.difference.value == pytest.approx(math.log(0.5 / 0.8))
    assert verdict.sentence.endswith("enough evidence, the challenger is better.")
    assert trial_verdict(outcomes, 0).difference is None


def test_a_running_test_is_evaluated_from_its_start(log: Log, answered: Given, did: Given) -> None:
    for minute in (-100, 0):
        for name in ("challenger", "champion"):
            answered(name, minute, [12], arm=name)
        did("challenger", minute + 5, 12)
        did("challenger", minute + 6, 13)
    began = "2026-01-05T12:00:00+00:00"
    trial = AbTest("b" * 64, 0.1, "recommendation", "4", "3", since=began)
    end, hour = to_microseconds(datetime.fromisoformat(began)) + DAY, DAY // 24
    report = follow(log.engine, trial, end, hour, seed=0)
    json.dumps(report, allow_nan=False)
    assert (report["enough"], report["days"]) == (False, 1)
    assert report["difference"]["n"] == 2
    assert "not enough evidence yet, 1 of 100 learners" in report["said"]


def test_few_learners_are_never_enough() -> None:
    verdict = trial_verdict(pd.concat([arm("challenger", 0.9, 99), arm("champion", 0.1, 400)]), 0)
    assert not verdict.enough
    assert "99 of 100 learners in the arm of the challenger" in verdict.sentence


def test_days_with_one_arm_only_do_not_count() -> None:
    challenger = arm("challenger", 0.9, 400, days=1)
    other_day = challenger.assign(day="2026-02-01")
    assert trial_verdict(pd.concat([other_day, arm("champion", 0.1, 400)]), 0).difference is None
    verdict = trial_verdict(pd.concat([challenger, arm("champion", 0.1, 400)]), 0)
    assert verdict.days == 1


def test_outcomes_of_an_earlier_challenger_do_not_count() -> None:
    earlier = arm("challenger", 1.0, 400, bundle="old").assign(time=-1)
    now = [arm("challenger", 0.3, 400), arm("champion", 0.3, 400)]
    verdict = trial_verdict(pd.concat([earlier, *now]), 0)
    assert verdict.difference is not None
    assert verdict.difference.value == pytest.approx(0)


def test_an_arm_without_outcomes_is_no_evidence() -> None:
    verdict = trial_verdict(arm("champion", 0.3, 5), 0)
    assert (verdict.enough, verdict.difference, verdict.days) == (False, None, 0)


def test_a_thousand_looks_keep_the_false_positive_rate_within_the_error() -> None:
    """Brownian motions without drift, seen at information 100 to 100,000."""
    information = np.geomspace(100, 100_000, 1000)
    steps = np.random.default_rng(0).normal(size=(4000, 1000))
    steps *= np.sqrt(np.diff(information, prepend=0))
    estimate = np.cumsum(steps, axis=1) / information
    bound = np.array([anytime(value**-0.5) for value in information])
    claimed = (np.abs(estimate) > bound).any(axis=1).mean()
    assert 0.001 < claimed <= ERROR
    peeking = (np.abs(estimate) > 1.96 * information**-0.5).any(axis=1).mean()
    assert peeking > 0.3  # what the interval of one look would claim


def test_the_anytime_bound_is_a_little_wider_than_that_of_one_look() -> None:
    ratios = [anytime(se) / se for se in (0.05, 0.02, 0.01, 0.005)]
    assert all(1.96 < ratio < 5 for ratio in ratios)
    assert min(ratios) == pytest.approx(ratios[2], rel=0.02)
    assert (anytime(0.0), anytime(math.inf)) == (0.0, math.inf)
