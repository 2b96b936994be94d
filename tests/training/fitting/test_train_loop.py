"""Networks that read sequences learn what was planted, repeatably, and nothing from chance."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.batch import Examples, encode
from sensei.errors import NotEnoughData
from training.architectures import Network, sequence
from training.architectures.sequence import SequenceSize
from training.data.batching import BatchFeed
from training.data.dataset import Dataset, prepare
from training.data.splits import split_by_learner
from training.fitting import learning_tasks
from training.fitting.train_loop import BatchPredictor, Schedule, fit, predict
from training.release.export import import_tensorflow
from training.scores import RecommendationScores, score_recommendation

SMALL = SequenceSize(state=8, priors=False, history=False, hidden=16, query=8, embedding=8, mixed=4)
"""Reads the last topics and the sequence of events, and no count of what followed what."""

BRIEF = Schedule(epochs=2, cells=256)


def untrained(prepared: Dataset, size: SequenceSize = SMALL, seed: int = 0) -> Network:
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(seed)
    inputs, width = prepared.train.recommendation, prepared.statistics.width
    return sequence.recommendation(inputs, prepared.topics, width, size, "small")


def trained(
    prepared: Dataset, schedule: Schedule, size: SequenceSize = SMALL, seed: int = 0
) -> Network:
    network = untrained(prepared, size, seed)
    fit(network, learning_tasks.next_topic(prepared), schedule, seed)
    return network


def weights(network: Network) -> list[np.ndarray]:
    return [*network.scores.get_weights(), *network.unroll.get_weights()]


def scored(network: Network, rows: Examples) -> RecommendationScores:
    return score_recommendation(
        lambda part: predict(network, BatchFeed(part, "recommendation")), rows
    )


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(SMALL, id="sequence", marks=pytest.mark.slow),
        pytest.param(replace(SMALL, state=0), id="no state", marks=pytest.mark.slow),
        pytest.param(replace(SMALL, priors=True, history=True), id="everything"),
    ],
)
def test_the_successor_is_learned(prepared: Dataset, size: SequenceSize) -> None:
    network = trained(prepared, Schedule(epochs=10, cells=256, rate=2e-2), size)
    test = prepared.test.take(prepared.test.previous > 0)  # a first topic follows nothing
    assert scored(network, test).table("all")["hr_at_1"] > 0.97


@pytest.mark.slow
def test_same_seed_gives_the_same_weights_and_another_one_others(prepared: Dataset) -> None:
    first, second, other_seed = (weights(trained(prepared, BRIEF, seed=seed)) for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert any((a != b).any() for a, b in zip(first, other_seed, strict=True))


def test_shuffled_topics_are_found_at_chance(planted: pd.DataFrame) -> None:
    """The canary: what a network finds where there is nothing to find."""
    rng = np.random.default_rng(5)
    doubled = pd.concat([planted.assign(user_id=planted["user_id"].astype(str) + c) for c in "ab"])
    shuffled = doubled.assign(
        event_id=[f"{i:08d}" for i in range(len(doubled))],
        user_id=pd.Categorical(doubled["user_id"]),
        topic_id=rng.permutation(doubled["topic_id"].to_numpy()),
    )
    events = encode(shuffled)
    dataset = prepare(events, split_by_learner(events))
    all_inputs = replace(SMALL, priors=True, history=True)
    network = trained(dataset, Schedule(epochs=4, cells=256, rate=1e-2), all_inputs)
    assert scored(network, dataset.test).table("all")["hr_at_1"] == pytest.approx(1 / 6, abs=0.06)


def test_weights_are_those_of_the_best_epoch_and_patience_ends_it(prepared: Dataset) -> None:
    network, epoch_weights, progress = untrained(prepared), [], []
    figures = iter([0.5, 0.3, 0.4, 0.3, 0.6, 0.1])

    def judge(answers) -> float:
        rows = sum(len(chosen) for chosen, _ in answers)
        assert rows == len(prepared.validate), "the judge is shown every row once"
        epoch_weights.append(weights(network))
        return next(figures)

    task = replace(learning_tasks.next_topic(prepared), judge=judge)
    curves = fit(
        network,
        task,
        Schedule(epochs=6, patience=2, cells=256),
        0,
        lambda epoch, metrics: progress.append((epoch, metrics["val_loss"])),
    )
    assert curves["val_loss"] == [0.5, 0.3, 0.4, 0.3, 0.6]
    assert progress == list(enumerate(curves["val_loss"], start=1))
    assert {len(curve) for curve in curves.values()} == {5}
    assert np.isfinite(curves["loss"]).all()
    best = weights(network)
    assert all((a == b).all() for a, b in zip(best, epoch_weights[1], strict=True))
    assert any((a != b).any() for a, b in zip(best, epoch_weights[4], strict=True))


@pytest.mark.parametrize(
    "figure", [float("nan"), pytest.param(float("inf"), marks=pytest.mark.slow)]
)
def test_a_network_that_cannot_be_judged_is_refused_not_left_as_it_was(
    prepared: Dataset, figure: float
) -> None:
    task = replace(learning_tasks.next_topic(prepared), judge=lambda answers: figure)
    with pytest.raises(
        NotEnoughData, match=r"small: expected a finite validation loss .* got \[(nan|inf)"
    ):
        fit(untrained(prepared), task, BRIEF, 0)


def test_an_epoch_without_a_figure_is_never_the_best(prepared: Dataset) -> None:
    network, epoch_weights, figures = (
        untrained(prepared),
        [],
        iter([float("nan"), 0.5, float("nan")]),
    )

    def judge(answers) -> float:
        epoch_weights.append(weights(network))
        return next(figures)

    task = replace(learning_tasks.next_topic(prepared), judge=judge)
    fit(network, task, Schedule(epochs=3, cells=256), 0)
    assert all((a == b).all() for a, b in zip(weights(network), epoch_weights[1], strict=True))


def test_predictions_after_a_change_of_weights_are_those_of_the_new_weights(
    prepared: Dataset,
) -> None:
    network, feed = untrained(prepared), BatchFeed(prepared.test, "recommendation")
    ask = BatchPredictor(network)
    before = [answer["probability"] for _, answer in ask(feed)]
    network.scores.set_weights([w * 0 for w in network.scores.get_weights()])
    after = [answer["probability"] for _, answer in ask(feed)]
    assert not np.allclose(before[0], after[0])
    fresh = [answer["probability"] for _, answer in predict(network, feed)]
    np.testing.assert_array_equal(after[0], fresh[0])


def test_step_and_unroll_share_what_was_learned(prepared: Dataset) -> None:
    network = trained(prepared, BRIEF)
    events = BatchFeed(prepared.test, "recommendation").inputs(np.arange(24), {"state"})["events"]
    unrolled = np.asarray(network.unroll(events))
    state = np.zeros((len(events), network.state), np.float32)
    for at in range(events.shape[1]):
        state = np.asarray(network.step({"state": state, "event": events[:, at]})["next_state"])
        np.testing.assert_allclose(state, unrolled[:, at], atol=1e-6)


def test_a_question_in_pieces_gets_the_same_answers(
    prepared: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, feed = untrained(prepared), BatchFeed(prepared.train, "recommendation")
    whole = list(predict(network, feed))
    monkeypatch.setattr("training.fitting.train_loop.CELLS", 1)
    pieces = list(predict(network, feed))
    assert len(pieces) > len(whole)
    for answers in (whole, pieces):
        rows = np.concatenate([chosen for chosen, _ in answers])
        assert np.sort(rows).tolist() == list(range(len(prepared.train)))
    first, second = (
        np.concatenate([answer["probability"] for _, answer in answers])[
            np.argsort(np.concatenate([chosen for chosen, _ in answers]))
        ]
        for answers in (whole, pieces)
    )
    np.testing.assert_allclose(first, second, atol=1e-6)
