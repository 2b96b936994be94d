"""Training hides what serving will not know; newcomers are scored all the same."""

import numpy as np
import pandas as pd
import pytest

from features.batch import encode
from features.input_indices import NEW, PRIORS
from sensei.contracts import DAY, RECOMMENDATION_INPUTS, TOPIC_INPUTS, place
from training.architectures import columns, sequence
from training.architectures.sequence import SequenceSize
from training.data.batching import Batch, BatchFeed
from training.data.dataset import Dataset, prepare
from training.data.time_split import split_by_time
from training.fitting import learning_tasks
from training.fitting.train_loop import Schedule, fit
from training.release.export import import_tensorflow

IDS = columns(RECOMMENDATION_INPUTS, "topic slot")
NUMBERS = [i for i in range(len(RECOMMENDATION_INPUTS)) if i not in IDS]
READ = {"inputs", "topics", "state"}


def next_topic_batch(prepared: Dataset) -> Batch:
    return BatchFeed(prepared.train, "recommendation").inputs(np.arange(100), READ)


def copied(batch: Batch) -> Batch:
    return {name: values.copy() for name, values in batch.items()}


def by_topic(prepared: Dataset, batch: Batch) -> np.ndarray:
    return batch["topics"].reshape(-1, prepared.statistics.width, len(TOPIC_INPUTS))


