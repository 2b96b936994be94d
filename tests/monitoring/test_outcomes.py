"""Outcomes worked by hand: times are minutes after noon, the horizon is an hour."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring.outcomes import MEASURED, join
from sensei.contracts import KINDS, LEARNING_KINDS
from sensei.events.log import Log
from sensei.events.merging import merge_learners

Given = Callable[..., None]
Read = Callable[..., pd.DataFrame]
DIFFICULTY_ANSWER = {"difficulty": "medium", "levels": [0.9, 0.7, 0.4]}


def attempt(score: float, level: str | None = "hard") -> dict[str, Any]:
    metadata = {"metadata": {"difficulty": level}} if level else {}
    return {"interaction_type": "quiz_complete", "score": score} | metadata


def test_accepted_is_a_turn_to_a_shown_topic_other_than_the_last(
    answered: Given, did: Given, outcomes: Read
) -> None:
    for learner, topic in {"taker": 12, "stayer": 11, "other": 19}.items():
        did(learner, -500, 11)
        answered(learner, 0, [11, 12, 13])
        did(learner, 10, topic)
    frame = outcomes()
    assert frame["accepted"].to_dict() == {"taker 0": 1, "stayer 0": 0, "other 0": 0}
    assert frame["hit"].to_dict() == pytest.approx(
        {"taker 0": 1, "stayer 0": np.nan, "other 0": 0}, nan_ok=True
    )


def test_the_last_topic_may_be_old(answered: Given, did: Given, outcomes: Read) -> None:
    did("ann", -900, 12)
    did("ann", -500, 11, interaction_type="recommendation_accepted")  # not a topic they turned to
    answered("ann", 0, [11, 12])
    did("bob", -900, 11)
    did("bob", -500, 12)
    answered("bob", 0, [11, 12])
    did("ann", 10, 12)
    did("bob", 10, 11)
    assert outcomes()["accepted"].to_dict() == {"ann 0": 0, "bob 0": 1}


def test_a_row_names_learner_arm_model_and_day(answered: Given, outcomes: Read) -> None:
    answered("ann", 0, [11, 12], arm="control", model="most_popular", version=None)
    row = outcomes().loc["ann 0"]
    assert (row["user_id"], row["arm"], row["model"], row["day"]) == (
        *("ann", "control", "most_popular"),
        "2026-01-05",
    )
    assert pd.isna(row["version"])
    assert pd.isna(row["fallback"])
    assert row["shown"] == (11, 12)


def test_a_learner_merged_across_arms_is_left_out_and_one_within_an_arm_is_whole(
    log: Log, answered: Given, did: Given, outcomes: Read
) -> None:
    for name in ("crossed", "crossed-old", "same", "same-old", "alone"):
        answered(name, 0, [12], arm="challenger" if name == "crossed-old" else "champion")
        did(name, 10, 12)
    merge_learners(log.engine, "crossed-old", "crossed")
    merge_learners(log.engine, "same-old", "same")
    frame = outcomes()
    assert set(frame["user_id"]) == {"same", "alone"}
    assert frame["accepted"].eq(1).all(), "events of the former id follow its answers"


def test_an_event_before_the_answer_or_after_the_horizon_accepts_nothing(
    answered: Given, did: Given, outcomes: Read
) -> None:
    answered("ann", 0, [12])
    did("ann", 0, 12)  # at the very moment: it is what came before
    did("ann", 60, 12)  # the horizon is half-open
    assert outcomes().loc["ann 0", "accepted"] == 0


def test_an_answer_is_open_until_its_horizon_ends(
    answered: Given, did: Given, outcomes: Read
) -> None:
    answered("ann", 0, [12])
    did("ann", 10, 12)
    before_end, after_end = outcomes(end=59.99).loc["ann 0"], outcomes(end=60).loc["ann 0"]
    assert before_end["open"]
    assert before_end[list(MEASURED)].isna().all()
    assert not after_end["open"]
    assert after_end["accepted"] == 1


def test_the_same_list_shown_again_before_acting_is_one_impression(
    answered: Given, did: Given, outcomes: Read
) -> None:
    for minute in (-10, 20, 59, 61):
        answered("ann", minute, [12, 13])
    answered("ann", 30, [13, 12])
    answered("bob", 20, [12, 13])
    did("ann", 65, 12)
    answered("ann", 66, [12, 13])
    frame = outcomes(start=-20)
    # 20 repeats -10; 59 is an hour after it; 61 repeats 59; after acting all begins again
    assert sorted(frame.index) == ["ann -10", "ann 30", "ann 59", "ann 66", "bob 20"]
    assert frame.loc["ann -10", "accepted"] == 0
    assert frame.loc["ann 59", "accepted"] == 1


def test_a_repeat_of_an_answer_before_the_window_is_not_counted_in_it(
    answered: Given, outcomes: Read
) -> None:
    answered("ann", -5, [12])
    answered("ann", 5, [12])
    assert len(outcomes(start=0)) == 0


def test_a_hit_is_the_next_new_topic_among_the_first_k(
    answered: Given, did: Given, outcomes: Read
) -> None:
    did("ann", -3, 11)
    answered("ann", 0, [14, 13, 12])
    did("ann", 5, 11)  # goes on with the last topic first
    did("ann", 10, 12)
    did("ann", 15, 14)
    assert outcomes(k=3).loc["ann 0", "hit"] == 1
    assert outcomes(k=2).loc["ann 0", "hit"] == 0


def test_a_quarantined_event_is_not_an_outcome(
    answered: Given, did: Given, outcomes: Read, log: Log
) -> None:
    answered("ann", 0, [12])
    did("ann", 10, 12)
    log.quarantine_interactions({log.last_id(): "planted"}, "planted")
    assert outcomes().loc["ann 0", "accepted"] == 0


def test_feedback_counts_for_the_named_answer_or_the_last_that_showed_the_topic(
    answered: Given, did: Given, outcomes: Read
) -> None:
    answered("ann", 0, [12, 13])
    answered("ann", 1, [12, 14])
    answered("ann", 2, [12, 14])  # a repeat: its feedback counts for the first
    feedback = {"interaction_type": "feedback_recommendation"}
    did("ann", 3, 13, **feedback, metadata={"rating": 5, "helpful": True})
    did("ann", 4, 12, **feedback, metadata={"rating": 1, "prediction_id": "ann 0"})
    did("ann", 5, 12, **feedback, metadata={"rating": 2, "helpful": False})
    did("ann", 6, 14, interaction_type="recommendation_accepted")
    did("bob", 7, 12, **feedback, metadata={"rating": 5, "prediction_id": "ann 0"})
    did("ann", 70, 12, **feedback, metadata={"rating": 5, "prediction_id": "ann 1"})
    frame = outcomes()
    assert frame["rating"].to_dict() == {"ann 0": 3, "ann 1": 2}
    assert frame["helpful"].to_dict() == {"ann 0": 1, "ann 1": 0}
    assert frame["told"].to_dict() == {"ann 0": 0, "ann 1": 1}


def test_a_difficulty_is_evaluated_by_the_next_attempt_at_its_level(
    answered: Given, did: Given, outcomes: Read
) -> None:
    answered("ann", 0, DIFFICULTY_ANSWER, topic_id=12)
    did("ann", 5, 13, **attempt(0.9))
    did("ann", 10, 12, **attempt(0.6, "hard"))
    answered("ann", 11, DIFFICULTY_ANSWER, topic_id=12)
    did("ann", 20, 12, **attempt(0.59, "easy"))
    answered("ann", 21, DIFFICULTY_ANSWER, topic_id=12)
    did("ann", 30, 12, **attempt(1.0, None))  # nobody knows at which level
    answered("ann", 31, "easy", topic_id=12, fallback="no_model", version=None)
    did("ann", 40, 12, **attempt(1.0))
    frame = outcomes()[["probability", "passed"]]
    assert frame.loc["ann 0"].tolist() == [0.4, 1]
    assert frame.loc["ann 11"].tolist() == [0.9, 0]
    assert frame.loc[["ann 21", "ann 31"]].isna().all(axis=None)


def test_a_difficulty_requested_again_before_the_attempt_counts_once(
    answered: Given, did: Given, outcomes: Read
) -> None:
    answered("ann", 0, DIFFICULTY_ANSWER, topic_id=12)
    answered("ann", 1, DIFFICULTY_ANSWER | {"levels": [0.8, 0.6, 0.3]}, topic_id=12)
    answered("ann", 2, DIFFICULTY_ANSWER, topic_id=13)
    did("ann", 5, 12, **attempt(0.6))
    frame = outcomes()
    assert sorted(frame.index) == ["ann 0", "ann 2"]
    assert frame.loc["ann 0", "probability"] == 0.4


def test_no_answers_give_an_empty_frame(did: Given, outcomes: Read) -> None:
    did("ann", 0, 12)
    frame = outcomes()
    assert len(frame) == 0
    assert {"accepted", "shown", "open", "catalogue"} <= set(frame)


def test_joining_in_parts_equals_joining_at_once(
    answered: Given, did: Given, outcomes: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    for learner in ("ann", "bob", "eve"):
        answered(learner, 0, [12])
        answered(learner, 100, DIFFICULTY_ANSWER, topic_id=12)
    did("bob", 10, 12)
    did("eve", 110, 12, **attempt(0.9))
    expected = outcomes()
    monkeypatch.setattr("monitoring.outcomes.MOST_ANSWERS", 1)
    pd.testing.assert_frame_equal(outcomes(), expected)
    assert expected["accepted"].sum() == expected["passed"].sum() == 1


# Properties, on frames as the log gives them: learners at random, each a case of its own

LEARNERS, HORIZON, END = 60, 60, 300
ANSWERS = ("[1,2]", "[2,1]", "[3]", '{"levels": [0.9, 0.5, 0.2]}', "[]")


def at_random(seed: int) -> tuple[list[Any], list[Any]]:
    """Answers (learner, time, answer) and events (learner, time, topic, kind, score)."""
    random = Random(seed)
    answers = [
        (random.randrange(LEARNERS), random.randrange(END), random.choice(ANSWERS))
        for _ in range(5 * LEARNERS)
    ]
    events = [
        (
            *(random.randrange(LEARNERS), random.randrange(-50, END), random.randint(1, 3)),
            *(random.choice(KINDS), random.choice((0.2, 0.8))),
        )
        for _ in range(6 * LEARNERS)
    ]
    return answers, events


def as_answers(rows: list[tuple[int, int, str]]) -> pd.DataFrame:
    rows = sorted(set(rows), key=lambda row: (row[1], row[0], row[2]))
    texts = {
        "user_id": [str(learner) for learner, _, _ in rows],
        "kind": ["difficulty" if "levels" in a else "recommendation" for _, _, a in rows],
        "answer": [answer for _, _, answer in rows],
        **dict.fromkeys(("model", "version", "bundle", "arm", "fallback"), ["x"] * len(rows)),
    }
    columns = {name: pd.Categorical(values) for name, values in texts.items()}
    columns["user_id"] = pd.Categorical(
        texts["user_id"], [str(number) for number in range(LEARNERS)]
    )
    return pd.DataFrame(
        {
            "prediction_id": [f"{learner}/{time}/{a}" for learner, time, a in rows],
            **columns,
            "topic_id": np.ones(len(rows), np.int64),
            "time": np.array([time for _, time, _ in rows], np.int64),
        }
    )


def as_events(rows: list[tuple[int, int, int, str, float]]) -> pd.DataFrame:
    rows = sorted(rows, key=lambda row: row[1])
    learner, time, topic, kind, score = zip(*rows, strict=True) if rows else ([],) * 5
    return pd.DataFrame(
        {
            "learner": np.array(learner, np.int64),
            "kind": np.array([KINDS.index(name) for name in kind], np.int8),
            "topic": np.array(topic, np.int64),
            "score": np.array(score, np.float64),
            "level": np.ones(len(rows), np.int8),
            "time": np.array(time, np.int64),
            "metadata": ['{"rating": 4}' if "feedback" in name else None for name in kind],
        }
    )


def joined_outcomes(answers: list[Any], events: list[Any], end: int = END) -> pd.DataFrame:
    return join(as_answers(answers), as_events(events), end, HORIZON, 2)


@pytest.mark.parametrize("seed", range(3))
def test_events_after_the_horizon_change_nothing(seed: int) -> None:
    answers, events = at_random(seed)
    last = max(time for _, time, _ in answers)
    later = [(learner, last + HORIZON, 2, "quiz_complete", 0.8) for learner in range(LEARNERS)]
    pd.testing.assert_frame_equal(
        joined_outcomes(answers, events + later), joined_outcomes(answers, events)
    )


def test_events_of_other_learners_do_not_matter() -> None:
    answers, events = at_random(3)
    all_learners = joined_outcomes(answers, events)
    for learner in range(5):
        only_learner = joined_outcomes(
            [a for a in answers if a[0] == learner], [e for e in events if e[0] == learner]
        )
        same_learner = all_learners[all_learners["user_id"] == str(learner)].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            same_learner[[*MEASURED, "open"]], only_learner[[*MEASURED, "open"]]
        )


@pytest.mark.parametrize("seed", range(3))
def test_outcomes_agree_with_a_plain_loop(seed: int) -> None:
    answers, events = at_random(seed)
    frame = joined_outcomes(answers, events).set_index("prediction_id")
    learning = sorted((e for e in events if e[3] in LEARNING_KINDS), key=lambda e: e[1])
    for name, row in frame.iterrows():
        learner, time, shown = int(row["user_id"]), row["time"], row["shown"]
        if row["kind"] == "difficulty" or row["open"] or not shown:
            assert np.isnan(row["accepted"]), name
            continue
        own_events = [e for e in learning if e[0] == learner]
        last = next((e[2] for e in reversed(own_events) if e[1] <= time), None)
        after = [e[2] for e in own_events if time < e[1] < time + HORIZON and e[2] != last]
        assert row["accepted"] == any(topic in shown for topic in after)
        hit = float(after[0] in shown[:2]) if after else np.nan
        assert row["hit"] == pytest.approx(hit, nan_ok=True)
