"""A cycle judges by the mean of the weights, and reads every row of every shard once an epoch."""

from collections.abc import Iterator

import numpy as np
import pytest

from training.data.row_chunks import RowChunks
from training.fitting.one_cycle import Data, OneCycleSchedule, cycle

ROWS = 60


def line() -> Data:
    """y = 3 x, without noise."""
    x = np.random.default_rng(0).normal(size=(ROWS, 1)).astype(np.float32)
    return {"x": x}, {"y": 3 * x[:, 0]}


def shards(size: int) -> RowChunks[Data]:
    inputs, answers = line()
    counts = tuple(min(size, ROWS - start) for start in range(0, ROWS, size))

    def make(position: int) -> Data:
        rows = slice(size * position, size * (position + 1))
        return {"x": inputs["x"][rows]}, {"y": answers["y"][rows]}

    return RowChunks(counts, make)


def linear() -> object:
    import keras

    inputs = keras.Input((1,), name="x")
    return keras.Model({"x": inputs}, {"y": keras.layers.Dense(1, use_bias=False)(inputs)})


def run(
    model: object, train: RowChunks[Data], rate: float, count: int = 3
) -> Iterator[dict[str, float]]:
    pace = OneCycleSchedule(batch=7, rate=rate, decay=0.0, epochs=count, patience=count)
    return cycle(model, "mean_squared_error", train, line(), 0, pace)


@pytest.mark.parametrize("size", [ROWS, 25])
def test_figures_are_means_over_every_row_once(size: int) -> None:
    """At a rate of nothing the weights stay, so the loss is known by hand."""
    model = linear()
    model.set_weights([np.array([[1.0]])])
    expected = float(np.mean((2 * line()[0]["x"]) ** 2))
    for figures in run(model, shards(size), rate=0.0):
        assert figures == {
            "loss": pytest.approx(expected, rel=1e-5),
            "val_loss": pytest.approx(expected, rel=1e-5),
        }


@pytest.mark.parametrize("size", [ROWS, 25])
def test_a_planted_slope_is_found(size: int) -> None:
    model = linear()
    last = [figures["val_loss"] for figures in run(model, shards(size), 0.2, 30)][-1]
    assert model.get_weights()[0] == pytest.approx(3.0, abs=0.05)
    assert last < 0.01


def test_the_model_has_the_weights_that_were_judged() -> None:
    model, (inputs, answers) = linear(), line()
    for figures in run(model, shards(ROWS), 0.1):
        predicted = np.asarray(model({"x": inputs["x"]})["y"])[:, 0]
        assert figures["val_loss"] == pytest.approx(
            np.mean((predicted - answers["y"]) ** 2), rel=1e-4
        )


def test_a_small_log_gets_small_batches_and_a_rate_to_match() -> None:
    pace = OneCycleSchedule(batch=256, rate=8e-3, decay=0.0, epochs=40, patience=6)
    assert pace.scaled(1_000_000) == pace
    small = pace.scaled(1_000)
    assert (small.batch, small.rate) == (32, pytest.approx(8e-3 / 8**0.5))
    assert pace.scaled(24_000).batch == 200
