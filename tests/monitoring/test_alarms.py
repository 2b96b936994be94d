import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring.alarms import DRIFT, QUALITY, SKEW, Alarm, alarms, change
from monitoring.outcomes import MEASURED, SOURCE
from monitoring.skew import Skew


def period(arm: str, share: float, learners: int = 400, each: int = 2) -> pd.DataFrame:
    """Answers to all learners, `each` per learner; `share` is the accepted part of all answers."""
    count = learners * each
    frame = pd.DataFrame(None, range(count), [*SOURCE, *MEASURED]).astype(
        dict.fromkeys(MEASURED, float)
    )
    accepted = np.random.default_rng(count + round(1000 * share)).permutation(count) < share * count
    return frame.assign(
        user_id=[f"{arm} {place % learners}" for place in range(count)],
        arm=arm,
        accepted=accepted.astype(float),
    )


def judged(probability: float, learners: int = 400) -> pd.DataFrame:
    """Difficulties whose attempts were passed, by what had been said of them."""
    return period("champion", 0, learners).assign(
        accepted=float("nan"), probability=probability, passed=1.0
    )


def found(current: list[pd.DataFrame], before: list[pd.DataFrame], **other: Any) -> list[Alarm]:
    given: dict[str, Any] = {"drift": None, "skew": None, "seed": 0, "drift_alarm": 0.2} | other
    return alarms(pd.concat(current), pd.concat(before), **given)


def test_acceptance_that_fell_clearly_is_degraded() -> None:
    (alarm,) = found([period("champion", 0.2)], [period("champion", 0.5)])
    assert alarm.event == QUALITY
    assert "recommendation acceptance of the champion went from 0.500 to 0.200" in alarm.sentence
    assert alarm.numbers["lost"] == pytest.approx(0.3)
    json.dumps(alarm.numbers, allow_nan=False)


def test_acceptance_that_rose_or_fell_within_the_margin_is_not() -> None:
    many = 4000
    assert not found([period("champion", 0.6)], [period("champion", 0.3)])
    assert not found([period("champion", 0.46, many)], [period("champion", 0.5, many)])


def test_a_fall_that_chance_explains_is_not_degraded() -> None:
    assert found([period("champion", 0.3)], [period("champion", 0.5)])
    assert not found([period("champion", 0.3, 100)], [period("champion", 0.5, 100)])


def test_few_learners_are_never_degraded() -> None:
    assert not found([period("champion", 0.0, 99)], [period("champion", 0.9, 99)])
    assert not found([period("champion", 0.0, 99)], [period("champion", 0.9, 400)])


def test_what_the_control_arm_lost_too_is_not_the_models_fault() -> None:
    before = [period("champion", 0.5), period("control", 0.4, 200)]
    assert not found([period("champion", 0.2), period("control", 0.1, 200)], before)
    assert found([period("champion", 0.2), period("control", 0.4, 200)], before)


def test_a_control_arm_too_small_to_say_excuses_nothing() -> None:
    before = [period("champion", 0.5), period("control", 0.5, 2)]
    assert found([period("champion", 0.2), period("control", 0.25, 2)], before)


def test_a_handful_of_controls_who_do_better_blames_nobody() -> None:
    before = [period("champion", 0.5), period("control", 0.2, 5, 4)]
    assert not found([period("champion", 0.5), period("control", 0.9, 5, 4)], before)
    many = [period("champion", 0.5), period("control", 0.2, 200, 4)]
    assert found([period("champion", 0.5), period("control", 0.9, 200, 4)], many)


def test_log_loss_that_rose_is_degraded() -> None:
    (alarm,) = found([judged(0.5)], [judged(0.8)])
    assert (alarm.event, alarm.numbers["figure"]) == (QUALITY, "log_loss")
    assert not found([judged(0.8)], [judged(0.5)])


def test_a_change_is_between_means_and_its_error_knows_that_learners_return() -> None:
    before = now = period("champion", 0.5)
    same = change(now, before, "recommendation_acceptance", 0)
    others = change(
        now.assign(user_id="x" + now["user_id"]), before, "recommendation_acceptance", 0
    )
    assert same is not None
    assert others is not None
    assert (same.value, same.standard_error) == (0, 0)  # everybody did the same as before
    assert others.standard_error > 0.02
    nothing = now.assign(accepted=float("nan"))
    assert change(nothing, before, "recommendation_acceptance", 0) is None


def drift(score: float, small: bool = False) -> Any:
    columns = {"score": SimpleNamespace(drifted=True, value=0.4)}
    return SimpleNamespace(score=score, small=small, columns=columns)


def test_drift_from_the_threshold_on_is_an_alarm_but_not_of_small_windows() -> None:
    calm = [period("champion", 0.5)]
    assert [each.event for each in found(calm, calm, drift=drift(0.2))] == [DRIFT]
    assert not found(calm, calm, drift=drift(0.19))
    assert not found(calm, calm, drift=drift(0.9, small=True))


def test_any_skew_is_an_alarm() -> None:
    calm = [period("champion", 0.5)]
    skewed = Skew(1000, 1, {"recommendation.mean_score": 1})
    (alarm,) = found(calm, calm, skew=skewed)
    assert alarm.event == SKEW
    assert "1 of 1000" in alarm.sentence
    assert not found(calm, calm, skew=Skew(1000, 0))
