import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring.alarms import DRIFT, QUALITY, SKEW, Alarm, alarms, change
from monitoring.outcomes import MEASURED, SOURCE
from monitoring.skew import Skew


def period(arm: str, share: float, learners: int = 400, answers_each: int = 2) -> pd.DataFrame:
    """Answers to all learners, `answers_each` per learner; `share` is the accepted part of all."""
    count = learners * answers_each
    frame = pd.DataFrame(None, range(count), [*SOURCE, *MEASURED]).astype(
        dict.fromkeys(MEASURED, float)
    )
    accepted = np.random.default_rng(count + round(1000 * share)).permutation(count) < share * count
    return frame.assign(
        user_id=[f"{arm} {number % learners}" for number in range(count)],
        arm=arm,
        accepted=accepted.astype(float),
    )


def passed_difficulties(probability: float, learners: int = 400) -> pd.DataFrame:
    """Difficulties whose attempts were passed, by the predicted probability."""
    return period("champion", 0, learners).assign(
        accepted=float("nan"), probability=probability, passed=1.0
    )


def raised_alarms(
    current: list[pd.DataFrame], before: list[pd.DataFrame], **changes: Any
) -> list[Alarm]:
    arguments: dict[str, Any] = {
        "drift": None,
        "skew": None,
        "seed": 0,
        "drift_alarm": 0.2,
    } | changes
    return alarms(pd.concat(current), pd.concat(before), **arguments)


def test_acceptance_that_fell_clearly_is_degraded() -> None:
    (alarm,) = raised_alarms([period("champion", 0.2)], [period("champion", 0.5)])
    assert alarm.event == QUALITY
    assert "recommendation acceptance of the champion went from 0.500 to 0.200" in alarm.sentence
    assert alarm.numbers["lost"] == pytest.approx(0.3)
    json.dumps(alarm.numbers, allow_nan=False)


def test_acceptance_within_the_margin_or_higher_is_not_degraded() -> None:
    learners = 4000
    assert not raised_alarms([period("champion", 0.6)], [period("champion", 0.3)])
    assert not raised_alarms(
        [period("champion", 0.46, learners)], [period("champion", 0.5, learners)]
    )


def test_a_drop_within_chance_is_not_degraded() -> None:
    assert raised_alarms([period("champion", 0.3)], [period("champion", 0.5)])
    assert not raised_alarms([period("champion", 0.3, 100)], [period("champion", 0.5, 100)])


def test_few_learners_are_never_degraded() -> None:
    assert not raised_alarms([period("champion", 0.0, 99)], [period("champion", 0.9, 99)])
    assert not raised_alarms([period("champion", 0.0, 99)], [period("champion", 0.9, 400)])


def test_a_drop_shared_by_the_control_arm_is_not_degraded() -> None:
    before = [period("champion", 0.5), period("control", 0.4, 200)]
    assert not raised_alarms([period("champion", 0.2), period("control", 0.1, 200)], before)
    assert raised_alarms([period("champion", 0.2), period("control", 0.4, 200)], before)


def test_a_small_control_arm_does_not_suppress_the_alarm() -> None:
    before = [period("champion", 0.5), period("control", 0.5, 2)]
    assert raised_alarms([period("champion", 0.2), period("control", 0.25, 2)], before)


def test_a_few_better_control_learners_raise_no_alarm() -> None:
    before = [period("champion", 0.5), period("control", 0.2, 5, 4)]
    assert not raised_alarms([period("champion", 0.5), period("control", 0.9, 5, 4)], before)
    before_large = [period("champion", 0.5), period("control", 0.2, 200, 4)]
    assert raised_alarms([period("champion", 0.5), period("control", 0.9, 200, 4)], before_large)


def test_log_loss_that_rose_is_degraded() -> None:
    (alarm,) = raised_alarms([passed_difficulties(0.5)], [passed_difficulties(0.8)])
    assert (alarm.event, alarm.numbers["figure"]) == (QUALITY, "log_loss")
    assert not raised_alarms([passed_difficulties(0.8)], [passed_difficulties(0.5)])


def test_a_change_of_means_has_an_error_that_pairs_returning_learners() -> None:
    before = now = period("champion", 0.5)
    same = change(now, before, "recommendation_acceptance", 0)
    other_learners = change(
        now.assign(user_id="x" + now["user_id"]), before, "recommendation_acceptance", 0
    )
    assert same is not None
    assert other_learners is not None
    assert (same.value, same.standard_error) == (0, 0)  # everybody did the same as before
    assert other_learners.standard_error > 0.02
    no_answers = now.assign(accepted=float("nan"))
    assert change(no_answers, before, "recommendation_acceptance", 0) is None


def drift(score: float, small: bool = False) -> Any:
    columns = {"score": SimpleNamespace(drifted=True, value=0.4)}
    return SimpleNamespace(score=score, small=small, columns=columns)


def test_drift_at_the_threshold_is_an_alarm_except_in_small_windows() -> None:
    calm = [period("champion", 0.5)]
    assert [alarm.event for alarm in raised_alarms(calm, calm, drift=drift(0.2))] == [DRIFT]
    assert not raised_alarms(calm, calm, drift=drift(0.19))
    assert not raised_alarms(calm, calm, drift=drift(0.9, small=True))


def test_any_skew_is_an_alarm() -> None:
    calm = [period("champion", 0.5)]
    skewed = Skew(1000, 1, {"recommendation.mean_score": 1})
    (alarm,) = raised_alarms(calm, calm, skew=skewed)
    assert alarm.event == SKEW
    assert "1 of 1000" in alarm.sentence
    assert not raised_alarms(calm, calm, skew=Skew(1000, 0))
