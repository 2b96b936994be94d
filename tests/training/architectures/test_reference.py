"""The reference networks have the design's shape and survive any input."""

from pathlib import Path

import numpy as np
import pytest

from sensei.contracts import RECOMMENDATION_INPUTS
from training.architectures import reference

NAMES = [definition.name for definition in RECOMMENDATION_INPUTS]


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.random((200, 20)).astype(np.float32)
    x[:, :7] = rng.integers(0, 4, (200, 7))
    x[:, NAMES.index("log_accepted")] = 0.0
    return x


def layers(model, kind: str) -> list:
    return [layer for layer in model.layers if type(layer).__name__ == kind]


def test_recommendation_network_is_the_designs(inputs: np.ndarray) -> None:
    model = reference.recommendation(inputs, topics=9)
    assert [layer.units for layer in layers(model, "Dense")] == [128, 64, 32, 9]
    assert [layer.rate for layer in layers(model, "Dropout")] == [0.3, 0.3]
    assert len(layers(model, "Normalization")) == 1


def test_difficulty_network_is_the_designs(inputs: np.ndarray) -> None:
    model = reference.difficulty(inputs[:, 7:11])
    dense = {layer.name: layer.units for layer in layers(model, "Dense")}
    assert sorted(dense.values()) == [3, 3, 16, 32]
    answer = model({"inputs": inputs[:, 7:11]})
    assert np.asarray(answer["difficulty"]).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.asarray(answer["success"]).shape == (200, 3)


def test_unseen_slots_and_extremes_give_probabilities(inputs: np.ndarray) -> None:
    model = reference.recommendation(inputs, topics=9)
    low = np.array([[definition.low for definition in RECOMMENDATION_INPUTS]], np.float32)
    high = np.array([[definition.high for definition in RECOMMENDATION_INPUTS]], np.float32)
    outside = np.full((1, 20), -3.0, np.float32)
    actual = np.asarray(model({"inputs": np.concatenate([low, high, outside])})["probability"])
    assert np.isfinite(actual).all()
    assert actual.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_unknown_slot_reads_as_no_topic(inputs: np.ndarray) -> None:
    model = reference.recommendation(inputs, topics=9)
    known, unknown = inputs[:1].copy(), inputs[:1].copy()
    known[0, 0], unknown[0, 0] = 0, 4000
    probabilities = [np.asarray(model({"inputs": x})["probability"]) for x in (known, unknown)]
    assert (probabilities[0] == probabilities[1]).all()


def test_input_that_never_varied_is_silent(inputs: np.ndarray) -> None:
    model = reference.recommendation(inputs, topics=9)
    before, after = inputs[:1].copy(), inputs[:1].copy()
    after[0, NAMES.index("log_accepted")] = 3.0
    probabilities = [np.asarray(model({"inputs": x})["probability"]) for x in (before, after)]
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-6)


def test_saved_network_answers_as_before(inputs: np.ndarray, tmp_path: Path) -> None:
    import keras

    model = reference.recommendation(inputs, topics=9)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    batch = {"inputs": inputs}
    assert (
        np.asarray(loaded(batch)["probability"]) == np.asarray(model(batch)["probability"])
    ).all()
