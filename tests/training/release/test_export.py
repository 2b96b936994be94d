import numpy as np
import pytest

from sensei.bundle.runtime import Runner
from sensei.contracts import DIFFICULTY_INPUTS, RECOMMENDATION_INPUTS
from sensei.errors import ParityFailed
from training.release.export import check_parity, extremes, to_litert
from training.tensorflow_import import import_tensorflow

TOPICS = 12


@pytest.fixture(scope="module")
def recommendation():
    """Built as the reference is: ids embedded inside, the rest normalised inside."""
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((20,), name="inputs")
    slots = keras.layers.Embedding(TOPICS + 1, 4)(keras.ops.cast(inputs[:, :6], "int32"))
    scaler = keras.layers.Normalization()
    scaler.adapt(np.random.default_rng(0).gamma(2, 2, (100, 14)).astype(np.float32))
    hidden = keras.layers.Concatenate()([keras.layers.Flatten()(slots), scaler(inputs[:, 6:])])
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(16, "relu")(hidden))
    # a table gathered by a pair of slots, as the Markov baselines do
    pair = inputs[:, 0] * (TOPICS + 1) + inputs[:, 1]
    prior = keras.layers.Embedding((TOPICS + 1) ** 2, TOPICS)(keras.ops.cast(pair, "int32"))
    output = keras.layers.Softmax()(keras.layers.Dense(TOPICS)(hidden) + prior)
    return keras.Model({"inputs": inputs}, {"probability": output}, name="recommendation")


@pytest.fixture(scope="module")
def difficulty():
    import_tensorflow()
    import keras

    inputs = keras.Input((4,), name="inputs")
    topic = keras.Input((1,), name="topic")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(TOPICS + 1, 2)(topic))
    trunk = keras.layers.Dense(8, "relu")(keras.layers.Concatenate()([inputs, embedded]))
    return keras.Model(
        {"inputs": inputs, "topic": topic},
        {
            "success": keras.layers.Dense(3, "sigmoid")(trunk),
            "difficulty": keras.layers.Dense(3, "softmax")(trunk),
        },
        name="difficulty",
    )


def _rows(count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    rows = rng.random((count, 20), np.float32)
    rows[:, :6] = rng.integers(0, TOPICS + 1, (count, 6))
    return rows


def test_export_answers_as_keras_does(recommendation):
    litert = to_litert(recommendation)
    assert check_parity(recommendation, litert, {"inputs": _rows(300)}) <= 1e-5


def test_names_of_several_inputs_and_outputs_survive(difficulty):
    litert = to_litert(difficulty)
    runner = Runner(litert)
    assert runner.inputs == {"inputs": 4, "topic": 1}
    assert runner.outputs == {"success": 3, "difficulty": 3}
    rows = {"inputs": np.ones((5, 4), np.float32), "topic": np.full((5, 1), 3, np.float32)}
    assert check_parity(difficulty, litert, rows) <= 1e-5


def test_export_is_quiet(recommendation, capfd):
    to_litert(recommendation)
    assert capfd.readouterr() == ("", "")


def test_export_of_another_model_fails_parity(recommendation):
    litert = to_litert(recommendation)
    bias = next(w for w in recommendation.weights if w.path.endswith("bias"))
    before = bias.numpy()
    bias.assign(before + 1)
    try:
        with pytest.raises(ParityFailed, match="keep the champion"):
            check_parity(recommendation, litert, {"inputs": _rows(10)})
    finally:
        bias.assign(before)


def test_an_answer_that_is_no_number_fails_parity(recommendation):
    litert = to_litert(recommendation)
    rows = _rows(3)
    rows[0, 10] = np.nan
    with pytest.raises(ParityFailed):
        check_parity(recommendation, litert, {"inputs": rows})


def test_extremes_reach_both_ends_of_every_input():
    edge = extremes({"inputs": _rows(50)})["inputs"]
    dense = [i for i, contract in enumerate(RECOMMENDATION_INPUTS) if not contract.is_id]
    for column in dense:
        assert edge[:, column].max() == RECOMMENDATION_INPUTS[column].high
        assert edge[:, column].min() == RECOMMENDATION_INPUTS[column].low
    assert set(np.unique(edge[:, :6])) == {0, TOPICS}  # unknown, and the last known slot
    edges = extremes({"inputs": np.zeros((1, 4), np.float32), "topic": np.full((1, 1), 7)})
    assert edges["inputs"][:, 3].min() == DIFFICULTY_INPUTS[3].low
    assert len(edges["inputs"]) == len(edges["topic"])
    assert set(np.unique(edges["topic"])) == {0, 7}