@pytest.fixture
def half_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch shows about half of the topics as new."""
    monkeypatch.setattr(learning_tasks, "NEW_BATCHES", 1.0)
    monkeypatch.setattr(learning_tasks, "NEW_SHARE", 0.5)


def test_topics_shown_as_new_lose_id_and_priors_and_nothing_else(prepared, half_new) -> None:
    before = next_topic_batch(prepared)
    after = copied(before)
    learning_tasks.next_topic(prepared).hide(after, np.random.default_rng(0))
    assert after.keys() == before.keys()
    topics_before, now = by_topic(prepared, before), by_topic(prepared, after)
    shown_as_new = (now[..., NEW] != topics_before[..., NEW]).any(axis=0)
    trained = shown_as_new[: prepared.topics]
    assert 0 < trained.sum() < prepared.topics
    unchanged = [i for i in range(len(TOPIC_INPUTS)) if i not in (NEW, *PRIORS)]
    np.testing.assert_array_equal(now[..., unchanged], topics_before[..., unchanged])
    last = before["inputs"][:, place(RECOMMENDATION_INPUTS, "last_topic_1")].astype(int)
    after_new = np.append(False, shown_as_new)[last]
    np.testing.assert_array_equal(
        now[~after_new][:, ~shown_as_new], topics_before[~after_new][:, ~shown_as_new]
    )
    assert after_new.any()
    for prior in PRIORS:
        assert (
            now[after_new][:, ~shown_as_new, prior] == now[after_new][:1, ~shown_as_new, prior]
        ).all()
    assert (now[:, shown_as_new, NEW] == 1).all()
    for prior in PRIORS:
        assert (now[:, shown_as_new, prior] == 0).all()
        assert (topics_before[:, : prepared.topics][:, trained, prior] != 0).any()
    hidden = np.append(False, shown_as_new)
    for name, ids in (("inputs", IDS), ("events", [0])):
        unchanged_columns = [i for i in range(before[name].shape[-1]) if i not in ids]
        np.testing.assert_array_equal(
            after[name][..., unchanged_columns], before[name][..., unchanged_columns]
        )
        slots = before[name][..., ids].astype(int)
        expected = np.where(hidden[slots], 0, slots)
        np.testing.assert_array_equal(after[name][..., ids], expected)
        assert (expected != slots).any()
    np.testing.assert_array_equal(after["place"], before["place"])


def test_hiding_leaves_the_examples_as_they_are(prepared, half_new) -> None:
    inputs = prepared.train.recommendation.copy()
    learning_tasks.next_topic(prepared).hide(next_topic_batch(prepared), np.random.default_rng(0))
    np.testing.assert_array_equal(prepared.train.recommendation, inputs)


def test_in_some_batches_no_topic_is_shown_as_new(prepared, monkeypatch) -> None:
    monkeypatch.setattr(learning_tasks, "NEW_BATCHES", 0.0)
    before = next_topic_batch(prepared)
    after = copied(before)
    learning_tasks.next_topic(prepared).hide(after, np.random.default_rng(0))
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


DAYS, TERM, A_DAY, LEARNERS = 30, 5, 3, 25


@pytest.fixture(scope="module")
def drifting(frame_of) -> Dataset:
    """For five days all turn to the same three of six topics, then to three others.

    Who these are nothing tells but what all did the day before. In the last five days a topic
    that came after training is among them.
    """
    rng = np.random.default_rng(0)
    topics_of_term = [rng.choice(6, 3, replace=False) + 1 for _ in range(DAYS // TERM)]
    topics_of_term[-1] = np.array([99, 1, 2])
    walks = [
        [int(rng.choice(topics_of_term[day // TERM])) for day in range(DAYS) for _ in range(A_DAY)]
        for _ in range(LEARNERS)
    ]
    frame = frame_of(walks)
    learner, at = np.divmod(np.arange(len(frame)), DAYS * A_DAY)
    minutes = at // A_DAY * 24 * 60 + at % A_DAY * 60 + learner
    timestamps = pd.Timestamp("2025-03-03", tz="UTC") + pd.to_timedelta(minutes, unit="m")
    events = encode(frame.assign(timestamp=timestamps.astype("datetime64[us, UTC]")))
    return prepare(events, split_by_time(events))


def test_a_newcomer_gets_a_probability_that_rises_with_recent_popularity(drifting) -> None:
    import_tensorflow()
    import keras

    assert drifting.statistics.slot_of(99) == 0
    assert drifting.test.recency.newcomers.tolist() == [99]
    keras.utils.set_random_seed(0)
    width = drifting.statistics.width
    size = SequenceSize(state=0, hidden=16, query=8, embedding=8, mixed=4)
    inputs = drifting.train.recommendation
    network = sequence.recommendation(inputs, drifting.topics, width, size, "small")
    fit(network, learning_tasks.next_topic(drifting), Schedule(epochs=8, cells=256, rate=1e-2), 0)
    slot = drifting.topics  # of the first newcomer
    rows = drifting.test
    chosen = np.flatnonzero(rows.start // DAY == rows.start.max() // DAY)  # it is popular by now
    network_inputs = BatchFeed(rows, "recommendation").inputs(chosen, set(network.read.input))

    recent = [place(TOPIC_INPUTS, name) for name in ("recent_2", "recent_7")]

    def newcomer_with(popularity: float) -> np.ndarray:
        """Its probability with a share of what it is more popular than a topic nobody met."""
        topic_inputs = network_inputs["topics"].reshape(len(chosen), width, -1).copy()
        unseen = topic_inputs[:, slot + 1, recent]
        topic_inputs[:, slot, recent] = unseen + popularity * (
            topic_inputs[:, slot, recent] - unseen
        )
        changed_inputs = network_inputs | {"topics": topic_inputs.reshape(len(chosen), -1)}
        return np.asarray(network.read(changed_inputs)["probability"])[:, slot]

    as_it_is, less, unpopular = (newcomer_with(share) for share in (1.0, 0.5, 0.0))
    assert (unpopular > 0).all()
    assert (less > unpopular).mean() > 0.9
    assert (as_it_is > less).mean() > 0.9
    free = np.asarray(network.read(network_inputs)["probability"])[:, slot + 1 :]
    assert (as_it_is > free.max(axis=1)).all(), "a popular one beats slots that no topic has"


def test_topics_that_no_target_names_are_left_out_of_the_loss(prepared: Dataset) -> None:
    loss = learning_tasks.next_topic(prepared).loss
    batch = {
        "target": np.array([0, 1], np.int32),
        "topics": next_topic_batch(prepared)["topics"][:2],
    }
    score = np.zeros((2, prepared.statistics.width), np.float32)
    before = np.asarray(loss({"probability": score}, batch))
    score[:, prepared.topics :] = 50.0  # spare slots
    np.testing.assert_allclose(np.asarray(loss({"probability": score}, batch)), before)
    score[:, 2] = 50.0
    assert (np.asarray(loss({"probability": score}, batch)) > before + 1).all()


def test_items_and_topics_of_some_attempts_are_hidden(taught) -> None:
    attempts = taught.prepared.attempts
    names = {"inputs", "topic", "free", "item", "state"}
    rows = np.arange(len(attempts.train))
    before = BatchFeed(attempts.train, "difficulty").inputs(rows, names)
    after = copied(before)
    learning_tasks.success(attempts).hide(after, np.random.default_rng(0))
    has_item = before["item"].any(axis=1)
    item_hidden = has_item & ~after["item"].any(axis=1)
    new = (before["topic"] != after["topic"])[:, 0]
    np.testing.assert_array_equal(item_hidden, has_item & new)
    assert 0.03 < new.mean() < 0.2
    assert (after["item"][new] == 0).all(), "who knows no topic knows no item of it"
    np.testing.assert_array_equal(
        after["item"][has_item & ~item_hidden], before["item"][has_item & ~item_hidden]
    )
    np.testing.assert_array_equal(after["free"][~new], before["free"][~new])
    logit, attempt_count = learning_tasks.TOPIC_LOGIT, learning_tasks.TOPIC_ATTEMPTS
    assert (after["topic"][new] == 0).all()
    assert (after["free"][new, attempt_count] == 0).all()
    assert len(np.unique(after["free"][new, logit])) == 1
    change = after["free"][:, logit] - before["free"][:, logit]
    logit_change = (
        after["inputs"][:, learning_tasks.PROFICIENCY]
        - before["inputs"][:, learning_tasks.PROFICIENCY]
    )
    np.testing.assert_allclose(logit_change, change, atol=1e-5)
    free_columns = [i for i in range(after["free"].shape[1]) if i not in (logit, attempt_count)]
    input_columns = [i for i in range(after["inputs"].shape[1]) if i != learning_tasks.PROFICIENCY]
    for name, selected in (
        ("free", free_columns),
        ("inputs", input_columns),
        ("events", slice(None)),
    ):
        np.testing.assert_array_equal(after[name][..., selected], before[name][..., selected])


def test_success_is_judged_with_and_without_its_item(taught) -> None:
    attempts = taught.prepared.attempts
    task = learning_tasks.success(attempts)

    def loss_of(success: float, overall: float) -> float:
        count = len(attempts.validate)
        answer = {"success": np.full((count, 3), success), "overall": np.full((count, 1), overall)}
        return task.judge(iter([(np.arange(count), answer)]))

    share = float(attempts.validate.passed.mean())
    assert loss_of(share, 0.99) > loss_of(share, share) < loss_of(0.99, share)
    assert loss_of(0.5, 0.5) == pytest.approx(np.log(2))


def test_next_topic_is_judged_on_topics_that_are_new_to_the_learner(prepared: Dataset) -> None:
    task = learning_tasks.next_topic(prepared)
    rows = prepared.validate
    perfect = np.eye(prepared.topics)[rows.target - 1]
    again = np.eye(prepared.topics + 1)[rows.last_topic, 1:]
    all_rows = np.arange(len(rows))
    assert task.judge(iter([(all_rows, {"probability": perfect})])) == pytest.approx(0.0)
    # the last topic is masked: naming it first as well costs nothing
    assert task.judge(iter([(all_rows, {"probability": perfect + again})])) == pytest.approx(0.0)
