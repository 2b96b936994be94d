"""Parts never overlap in time or in learners, and say so where they cannot be made."""

import numpy as np
import pandas as pd
import pytest

from features.batch import Events, encode
from sensei.errors import InvalidInput, NotEnoughData
from training.data.splits import (
    CONTEXT,
    TEST,
    TRAIN,
    VALIDATE,
    split_by_column,
    split_by_learner,
    within,
)
from training.data.time_split import split_by_time


@pytest.fixture(scope="module")
def events(planted: pd.DataFrame) -> Events:
    return encode(planted)


def learners(events: Events, part: np.ndarray, name: int) -> set[int]:
    of_event = np.repeat(np.arange(len(events.user_ids)), np.diff(events.offsets))
    return set(of_event[part == name].tolist())


def test_learner_parts_share_no_learner(events: Events) -> None:
    part = split_by_learner(events).part
    parts = [learners(events, part, p) for p in (TRAIN, VALIDATE, TEST)]
    assert [len(p) for p in parts] == [29, 3, 8]
    assert len(set.union(*parts)) == 40


def test_learner_parts_do_not_depend_on_row_order(planted: pd.DataFrame, events: Events) -> None:
    shuffled = encode(planted.sample(frac=1, random_state=1))
    assert (split_by_learner(shuffled).part == split_by_learner(events).part).all()


def test_statistics_know_train_learners_only(events: Events) -> None:
    split = split_by_learner(events)
    assert (split.known == (split.part == TRAIN)).all()


def test_two_learners_cannot_be_split_by_learner(frame_of) -> None:
    with pytest.raises(NotEnoughData, match="user_id: expected three or more learners"):
        split_by_learner(encode(frame_of([[1, 2], [2, 1]])))


def test_column_parts_are_those_of_the_file_whatever_the_row_order(planted: pd.DataFrame) -> None:
    frame = planted.sample(frac=1, random_state=2).reset_index(drop=True)
    shuffled = encode(frame)
    values = np.where(frame["metadata"].str.contains("test"), "test", "train")
    part = split_by_column(shuffled, values).part
    expected = {i for i in range(40) if i % 4 == 0}
    assert learners(shuffled, part, TEST) == expected
    assert len(learners(shuffled, part, VALIDATE)) == 3
    assert not learners(shuffled, part, VALIDATE) & expected


def test_column_without_test_rows_is_refused(events: Events) -> None:
    with pytest.raises(InvalidInput, match="none for test"):
        split_by_column(events, ["train"] * len(events))


def test_a_column_with_its_own_validation_part_is_used(events: Events) -> None:
    values = np.array(["train", "validation", "test", "later"])[np.arange(len(events)) % 4]
    part = split_by_column(events, values).part
    assert (part[values[events.row] == "validation"] == VALIDATE).all()
    assert (part[values[events.row] == "later"] == CONTEXT).all()


def test_window_on_a_learner_split_keeps_the_parts_inside(events: Events) -> None:
    whole = split_by_learner(events)
    start, end = np.quantile(events.time, (0.2, 0.8)).astype(int)
    split = within(whole, events, start, end)
    inside = (events.time >= start) & (events.time < end)
    assert (split.part[inside] == whole.part[inside]).all()
    assert (split.part[~inside] == CONTEXT).all()
    assert not split.known[events.time >= end].any()


def test_response_events_are_never_targets(planted: pd.DataFrame) -> None:
    frame = planted.copy()
    frame.loc[frame.index % 5 == 0, "interaction_type"] = "feedback_recommendation"
    with_responses = encode(frame)
    for split in (split_by_time(with_responses), split_by_learner(with_responses)):
        assert (split.part[with_responses.kind == 6] == CONTEXT).all()
