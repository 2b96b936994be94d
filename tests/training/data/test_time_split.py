"""Parts by time follow each other, and of a fresh split no more is held out than it takes."""

import numpy as np
import pandas as pd
import pytest

from features.batch import Events, encode
from sensei.contracts import DAY
from sensei.errors import NotEnoughData
from training.data import time_split
from training.data.dataset import prepare_log
from training.data.splits import CONTEXT, TEST, TRAIN, VALIDATE, split_by_learner
from training.data.time_split import ENOUGH, FRESH_DAYS, by_time, of_attempts, split_by_time


@pytest.fixture(scope="module")
def events(planted: pd.DataFrame) -> Events:
    return encode(planted)


def test_time_parts_follow_each_other(events: Events) -> None:
    part = split_by_time(events).part
    assert events.time[part == TRAIN].max() < events.time[part == VALIDATE].min()
    assert events.time[part == VALIDATE].max() < events.time[part == TEST].min()


def test_time_split_tests_a_fifth(events: Events) -> None:
    part = split_by_time(events).part
    assert np.mean(part == TEST) == pytest.approx(0.2, abs=0.02)
    assert np.mean(part == VALIDATE) == pytest.approx(0.08, abs=0.02)


def test_window_bounds_targets_but_not_what_is_known(events: Events) -> None:
    start, end = np.quantile(events.time, (0.3, 0.9)).astype(int)
    split = split_by_time(events, start, end)
    assert (split.part[(events.time < start) | (events.time >= end)] == CONTEXT).all()
    assert split.known[events.time < start].all()
    assert not split.known[split.part > TRAIN].any()


def test_nothing_is_known_after_the_training_cutoff(events: Events) -> None:
    split = split_by_time(events)
    assert events.time[split.known].max() < events.time[split.part == VALIDATE].min()


def test_events_of_one_moment_cannot_be_split_by_time(frame_of) -> None:
    frame = frame_of([[1], [2], [3]])
    frame["timestamp"] = frame["timestamp"].iloc[0]
    with pytest.raises(NotEnoughData, match="timestamp: expected"):
        split_by_time(encode(frame))


def test_attempts_get_a_timeline_of_their_own(planted: pd.DataFrame) -> None:
    early = planted.sort_values("timestamp").copy()
    early.iloc[len(early) // 2 :, early.columns.get_loc("score")] = np.nan
    events = encode(early)
    rule = by_time((events,))
    split = rule(events)
    scored = ~np.isnan(events.score)
    assert not (scored & (split.part == TEST)).any()
    attempts = of_attempts((events,), rule)(events)
    again = of_attempts((events,), lambda _: split)(events)  # however the parts came about
    assert (again.part == attempts.part).all()
    assert np.mean(attempts.part[scored] == TEST) == pytest.approx(0.2, abs=0.05)
    assert (attempts.part[~scored] == CONTEXT).all()
    assert events.time[attempts.known].max() < events.time[attempts.part == VALIDATE].min()


def test_attempts_of_a_learner_stay_in_their_part(events: Events) -> None:
    split = split_by_learner(events)
    assert (of_attempts((events,), lambda _: split)(events).part == split.part).all()


def evenly(frame_of, count: int, days: float) -> Events:
    """One learner's quizzes, evenly over some days."""
    frame = frame_of([[1, 2] * (count // 2)], [[1.0, 0.0] * (count // 2)])
    seconds = np.linspace(0, days * 86_400, count)
    frame["timestamp"] = pd.to_datetime(seconds, unit="s", utc=True).astype("datetime64[us, UTC]")
    return encode(frame)


def days_of(events: Events, part: np.ndarray, name: int) -> float:
    times = events.time[part == name]
    return float(times.max() - times.min()) / DAY


def test_a_fresh_split_holds_out_the_last_days_only(frame_of) -> None:
    events = evenly(frame_of, 40_000, 90)
    rule = by_time((events,), fresh=True)
    for part in (rule(events).part, of_attempts((events,), rule)(events).part):
        for name in (VALIDATE, TEST):
            assert days_of(events, part, name) == pytest.approx(FRESH_DAYS, abs=0.1)
        assert days_of(events, part, TRAIN) == pytest.approx(90 - 2 * FRESH_DAYS, abs=0.2)


def test_where_the_last_days_hold_few_a_fresh_split_holds_out_enough(frame_of) -> None:
    events = evenly(frame_of, 10_000, 90)
    part = by_time((events,), fresh=True)(events).part
    assert np.sum(part == TEST) == ENOUGH
    assert np.sum(part == VALIDATE) == pytest.approx((10_000 - ENOUGH) * 0.1, abs=1)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_window_without_targets_says_what_is_missing(events: Events, fresh: bool) -> None:
    with pytest.raises(NotEnoughData, match="timestamp: expected"):
        by_time((events,), start=int(events.time.max()) + 1, fresh=fresh)


def test_attempts_before_the_window_only_make_no_difficulty_model(frame_of) -> None:
    frame = frame_of([[1, 2] * 50, [2, 1] * 50], [[1.0, 0.0] * 50, [0.0, 1.0] * 50])
    frame["timestamp"] = pd.to_datetime(
        np.tile(np.linspace(0, 60 * 86_400, 100), 2), unit="s", utc=True
    ).astype("datetime64[us, UTC]")
    late = frame["timestamp"] > frame["timestamp"].median()
    frame.loc[late, "interaction_type"] = "text_read"
    frame.loc[late, "score"] = np.nan
    events = encode(frame)
    start = int(np.median(events.time)) + 1
    prepared = prepare_log((events,), by_time((events,), start, fresh=True))
    assert prepared.attempts is None
    assert "fewer than three different times" in prepared.no_success


def test_in_a_long_log_a_time_represents_several_targets(frame_of, monkeypatch) -> None:
    halves = tuple(evenly(frame_of, 4_000, 90) for _ in range(2))
    monkeypatch.setattr(time_split, "SAMPLED_MOMENTS", 800)
    monkeypatch.setattr(time_split, "ENOUGH", 500)
    rule = by_time(halves, fresh=True)
    test_count = sum(int(np.sum(rule(events).part == TEST)) for events in halves)
    assert test_count == pytest.approx(500, abs=40)


def test_of_a_short_log_a_fresh_split_holds_out_the_usual_share(frame_of) -> None:
    events = evenly(frame_of, 2_000, 90)
    fresh, usual = (by_time((events,), fresh=is_fresh)(events) for is_fresh in (True, False))
    assert (fresh.part == usual.part).all()
