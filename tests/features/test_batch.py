"""Properties of the fold: each holds for any log that hypothesis can think of."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import batch
from features.batch import Events, encode, examples
from features.corpus.statistics import fit
from features.history import History
from features.learner_state import LEARNING
from sensei.contracts import DIFFICULTY_INPUTS, KINDS, LEVELS, RECOMMENDATION_INPUTS

SCORES = st.sampled_from([None, 0.0, 0.3, 0.6, 0.7, 0.85, 1.0])
ROW = st.tuples(
    st.sampled_from(["ann", "bob", "émile", "李"]),
    st.sampled_from(KINDS),
    st.sampled_from([-7, 0, 3, 2**52]),
    SCORES,
    st.sampled_from([None, 0.0, 2.5, 400_000.0]),
    st.integers(0, 300_000),
    st.sampled_from([None, "item 1", "item 2", "item 3"]),
    st.sampled_from([None, None, *LEVELS]),
)
LOGS = st.lists(ROW, min_size=1, max_size=60)
LOGS_IN_TIES = st.lists(
    st.tuples(*[ROW.map(lambda row, column=column: row[column]) for column in range(5)],
              st.integers(0, 3), st.none(), st.none()),
    min_size=1, max_size=60,
)  # fmt: skip
VALUES = ("recommendation", "difficulty", "level", "passed", "previous", "target", "last_topic_id")


def every_event(events: Events) -> np.ndarray:
    return np.ones(len(events), bool)


def replayed(events: Events, index: int) -> History:
    """The history of an event's learner up to just before the event, by serving's code."""
    start = events.offsets[np.searchsorted(events.offsets, index, side="right") - 1]
    return History.of(
        (
            KINDS[events.kind[position]],
            int(events.topic_ids[events.topic[position]]),
            None if math.isnan(events.score[position]) else float(events.score[position]),
            None if math.isnan(events.duration[position]) else float(events.duration[position]),
            int(events.time[position]),
        )
        for position in range(start, index)
    )


@settings(deadline=None)
@given(LOGS | LOGS_IN_TIES, st.integers(0, 60))
def test_batch_row_equals_the_row_replayed_by_serving(make_frame, rows, counted):
    events = encode(make_frame(rows))
    statistics = fit(events, np.arange(len(events)) < counted)
    rows = examples(events, statistics, every_event(events))
    for row, index in enumerate(rows.event):
        history = replayed(events, index)
        duration = events.duration[index]
        now = events.time[index] - (1e6 * duration if duration > 0 else 0)
        topic = int(events.topic_ids[events.topic[index]])
        np.testing.assert_array_equal(
            rows.recommendation[row], history.recommendation_inputs(now, statistics)
        )
        np.testing.assert_allclose(
            rows.difficulty[row],
            history.difficulty_inputs(topic, now, statistics),
            rtol=1e-6,
            atol=1e-6,
        )
        assert rows.previous[row] == history.events
        assert rows.last_topic_id[row] == (history.last_topic_id if history.events else -1)


@settings(deadline=None)
@given(LOGS | LOGS_IN_TIES, st.randoms(use_true_random=False))
def test_row_order_does_not_change_the_encoding_if_ties_stay_in_order(make_frame, rows, random):
    frame = make_frame(rows)
    order = list(range(len(frame)))
    random.shuffle(order)
    rows_of_tie: dict[tuple, list[int]] = {}
    for row in sorted(order, reverse=True):
        rows_of_tie.setdefault((rows[row][0], rows[row][5]), []).append(row)
    order = [rows_of_tie[rows[row][0], rows[row][5]].pop() for row in order]
    in_order, shuffled = encode(frame), encode(frame.iloc[order])
    for field in dataclasses.fields(Events):
        if field.name != "row":
            np.testing.assert_array_equal(
                getattr(in_order, field.name), getattr(shuffled, field.name)
            )
    assert frame["event_id"].iloc[in_order.row].tolist() == (
        frame["event_id"].iloc[order].iloc[shuffled.row].tolist()
    )


def assert_prefix_equals_prefix(frame: pd.DataFrame, count: int, featurise) -> None:
    """Inputs of the first `count` events are the same with and without the later ones."""
    in_time = frame.sort_values("timestamp", kind="stable").reset_index(drop=True)
    events, prefix = encode(in_time), encode(in_time.iloc[:count])
    statistics = fit(events, every_event(events))
    full = featurise(events, statistics, every_event(events))
    prefix_rows = featurise(prefix, statistics, every_event(prefix))
    in_prefix = np.flatnonzero(events.row[full.event] < count)
    np.testing.assert_array_equal(events.row[full.event[in_prefix]], prefix.row[prefix_rows.event])
    for name in VALUES:
        np.testing.assert_array_equal(getattr(full, name)[in_prefix], getattr(prefix_rows, name))


@settings(deadline=None)
@given(LOGS | LOGS_IN_TIES, st.integers(1, 60))
def test_prefix_of_the_log_has_the_prefix_of_the_inputs(make_frame, rows, count):
    assert_prefix_equals_prefix(make_frame(rows), min(count, len(rows)), examples)


LEAKY_LOG = [
    ("ann", "quiz_complete", 3, score, None, second, None, None)
    for second, score in enumerate([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
]


def test_a_fold_that_reads_the_target_itself_is_caught(make_frame, monkeypatch):
    def one_event_early(columns, offsets, slots, counts, wanted, space, rows):
        # Each event carries the next one's score: what the fold takes for past is future.
        later = columns._replace(score=np.append(columns.score[1:], 0.5))
        batch.fold(later, offsets, slots, counts, wanted, space, rows)

    assert_prefix_equals_prefix(make_frame(LEAKY_LOG), 4, examples)
    monkeypatch.setattr(batch, "compiled", lambda _: one_event_early)
    with pytest.raises(AssertionError):
        assert_prefix_equals_prefix(make_frame(LEAKY_LOG), 4, examples)


@settings(deadline=None, max_examples=20)
@given(LOGS)
def test_compiled_fold_equals_the_same_lines_in_plain_python(make_frame, rows):
    events = encode(make_frame(rows))
    statistics = fit(events, every_event(events))
    compiled = examples(events, statistics, every_event(events))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "compiled", lambda function: function)
        plain = examples(events, statistics, every_event(events))
    for name in VALUES:
        np.testing.assert_array_equal(getattr(compiled, name), getattr(plain, name))


@settings(deadline=None)
@given(LOGS)
def test_inputs_stay_in_the_contracts_ranges(make_frame, rows):
    events = encode(make_frame(rows))
    rows = examples(events, fit(events, every_event(events)), every_event(events))
    for inputs, values in (
        (RECOMMENDATION_INPUTS, rows.recommendation),
        (DIFFICULTY_INPUTS, rows.difficulty),
    ):
        for column, input_spec in enumerate(inputs):
            assert input_spec.low <= values[:, column].min(initial=input_spec.low), input_spec.name
            assert values[:, column].max(initial=input_spec.high) <= input_spec.high, (
                input_spec.name
            )


def test_only_learning_events_become_examples(make_frame):
    events = encode(make_frame([("ann", kind, 3, 0.5, None, 1, None, None) for kind in KINDS]))
    rows = examples(events, fit(events, every_event(events)), every_event(events))
    assert sorted(events.kind[rows.event]) == list(range(LEARNING))


def test_level_is_the_tertile_of_the_items_failure_rate(make_frame):
    rows = []
    for item, passes in (("hard", 1), ("medium", 5), ("easy", 9)):
        rows += [
            (f"learner {n}", "quiz_complete", 3, float(n < passes), None, n, item, None)
            for n in range(10)
        ]
    rows += [("new", "quiz_complete", 3, 1.0, None, 99, item, None) for item in
             ("hard", "medium", "easy", "unseen")]  # fmt: skip
    rows += [("new", "quiz_complete", 3, 1.0, None, 99, "easy", "hard")]
    rows += [("new", "text_read", 3, None, None, 99, None, None)]
    frame = make_frame(rows)
    events = encode(frame)
    statistics = fit(events, events.time < 50_000_000)
    rows = examples(events, statistics, events.time > 50_000_000)
    by_row = dict(zip(events.row[rows.event].tolist(), rows.level.tolist(), strict=True))
    assert [by_row[row] for row in range(30, 36)] == [2, 1, 0, 1, 2, -1]


def test_selected_examples_keep_their_rows(make_frame):
    events = encode(make_frame(LEAKY_LOG))
    rows = examples(events, fit(events, every_event(events)), every_event(events))
    selected = rows.take(rows.passed == 1)
    assert selected.score.tolist() == [1.0, 1.0, 1.0]
    assert selected.previous.tolist() == [1, 3, 4]
    assert selected.topic_id.tolist() == [3, 3, 3]
