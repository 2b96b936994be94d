"""Reference architectures of the project's specification, with scaler and embeddings built in."""

import numpy as np
from numpy.typing import NDArray

from sensei.contracts import (
    DIFFICULTY_INPUTS,
    KINDS,
    LEVELS,
    RECOMMENDATION_INPUTS,
    SUCCESS_INPUTS,
    Input,
    place,
)
from training.architectures import Model, Tensor, columns, slots

TOPIC_DIMENSIONS = 32
KIND_DIMENSIONS = 4

ATTEMPTS, TREND, SINCE = (
    place(DIFFICULTY_INPUTS, name)
    for name in ("log_attempts", "score_trend", "log_seconds_since_attempt")
)
SCORES = place(SUCCESS_INPUTS, "topic_score_1")

_SILENT = 1e12  # variance that scales an input to 0


def recommendation(inputs: NDArray[np.float32], topics: int) -> Model:
    """Build the untrained recommendation network: 20 -> 128 -> 64 -> 32 -> softmax over topics.

    Args:
        inputs: (n, 20) training rows, on which the scaler is fitted.
        topics: number of topics with a slot.

    Returns:
        Model of {"inputs": (n, 20)} to {"probability": (n, topics)}; column i is slot i + 1.
    """
    import keras

    vector = keras.Input((len(RECOMMENDATION_INPUTS),), name="inputs")
    h = keras.layers.Concatenate()(
        [
            *_embedded(vector, topics),
            scaled(vector, inputs, RECOMMENDATION_INPUTS),
        ]
    )
    h = keras.layers.Dense(128, activation="relu")(h)
    h = keras.layers.Dropout(0.3)(h)
    h = keras.layers.Dense(64, activation="relu")(h)
    h = keras.layers.Dropout(0.3)(h)
    h = keras.layers.Dense(32, activation="relu")(h)
    out = keras.layers.Dense(topics, activation="softmax", name="probability")(h)
    return keras.Model({"inputs": vector}, {"probability": out}, name="reference_recommendation")


def difficulty(inputs: NDArray[np.float32]) -> Model:
    """Build the untrained difficulty network: 4 -> 32 -> 16 -> softmax(3), sigmoid(3) for success.

    Args:
        inputs: (n, 4) training rows, on which the scaler is fitted.

    Returns:
        Model of {"inputs": (n, 4)} to {"difficulty": (n, 3) softmax over levels, "success": (n, 3)
        probability of a pass at each level}.
    """
    import keras

    vector = keras.Input((len(DIFFICULTY_INPUTS),), name="inputs")
    answers = _levels(scaled(vector, inputs, DIFFICULTY_INPUTS))
    return keras.Model({"inputs": vector}, answers, name="reference_difficulty")


def plain_difficulty(inputs: NDArray[np.float32], free: NDArray[np.float32]) -> Model:
    """Build the difficulty network on the four inputs as specified, without this project's changes.

    The inputs are four per topic: mean of the last three scores, attempts, trend, and days since
    the last attempt. They have no shrinkage and no logarithms. The days are 0 both for a topic
    never tried and for one just tried.

    Args:
        inputs: (n, 4) training rows of `contracts.DIFFICULTY_INPUTS`.
        free: (n, 18) the same rows of `contracts.SUCCESS_INPUTS`.

    Returns:
        Model of {"inputs": (n, 4), "free": (n, 18)} to the answers of `difficulty`.
    """
    import keras

    named = {
        "inputs": keras.Input((len(DIFFICULTY_INPUTS),), name="inputs"),
        "free": keras.Input((len(SUCCESS_INPUTS),), name="free"),
    }
    seen = np.asarray(_plain(keras.ops.array(inputs), keras.ops.array(free)))
    h = scaled(_plain(named["inputs"], named["free"]), seen, DIFFICULTY_INPUTS)
    return keras.Model(named, _levels(h), name="plain_difficulty")


def _plain(inputs: Tensor, free: Tensor) -> Tensor:
    from keras import ops

    # exp, because LiteRT has no operation for expm1
    attempts = ops.exp(inputs[:, ATTEMPTS : ATTEMPTS + 1]) - 1.0
    scores = ops.sum(free[:, SCORES : SCORES + 3], axis=1, keepdims=True)  # each minus 0.5
    mean = scores / ops.clip(attempts, 1.0, 3.0) + 0.5
    days = (ops.exp(ops.maximum(inputs[:, SINCE : SINCE + 1], 0.0)) - 1.0) / 86_400.0
    return ops.concatenate([mean, attempts, inputs[:, TREND : TREND + 1], days], axis=1)


def _levels(h: Tensor) -> dict[str, Tensor]:
    import keras

    h = keras.layers.Dense(32, activation="relu")(h)
    h = keras.layers.Dense(16, activation="relu")(h)
    level = keras.layers.Dense(len(LEVELS), activation="softmax", name="difficulty")(h)
    success = keras.layers.Dense(len(LEVELS), activation="sigmoid", name="success")(h)
    return {"difficulty": level, "success": success}


def _embedded(vector: Tensor, topics: int) -> list[Tensor]:
    """Embed topic slots and kinds; all topic positions of the vector share one table."""
    import keras

    topic_columns = columns(RECOMMENDATION_INPUTS, "topic slot")
    kind_columns = columns(RECOMMENDATION_INPUTS, "kind code")
    topic = keras.layers.Embedding(topics + 1, TOPIC_DIMENSIONS, name="topic")
    kind = keras.layers.Embedding(len(KINDS) + 1, KIND_DIMENSIONS, name="kind")
    return [
        keras.layers.Flatten()(topic(slots(keras.ops.take(vector, topic_columns, axis=1), topics))),
        keras.layers.Flatten()(
            kind(slots(keras.ops.take(vector, kind_columns, axis=1), len(KINDS)))
        ),
    ]


def scaled(vector: Tensor, inputs: NDArray[np.float32], contract: tuple[Input, ...]) -> Tensor:
    """Scale the numeric inputs to mean 0 and variance 1, and clip them to 5 standard deviations.

    An input that was constant in training is scaled to 0, because its weights were never fitted.
    Division by its zero variance would make any other value dominate all inputs.
    """
    import keras

    numbers = [i for i, declared in enumerate(contract) if not declared.is_id]
    plain = np.asarray(inputs[:, numbers], np.float64)
    variance = plain.var(axis=0)
    layer = keras.layers.Normalization(
        mean=plain.mean(axis=0), variance=np.where(variance < 1e-8, _SILENT, variance)
    )
    return keras.ops.clip(layer(keras.ops.take(vector, numbers, axis=1)), -5.0, 5.0)
