"""Fitting is repeatable and learns only from what happened."""

from dataclasses import replace

import numpy as np
import pytest

from training.architectures import reference
from training.data.row_chunks import RowChunks
from training.fitting.keras_fit import (
    FAST,
    SKETCH,
    FitSettings,
    _batches,
    fit_difficulty,
    fit_recommendation,
    staircase,
)


def next_in_circle(rows: int, topics: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = np.zeros((rows, 20), np.float32)
    inputs[:, 0] = rng.integers(1, topics + 1, rows)
    inputs[:, 7] = rng.random(rows)
    return inputs, (inputs[:, 0].astype(np.int32) % topics) + 1


def in_memory(data) -> RowChunks:
    return RowChunks.held(data, len(data[1]) if isinstance(data, tuple) else len(data["level"]))


def in_shards(data: tuple[np.ndarray, np.ndarray], size: int) -> RowChunks:
    rows = len(data[1])
    counts = tuple(min(size, rows - start) for start in range(0, rows, size))
    return RowChunks(
        counts, lambda position: tuple(x[size * position : size * (position + 1)] for x in data)
    )


def brief(epochs: int, setting: FitSettings = SKETCH) -> FitSettings:
    return replace(setting, epochs=epochs)


both = pytest.mark.parametrize(
    "setting",
    [pytest.param(SKETCH, id="sketch", marks=pytest.mark.slow), pytest.param(FAST, id="fast")],
)


def trained(seed: int, setting: FitSettings) -> list[np.ndarray]:
    import keras

    keras.utils.set_random_seed(seed)
    data = next_in_circle(400, 5)
    model = reference.recommendation(data[0], 5)
    fit_recommendation(model, in_memory(data), data, seed, setting)
    return model.get_weights()


@both
def test_same_seed_gives_the_same_weights_and_another_one_others(setting: FitSettings) -> None:
    setting = brief(2, setting)
    first, second, other_seed = trained(3, setting), trained(3, setting), trained(4, setting)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert any((a != b).any() for a, b in zip(first, other_seed, strict=True))


@both
def test_progress_is_reported_after_each_epoch_and_curves_have_one_value_per_epoch(
    setting: FitSettings,
) -> None:
    data = next_in_circle(200, 5)
    epochs: list[int] = []
    model = reference.recommendation(data[0], 5)
    curves = fit_recommendation(
        model, in_memory(data), data, 0, brief(3, setting), lambda epoch, _: epochs.append(epoch)
    )
    assert epochs == [1, 2, 3]
    assert {"loss", "val_loss"} <= curves.keys()
    assert {len(values) for values in curves.values()} == {3}


@pytest.mark.parametrize(
    "setting",
    [pytest.param(brief(8), marks=pytest.mark.slow), brief(40, FAST)],
    ids=["sketch", "fast"],
)
def test_network_learns_the_circle(setting: FitSettings) -> None:
    import keras

    keras.utils.set_random_seed(0)
    inputs, target = next_in_circle(2000, 5)
    model = reference.recommendation(inputs, 5)
    fit_recommendation(model, in_memory((inputs, target)), (inputs, target), 0, setting)
    actual = np.asarray(model({"inputs": inputs})["probability"]).argmax(axis=1) + 1
    assert np.mean(actual == target) > 0.9


@pytest.mark.parametrize(
    "setting",
    [brief(8), pytest.param(brief(40, FAST), marks=pytest.mark.slow)],
    ids=["sketch", "fast"],
)
def test_network_learns_the_circle_from_shards(setting: FitSettings) -> None:
    import keras

    keras.utils.set_random_seed(0)
    data = next_in_circle(2000, 5)
    model = reference.recommendation(data[0], 5)
    curves = fit_recommendation(model, in_shards(data, 700), data, 0, setting)
    actual = np.asarray(model({"inputs": data[0]})["probability"]).argmax(axis=1) + 1
    assert np.mean(actual == data[1]) > 0.9
    assert len(curves["loss"]) == len(curves["val_loss"])


def test_an_epoch_reads_every_row_of_every_shard_once() -> None:
    inputs, target = next_in_circle(100, 5)
    inputs[:, 7] = np.arange(100)
    shards = in_shards((inputs, target), 30).map(lambda pair: ({"x": pair[0]}, {"y": pair[1]}))
    batches = _batches(shards, 0, 8)
    epochs = [
        np.concatenate([next(batches)[0]["x"][:, 7] for _ in range(4 + 4 + 4 + 2)])
        for _ in range(2)
    ]
    assert all(np.sort(rows).tolist() == list(range(100)) for rows in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


@both
def test_target_without_a_slot_teaches_nothing(setting: FitSettings) -> None:
    inputs, target = next_in_circle(200, 5)
    target[:50] = 0
    one_epoch = brief(1, setting)
    model = reference.recommendation(inputs, 5)
    curves = fit_recommendation(model, in_memory((inputs, target)), (inputs, target), 0, one_epoch)
    assert np.isfinite(curves["val_loss"]).all()


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(brief(6), id="sketch", marks=pytest.mark.slow),
        pytest.param(brief(8, FAST), id="fast"),
    ],
)
def test_success_is_learned_at_the_level_taken(setting: FitSettings) -> None:
    import keras

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    level = rng.integers(0, 3, 4000).astype(np.int8)
    score = (rng.random(4000) < np.array([0.9, 0.6, 0.2])[level]).astype(np.float32)
    data = {
        "inputs": rng.random((4000, 4)).astype(np.float32),
        "level": level,
        "score": score,
    }
    model = reference.difficulty(data["inputs"])
    curves = fit_difficulty(model, in_memory(data), data, 0, setting)
    actual = np.asarray(model({"inputs": data["inputs"]})["success"]).mean(axis=0)
    assert actual == pytest.approx([0.9, 0.6, 0.2], abs=0.05)
    assert "val_taken_loss" in curves


@both
def test_the_weights_are_those_of_the_best_epoch(setting: FitSettings) -> None:
    """The held-out rows ask for something else than those of training: each epoch is worse."""
    import keras

    inputs, target = next_in_circle(64, 5)
    validation = inputs, target % 5 + 1
    keras.utils.set_random_seed(0)
    model = reference.recommendation(inputs, 5)
    setting = replace(setting, epochs=60, rate=1e-2, patience=3)
    curves = fit_recommendation(model, in_memory((inputs, target)), validation, 0, setting)
    probability = np.asarray(model({"inputs": validation[0]})["probability"])
    loss = -np.log(probability[np.arange(64), validation[1] - 1]).mean()
    assert loss == pytest.approx(min(curves["val_loss"]), rel=1e-4)
    assert len(curves["val_loss"]) < 60


def test_staircase_goes_up_stays_and_goes_down_within_its_ends() -> None:
    level = np.array([0, 1, 1, 1, 2, 0], np.int8)
    score = np.array([0.9, 0.85, 0.6, 0.59, 1.0, 0.0])
    assert staircase(level, score).tolist() == [1, 2, 1, 0, 2, 0]


def test_a_small_log_gets_small_batches_and_a_rate_to_match() -> None:
    assert FAST.scaled(1_000_000) == FAST
    small = FAST.scaled(1_000)
    assert (small.batch, small.rate) == (32, pytest.approx(SKETCH.rate))
    assert FAST.scaled(60_000).batch == 150
    assert SKETCH.scaled(1_000) == SKETCH.scaled(10**7) == SKETCH
