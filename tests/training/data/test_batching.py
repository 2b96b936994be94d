"""Batches: every row once, whole stretches of learners, made ahead in a thread that ends."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.batch import Examples, encode, examples
from features.corpus.statistics import fit
from sensei.contracts import EVENT_INPUTS, ITEM_INPUTS, SUCCESS_INPUTS, TOPIC_INPUTS
from training.data.batching import AHEAD, BatchFeed, ahead
from training.data.dataset import Dataset


def rows_of(frame: pd.DataFrame) -> Examples:
    events = encode(frame)
    all_events = np.ones(len(events), bool)
    return examples(events, fit(events, all_events), all_events)


@pytest.fixture(scope="module")
def uneven(frame_of) -> BatchFeed:
    """Learners of 1 to 60 events, one of 400."""
    rng = np.random.default_rng(3)
    walks = [rng.integers(1, 5, n).tolist() for n in [*rng.integers(1, 60, 25), 400]]
    return BatchFeed(rows_of(frame_of(walks)), "recommendation")


SHAPES = st.tuples(st.integers(1, 3000), st.integers(1, 500), st.integers(0, 500))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SHAPES, st.one_of(st.none(), st.integers(0, 100)))
def test_every_row_is_in_one_batch(uneven: BatchFeed, shape, seed) -> None:
    rng = None if seed is None else np.random.default_rng(seed)
    batches = uneven.batches(*shape, rng)
    assert np.sort(np.concatenate(batches)).tolist() == list(range(len(uneven.rows)))
    assert all((np.diff(batch) > 0).all() for batch in batches)


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize(
    ("cells", "stretch", "reach"), [(1024, 64, 32), (512, 64, 32), (256, 16, 8)]
)
def test_batches_stay_near_the_size_asked_for_however_long_a_history_is(
    uneven: BatchFeed, cells, stretch, reach, seed
) -> None:
    for batch in uneven.batches(cells, stretch, reach, seed and np.random.default_rng(seed)):
        events = uneven.inputs(batch, {"state"}, reach)["events"]
        # neighbouring pieces of one learner that meet in a batch are read as one
        assert events.shape[0] * events.shape[1] <= 2 * cells


def test_no_rows_make_no_batch(prepared: Dataset) -> None:
    none = prepared.test.take(np.zeros(len(prepared.test), bool))
    assert BatchFeed(none, "recommendation").batches(100, 100) == []


def test_another_order_every_time_but_the_same_by_seed(uneven: BatchFeed) -> None:
    rng = np.random.default_rng(0)
    first, second = (uneven.batches(256, 32, 8, rng) for _ in range(2))
    again = uneven.batches(256, 32, 8, np.random.default_rng(0))
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in again]
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
    fixed = [uneven.batches(256, 32, 8) for _ in range(2)]
    assert [batch.tolist() for batch in fixed[0]] == [batch.tolist() for batch in fixed[1]]


def test_reach_cuts_the_events_before_a_piece(uneven: BatchFeed) -> None:
    rows = uneven.rows
    longest = int(np.bincount(rows.learner).argmax())
    late = np.flatnonzero(rows.learner == longest)[-5:]
    whole, cut = (uneven.inputs(late, {"state"}, reach) for reach in (10_000, 3))
    assert whole["events"].shape == (1, 399, len(EVENT_INPUTS))
    assert whole["place"].tolist() == [395, 396, 397, 398, 399]
    assert cut["events"].shape == (1, 7, len(EVENT_INPUTS))
    assert cut["place"].tolist() == [3, 4, 5, 6, 7]
    np.testing.assert_array_equal(cut["events"][0], whole["events"][0, -7:])


def test_inputs_are_those_named_and_of_the_rows_chosen(prepared: Dataset) -> None:
    rows, chosen = prepared.test, np.array([1, 5, 30])
    all_names = {"inputs", "context", "topic", "topics", "free", "item", "state"}
    for vector in ("recommendation", "difficulty"):
        inputs = BatchFeed(rows, vector).inputs(chosen, all_names)
        assert inputs.keys() == all_names - {"state"} | {"events", "place"}
        np.testing.assert_array_equal(inputs["inputs"], getattr(rows, vector)[chosen])
        np.testing.assert_array_equal(inputs["context"], rows.recommendation[chosen])
        assert inputs["topic"].tolist() == [[slot] for slot in rows.target[chosen].tolist()]
        assert inputs["topics"].shape == (3, prepared.statistics.width * len(TOPIC_INPUTS))
        assert inputs["free"].shape == (3, len(SUCCESS_INPUTS))
        assert inputs["item"].shape == (3, len(ITEM_INPUTS))
        single = BatchFeed(rows, vector).inputs(chosen[1:2], {"topics"})
        assert single.keys() == {"topics"}
        np.testing.assert_array_equal(single["topics"][0], inputs["topics"][1])


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def have_ended(started: set[threading.Thread]) -> bool:
    """Check if all threads end within five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(thread.is_alive() for thread in started):
        time.sleep(0.01)
    return not any(thread.is_alive() for thread in started)


def test_batches_come_in_their_order() -> None:
    before = threads()
    rows = [batch["rows"] for batch in ahead(lambda row: {"rows": row}, range(50))]
    assert rows == list(range(50))
    assert have_ended(threads() - before)


def test_an_error_of_the_maker_reaches_the_reader_after_the_batches_made_before() -> None:
    before, batches = threads(), ahead(lambda row: {"rows": 1 // (7 - row)}, range(50))
    assert [next(batches)["rows"] for _ in range(7)] == [0, 0, 0, 0, 0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert have_ended(threads() - before)


@pytest.mark.parametrize("how", ["close", "raise"])
def test_the_thread_ends_when_the_reader_stops_early(how: str) -> None:
    before, rows_made = threads(), []

    def make(row: int) -> dict[str, int]:
        rows_made.append(row)
        return {"rows": row}

    batches = ahead(make, range(50))
    next(batches)
    started = threads() - before
    assert started
    if how == "close":
        batches.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt)
    assert have_ended(started)
    assert len(rows_made) <= AHEAD + 3, "rows are made only a few batches ahead of the reader"
