"""Guards on planted worlds: daily counts of years in which the truth is known."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitoring.alarms import DRIFT, QUALITY, SKEW, TRAINING, Alarm, guard_alarms, hold_back
from monitoring.guards import (
    EVENTS,
    FRESHNESS,
    MONITOR,
    NIGHTLY,
    GuardVerdict,
    judge_freshness,
    judge_refusals,
    judge_run,
    judge_volume,
    usual_gap,
)
from sensei.events.refusals import Refusals

MONDAY = 20_458  # 2026-01-05, as a UTC day since 1970
SHARE, SILENCE, RUN_AGE = 0.25, 2.0, 3.0
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def school(weeks: int, events: float = 400, seed: int = 0) -> dict[int, int]:
    """Weeks of five days with Poisson counts, from a Monday on; nothing at weekends."""
    rng = np.random.default_rng(seed)
    days = [MONDAY + 7 * week + day for week in range(weeks) for day in range(5)]
    return dict(zip(days, rng.poisson(events, len(days)).tolist(), strict=True))


def scaled(daily: dict[int, int], factor: float, first: int, last: int) -> dict[int, int]:
    """Multiply the counts of days in [first, last)."""
    return {
        day: round(count * factor) if first <= day < last else count
        for day, count in daily.items()
        if not (factor == 0 and first <= day < last)
    }


def fired(daily: dict[int, int], first: int, last: int) -> list[int]:
    """Return the days in [first, last) on which the volume guard fires, seen at their end."""
    return [
        day
        for day in range(first, last)
        if judge_volume({d: n for d, n in daily.items() if d <= day}, SHARE).fires
    ]


def day_of(week: int, weekday: int = 0) -> int:
    return MONDAY + 7 * week + weekday


@pytest.mark.parametrize("events", [10, 400, 50_000])
def test_a_feed_at_a_tenth_of_its_volume_is_reported_within_a_week(events):
    daily = scaled(school(16, events), 0.1, day_of(12), day_of(16))
    assert fired(daily, day_of(8), day_of(12)) == []
    days = fired(daily, day_of(12), day_of(16))
    assert days[0] <= day_of(12, 4)
    assert set(range(day_of(13), day_of(16))) <= set(days)


def test_the_sentence_has_the_share_and_the_days():
    verdict = judge_volume(scaled(school(12, 1000), 0.1, day_of(11), day_of(12)), SHARE)
    assert verdict.fires
    assert verdict.value == pytest.approx(0.1, abs=0.02)
    assert "3 days from 2026-03-24 to 2026-03-26, 10% of the" in verdict.sentence
    assert "check that the feed sends all events" in verdict.fix


@pytest.mark.parametrize("seed", range(20))
def test_weekends_without_events_are_usual(seed):
    assert fired(school(30, 40, seed), day_of(0), day_of(30)) == []


@pytest.mark.parametrize("weekends", [0, 10])
def test_a_weekend_of_few_events_is_usual_too(weekends):
    daily = school(20)
    for week in range(20):
        daily |= {day_of(week, 5): weekends, day_of(week, 6): weekends} if weekends else {}
    assert fired(daily, day_of(0), day_of(20)) == []


def test_ten_weeks_of_holidays_are_not_low_volume_and_the_return_is_not_either():
    daily = scaled(school(40), 0, day_of(15), day_of(25))
    assert fired(daily, day_of(0), day_of(40)) == []


def test_a_feed_that_returns_from_holidays_at_a_tenth_is_reported():
    daily = scaled(school(40), 0, day_of(15), day_of(25))
    daily = scaled(daily, 0.1, day_of(25), day_of(30))
    assert fired(daily, day_of(25), day_of(26)) == [
        day_of(25, 3),
        *range(day_of(25, 4), day_of(26)),
    ]


def test_public_holidays_of_two_days_are_not_low_volume():
    daily = scaled(school(20), 0.02, day_of(14), day_of(14, 2))
    assert fired(daily, day_of(0), day_of(20)) == []


def test_a_new_cohort_and_its_end_are_not_low_volume():
    daily = scaled(school(40), 3, day_of(15), day_of(40))
    assert fired(daily, day_of(0), day_of(40)) == []
    ended = scaled(school(40), 3, day_of(15), day_of(28))
    assert fired(ended, day_of(0), day_of(40)) == [], "a third is left"


def test_an_exam_week_does_not_raise_what_is_usual():
    daily = scaled(school(30), 4, day_of(14), day_of(15))
    assert fired(daily, day_of(0), day_of(30)) == []


def test_a_weekly_class_is_judged_by_its_day():
    daily = {day_of(week, 1): 200 for week in range(20)}
    assert fired(daily, day_of(0), day_of(20)) == []
    assert fired(daily | {day_of(18, 1): 20}, day_of(18), day_of(20)) == list(
        range(day_of(19, 1), day_of(20))
    ), "the newest day may be incomplete: it is judged when the next one has events"


@pytest.mark.parametrize(
    "daily", [{}, {MONDAY: 5_000}, school(4), school(12, 2), {MONDAY: 9, MONDAY + 300: 1}]
)
def test_a_log_that_is_short_or_small_is_not_judged(daily):
    verdict = judge_volume(daily, SHARE)
    assert (verdict.fires, verdict.value, verdict.fix) == (False, None, "")


def silent(daily: dict[int, int], last_day: int, days: float, received: float = 0) -> GuardVerdict:
    """Judge a log whose feed ended at noon of a day, some days later."""
    noon = datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=last_day)
    until = [day for day in daily if day <= last_day]
    arrived = noon + timedelta(days=received)
    return judge_freshness(noon, arrived, until, noon + timedelta(days=days), SILENCE)


def test_a_feed_that_ended_is_stale_after_its_usual_weekend_and_a_day():
    daily, friday = school(12), day_of(11, 4)
    assert not silent(daily, friday, 2.9).fires
    assert not silent(daily, friday, 3.9).fires
    dead = silent(daily, friday, 4.1)
    assert dead.fires
    assert "4 days old, expected at most 4 days" in dead.sentence
    assert silent(daily, friday, 400).fires, "however long ago"


def test_a_feed_without_weekends_is_stale_after_two_days():
    daily = dict.fromkeys(range(MONDAY, MONDAY + 90), 50)
    assert not silent(daily, MONDAY + 89, 1.9).fires
    assert silent(daily, MONDAY + 89, 2.1).fires


def test_weekends_new_cohorts_and_exam_weeks_are_fresh():
    for daily in (school(30), scaled(school(30), 3, day_of(15), day_of(30))):
        for day, following in zip(sorted(daily), sorted(daily)[1:], strict=False):
            assert not silent(daily, day, following - day).fires


def test_holidays_are_reported_while_they_last_and_do_not_change_what_is_usual():
    daily = scaled(school(40), 0, day_of(15), day_of(25))
    assert not silent(daily, day_of(14, 4), 3.9).fires
    assert silent(daily, day_of(14, 4), 30).fires
    assert usual_gap([day for day in daily if day <= day_of(25)]) == 3
    assert not silent(daily, day_of(25), 1).fires
    assert silent(daily, day_of(25, 4), 4.1).fires


def test_the_first_weekend_of_a_new_log_is_no_alarm_and_a_silent_week_is_one():
    assert not silent(school(1), day_of(0, 4), 3).fires
    assert silent(school(1), day_of(0, 4), 8.1).fires


def test_a_log_of_three_days_has_no_rhythm_to_judge_by():
    assert not silent(school(1), day_of(0, 2), 100).fires
    assert silent(school(1), day_of(0, 3), 100).fires


def test_a_class_that_meets_weekly_is_stale_after_eight_days():
    weekly = dict.fromkeys(range(MONDAY, MONDAY + 140, 7), 50)
    assert not silent(weekly, MONDAY + 133, 7.9).fires
    assert silent(weekly, MONDAY + 133, 8.1).fires


def test_an_archive_is_not_judged_and_an_empty_log_neither():
    assert not silent(school(12), day_of(11, 4), 400, received=31).fires
    assert silent(school(12), day_of(11, 4), 40, received=29).fires
    assert not judge_freshness(None, None, [], NOW, SILENCE).fires


def test_refusals_of_all_doors_count_together():
    assert judge_refusals(Refusals(stored=100, imported=900), 0.05).fires
    together = Refusals(stored=97, http=1, imported=2, excluded=3)
    assert together.share == pytest.approx(0.06)
    assert judge_refusals(together, 0.05).fires
    assert not judge_refusals(Refusals(stored=97, http=1, imported=2), 0.05).fires
    assert "3 of 100 rows (3.0%)" in Refusals(stored=97, http=1, imported=2).sentence()


def test_a_few_mistakes_and_an_empty_log_are_no_refused_feed():
    assert not judge_refusals(Refusals(stored=6, http=4), 0.05).fires
    assert judge_refusals(Refusals(stored=1, imported=9), 0.05).fires
    assert not judge_refusals(Refusals(), 0.05).fires


@pytest.mark.parametrize("deployment", [NIGHTLY, MONITOR])
def test_a_run_is_overdue_after_three_days_not_after_a_weekend(deployment):
    for days, fires in ((0.1, False), (2.6, False), (3.1, True), (22, True), (35, True)):
        verdict = judge_run(deployment, NOW - timedelta(days=days), None, NOW, RUN_AGE)
        assert verdict.fires is fires
        assert bool(verdict.fix) is fires
    assert "35 days ago, expected at most 3 days" in verdict.sentence


def test_a_run_that_never_was_is_expected_from_the_first_promotion_on():
    assert not judge_run(MONITOR, None, None, NOW, RUN_AGE).fires
    assert not judge_run(MONITOR, None, NOW - timedelta(days=1), NOW, RUN_AGE).fires
    never = judge_run(MONITOR, None, NOW - timedelta(days=4), NOW, RUN_AGE)
    assert never.fires
    assert "no good run since the first promotion 4 days ago" in never.sentence


def verdict(guard: str, *, fires: bool) -> GuardVerdict:
    return GuardVerdict(guard, fires, "something", 0.1, 0.25)


def test_no_guard_starts_a_training():
    alarms = guard_alarms([verdict(guard, fires=True) for guard in EVENTS])
    assert len(alarms) == len(EVENTS)
    assert TRAINING.isdisjoint(alarm.event for alarm in alarms)
    assert guard_alarms([verdict(guard, fires=False) for guard in EVENTS]) == []


@pytest.mark.parametrize("guard", list(EVENTS))
def test_drift_and_quality_are_held_back_while_events_are_missing(guard):
    raised = [Alarm(event, event, {}) for event in (DRIFT, QUALITY, SKEW)]
    assert hold_back(raised, [verdict(guard, fires=False)]) == (raised, [])
    given, held = hold_back(raised, [verdict(guard, fires=True)])
    if guard in (NIGHTLY, MONITOR):
        assert (given, held) == (raised, [])
    else:
        assert [alarm.event for alarm in given] == [SKEW]
        assert [alarm.event for alarm in held] == [DRIFT, QUALITY]
    assert FRESHNESS in EVENTS
