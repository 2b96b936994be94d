"""A shifted world is the calm one until its moment, and another afterwards."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from sensei import curriculum, simulation
from sensei.simulation import Cohort, Shift
from sensei.simulation.calendar import DAY

END = datetime(2026, 11, 1, tzinfo=UTC)
TOPICS = curriculum.load_file().plain()
DAYS, STAY = 84, 28
MIDDLE = END - timedelta(days=DAYS // 2)
SHIFT = Shift(MIDDLE, ("Cloud and delivery",), appeal=3.0, harder=1.5)
POPULAR = [topic["topic_id"] for topic in TOPICS if topic["domain"] in SHIFT.domains]


def lived(shift: Shift | None = None) -> Cohort:
    cohort = Cohort(200, DAYS, 4, TOPICS, END, STAY, shift)
    while len(cohort.step(cohort.next_in_curriculum()).learner):
        pass
    return cohort


@pytest.fixture(scope="module")
def calm() -> Cohort:
    return lived()


@pytest.fixture(scope="module")
def shifted() -> Cohort:
    return lived(SHIFT)


def halves(world: Cohort) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Acts that ended before the shift, and those that began after it, give or take a day."""
    log = world.table().to_pandas()
    return log[log.timestamp < MIDDLE], log[log.timestamp > MIDDLE + timedelta(days=1)]


def test_until_its_moment_a_shifted_world_is_the_calm_one(calm: Cohort, shifted: Cohort) -> None:
    pd.testing.assert_frame_equal(halves(calm)[0], halves(shifted)[0])
    assert not calm.table().equals(shifted.table())


def test_a_shift_that_is_still_to_come_changes_nothing(calm: Cohort) -> None:
    later = Shift(END, SHIFT.domains, SHIFT.appeal, SHIFT.harder)
    assert lived(later).table().equals(calm.table())


def test_afterwards_its_domain_is_popular_and_scores_are_lower(
    calm: Cohort, shifted: Cohort
) -> None:
    (_, before), (_, after) = halves(calm), halves(shifted)
    shares = [half.topic_id.isin(POPULAR).mean() for half in (before, after)]
    assert shares[1] > 2 * shares[0]
    assert after.score.mean() < before.score.mean() - 0.1


def test_each_change_comes_alone_where_the_other_is_nothing(calm: Cohort) -> None:
    calm_log = halves(calm)[1]
    popular = halves(lived(Shift(MIDDLE, SHIFT.domains, 3.0, 0.0)))[1]
    harder = halves(lived(Shift(MIDDLE, SHIFT.domains, 0.0, 1.5)))[1]
    assert abs(popular.score.mean() - calm_log.score.mean()) < 0.05
    share = calm_log.topic_id.isin(POPULAR).mean()
    assert harder.topic_id.isin(POPULAR).mean() == pytest.approx(share, abs=0.03)


def test_nobody_meets_a_new_domain_before_its_moment() -> None:
    before, after = halves(lived(replace(SHIFT, new=True)))
    assert not before.topic_id.isin(POPULAR).any()
    assert after.topic_id.isin(POPULAR).mean() > 0.2


def test_the_truth_about_success_knows_the_shift(calm: Cohort, shifted: Cohort) -> None:
    asked = calm.user_ids[0], POPULAR[0], "medium"
    before, after = MIDDLE - timedelta(days=1), END
    truth = [simulation.success_probability(shifted, *asked, at) for at in (before, after)]
    assert truth[0] == simulation.success_probability(calm, *asked, before)
    assert truth[1] < truth[0]


def test_learners_who_stay_so_long_join_evenly_and_are_replaced(calm: Cohort) -> None:
    log = calm.table().to_pandas()
    seen = log.groupby("user_id").timestamp.agg(["min", "max"])
    assert (seen["max"] - seen["min"]).max() < timedelta(days=STAY + 1)
    start = END - timedelta(days=DAYS)
    active = [
        log[log.timestamp.between(start + timedelta(days=d), start + timedelta(days=d + 14))]
        for d in (28, 42, 56, 70)
    ]
    counts = np.array([part.user_id.nunique() for part in active])
    assert counts.min() > 0.7 * counts.max()
    assert np.ptp(calm.learners.joined) > 0.95 * DAYS * DAY


def test_an_unknown_domain_is_named_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"expected domains among .*Cloud and delivery.*got 'magic'"
    ):
        Cohort(1, 1, 0, TOPICS, END, shift=Shift(END, ("magic",), 1.0, 1.0))
