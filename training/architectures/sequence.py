"""Next-topic network: a query from the learner's state, and a score per topic from its inputs.

score(j) = query . e_j + b_j + weight . known_j + mixed . hidden(known_j). The first two terms are
learned per topic and 0 for a new topic. `weight` and `mixed` depend on the learner. `known_j` are
the `contracts.TOPIC_INPUTS`: Markov priors, the learner's own history with the topic, and its
recent popularity. `hidden` is one small layer shared by all topics. So a new topic is scored from
its inputs, and so is every topic for a new learner.

Sources: Volkovs et al. 2017 (NIPS, DropoutNet) for masking some topics as new in training;
Rendle et al. 2010 (WWW) for a Markov prior combined with learned preferences; Hidasi et al. 2016
(ICLR) for the recurrent state.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.input_indices import NEW, PRIORS
from sensei.contracts import KINDS, RECOMMENDATION_INPUTS, TOPIC_INPUTS, place
from training.architectures import Network, Tensor, columns, recurrent, slots

NEVER = -1e9  # score of a slot without a topic

WEIGHT = place(TOPIC_INPUTS, "log_weight")

SCALE = [0.3 if declared.unit.startswith("log") else 1.0 for declared in TOPIC_INPUTS]
"""Scale per topic input; it brings logarithms near 1."""


@dataclass(frozen=True)
class SequenceSize:
    """Inputs and widths of a network.

    Attributes:
        state: units of the recurrent state; 0 for no event sequence.
        priors: if True, the Markov priors are inputs.
        history: if True, the learner's own history with each topic and its recent popularity are
            inputs.
        hidden: units of the hidden layer.
        query: dimensions of the query and of the topic vectors it is compared with.
        embedding: dimensions of a topic's input embedding.
        mixed: units of the layer on the topic inputs.
        drop: dropout rate in training.
    """

    state: int = 128
    priors: bool = True
    history: bool = True
    hidden: int = 192
    query: int = 64
    embedding: int = 64
    mixed: int = 16
    drop: float = 0.3


def recommendation(
    inputs: NDArray[np.float32], topics: int, width: int, size: SequenceSize, name: str
) -> Network:
    """Build the untrained network.

    Args:
        inputs: (n, 20) training rows, on which the scaler is fitted.
        topics: number of topics with a slot.
        width: number of slots that are scored, including those reserved for new topics.
        size: inputs and widths.
        name: name of the model.

    Returns:
        Network of {"inputs": (n, 20), "topics": (n, width * 16)}, and "state" if it has one, to
        {"probability": (n, width)}.
    """
    import keras
    from keras import ops

    named = {"inputs": keras.Input((len(RECOMMENDATION_INPUTS),), name="inputs")}
    named["topics"] = keras.Input((width * len(TOPIC_INPUTS),), name="topics")
    topic_inputs = keras.layers.Reshape((width, len(TOPIC_INPUTS)))(named["topics"])
    parts = _context(named["inputs"], inputs, topics)
    unroll = step = None
    if size.history:
        own = topic_inputs[:, :, WEIGHT] * (1.0 - topic_inputs[:, :, NEW])
        parts.append(keras.layers.Dense(64, activation="relu")(keras.layers.Dropout(0.1)(own)))
    if size.state:
        table = keras.layers.Embedding(topics + 1, size.embedding, name="event_topic")
        unroll, step = recurrent(size.state, table, topics, 3, 0.1)
        named["state"] = keras.Input((size.state,), name="state")
        parts.append(keras.layers.Dropout(size.drop)(named["state"]))
    h = keras.layers.Dense(size.hidden, activation="relu")(ops.concatenate(parts, axis=1))
    h = keras.layers.Dropout(size.drop)(h)
    query = keras.layers.Dense(size.query, use_bias=False, name="query")(
        ops.concatenate([h, parts[-1] if size.state else parts[0]], axis=1)
    )
    taste = keras.layers.Dense(width, name="taste")(query) * (1.0 - topic_inputs[:, :, NEW])
    read = _read(size)
    # no column selection if all are used: it would cost as much as the rest of the network
    about = topic_inputs if len(read) == len(TOPIC_INPUTS) else ops.take(topic_inputs, read, axis=2)
    score = taste + _weighed(about, h, _initial(read), "weight")
    scale = ops.array(np.array(SCALE, np.float32)[read])
    mixed = keras.layers.Dense(size.mixed, activation="relu", name="mix")(about * scale)
    free = ops.relu(topic_inputs[:, :, NEW] - 1.0)
    score = score + _weighed(mixed, h, "zeros", "mixed") + NEVER * free
    scores = keras.Model(named, {"probability": score}, name=name)
    answer = {"probability": ops.softmax(score)}
    return Network(keras.Model(named, answer, name=name), scores, step, unroll)


def _weighed(values: Tensor, h: Tensor, bias: Any, name: str) -> Tensor:
    """Return (n, width): the (n, width, k) values, weighted by coefficients of the learner."""
    import keras

    weight = keras.layers.Dense(
        values.shape[-1],
        kernel_initializer=keras.initializers.RandomNormal(0.0, 0.01),
        bias_initializer=bias,
        name=name,
    )(h)
    return keras.ops.sum(values * keras.ops.expand_dims(weight, 1), axis=2)


def _read(size: SequenceSize) -> list[int]:
    """Return the topic input columns that a network uses; the column for new is always included."""
    indices = {*PRIORS} if size.priors else set()
    if size.history:
        indices |= set(range(len(TOPIC_INPUTS))) - {*PRIORS}
    return sorted(indices | {NEW})


def _initial(read: list[int]) -> Any:
    """Return the initial weights: positive for the priors, 0 for the rest."""
    import keras

    start = {PRIORS[0]: 0.3, PRIORS[1]: 0.5}
    values = np.array([start.get(column, 0.0) for column in read], np.float32)
    return keras.initializers.Constant(values)


def _context(vector: Tensor, inputs: NDArray[np.float32], topics: int) -> list[Tensor]:
    """Embed the ids and scale the numbers of the twenty inputs."""
    import keras

    from training.architectures.reference import scaled

    ids = columns(RECOMMENDATION_INPUTS, "topic slot")
    kind = columns(RECOMMENDATION_INPUTS, "kind code")
    table = keras.layers.Embedding(topics + 1, 32, name="topic")
    kinds = keras.layers.Embedding(len(KINDS) + 1, 4, name="kind")
    flat = keras.layers.Flatten()
    return [
        keras.layers.Dropout(0.1)(flat(table(slots(keras.ops.take(vector, ids, axis=1), topics)))),
        flat(kinds(slots(keras.ops.take(vector, kind, axis=1), len(KINDS)))),
        scaled(vector, inputs, RECOMMENDATION_INPUTS),
    ]
