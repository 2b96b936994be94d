"""Next topic: a query from the learner's state, and a score of each topic from what is known.

score(j) = query . e_j + b_j + weight . known_j + mixed . hidden(known_j). The first two are
learned per topic and silent for a new one; `weight` and `mixed` depend on the learner, the knowns
are `contracts.TOPIC_INPUTS`: Markov priors, his own history with the topic, what all did lately;
`hidden` is one small layer that all topics share. A new topic is thus scored by what is known of
it, and so is everything for a new learner.

Sources: Volkovs et al. 2017 (NIPS, DropoutNet) for showing some topics as new in training;
Rendle et al. 2010 (WWW) for a Markov prior beside a learned taste; Hidasi et al. 2016 (ICLR) for
the recurrent state.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.input_indices import NEW, PRIORS
from sensei.contracts import KINDS, RECOMMENDATION_INPUTS, TOPIC_INPUTS, place
from training.architectures import Network, Tensor, columns, recurrent, slots

NEVER = -1e9  # score of a slot that no topic has yet

WEIGHT = place(TOPIC_INPUTS, "log_weight")

SCALE = [0.3 if each.unit.startswith("log") else 1.0 for each in TOPIC_INPUTS]
"""Brings logarithms near 1."""


@dataclass(frozen=True)
class SequenceSize:
    """What a network reads, and how wide it is.

    Attributes:
        state: units of the recurrent state; 0 reads no sequence.
        priors: whether the Markov priors are read.
        history: whether the learner's own history with each topic, and its recent popularity are.
        hidden: units of the hidden layer.
        query: dimensions in which query and topics meet.
        embedding: dimensions of a topic on the way in.
        mixed: units of the layer on what is known of a topic.
        drop: share of units dropped in training.
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
        inputs: (n, 20) training rows, from which the scaler is fitted.
        topics: number of topics with a slot.
        width: slots that are scored, those of newcomers included.
        size: what it reads.
        name: of the model.

    Returns:
        Network of {"inputs": (n, 20), "topics": (n, width * 16)}, and "state" where it has one, to
        {"probability": (n, width)}.
    """
    import keras
    from keras import ops

    given = {"inputs": keras.Input((len(RECOMMENDATION_INPUTS),), name="inputs")}
    given["topics"] = keras.Input((width * len(TOPIC_INPUTS),), name="topics")
    known = keras.layers.Reshape((width, len(TOPIC_INPUTS)))(given["topics"])
    parts = _context(given["inputs"], inputs, topics)
    unroll = step = None
    if size.history:
        own = known[:, :, WEIGHT] * (1.0 - known[:, :, NEW])
        parts.append(keras.layers.Dense(64, activation="relu")(keras.layers.Dropout(0.1)(own)))
    if size.state:
        table = keras.layers.Embedding(topics + 1, size.embedding, name="event_topic")
        unroll, step = recurrent(size.state, table, topics, 3, 0.1)
        given["state"] = keras.Input((size.state,), name="state")
        parts.append(keras.layers.Dropout(size.drop)(given["state"]))
    h = keras.layers.Dense(size.hidden, activation="relu")(ops.concatenate(parts, axis=1))
    h = keras.layers.Dropout(size.drop)(h)
    query = keras.layers.Dense(size.query, use_bias=False, name="query")(
        ops.concatenate([h, parts[-1] if size.state else parts[0]], axis=1)
    )
    taste = keras.layers.Dense(width, name="taste")(query) * (1.0 - known[:, :, NEW])
    read = _read(size)
    # all of them are read as they stand: taking columns would cost as much as the rest
    about = known if len(read) == len(TOPIC_INPUTS) else ops.take(known, read, axis=2)
    score = taste + _weighed(about, h, _initial(read), "weight")
    scale = ops.array(np.array(SCALE, np.float32)[read])
    mixed = keras.layers.Dense(size.mixed, activation="relu", name="mix")(about * scale)
    free = ops.relu(known[:, :, NEW] - 1.0)
    score = score + _weighed(mixed, h, "zeros", "mixed") + NEVER * free
    scores = keras.Model(given, {"probability": score}, name=name)
    answer = {"probability": ops.softmax(score)}
    return Network(keras.Model(given, answer, name=name), scores, step, unroll)


def _weighed(values: Tensor, h: Tensor, bias: Any, name: str) -> Tensor:
    """(n, width): the (n, width, k) values, weighed by numbers that depend on the learner."""
    import keras

    weight = keras.layers.Dense(
        values.shape[-1],
        kernel_initializer=keras.initializers.RandomNormal(0.0, 0.01),
        bias_initializer=bias,
        name=name,
    )(h)
    return keras.ops.sum(values * keras.ops.expand_dims(weight, 1), axis=2)


def _read(size: SequenceSize) -> list[int]:
    """Which of the knowns a network weighs; that a topic is new is always among them."""
    kept = {*PRIORS} if size.priors else set()
    if size.history:
        kept |= set(range(len(TOPIC_INPUTS))) - {*PRIORS}
    return sorted(kept | {NEW})


def _initial(read: list[int]) -> Any:
    """Weights to begin with: the priors count, the rest is to be learned."""
    import keras

    start = {PRIORS[0]: 0.3, PRIORS[1]: 0.5}
    values = np.array([start.get(column, 0.0) for column in read], np.float32)
    return keras.initializers.Constant(values)


def _context(given: Tensor, inputs: NDArray[np.float32], topics: int) -> list[Tensor]:
    """The twenty inputs: ids embedded, numbers scaled."""
    import keras

    from training.architectures.reference import scaled

    ids = columns(RECOMMENDATION_INPUTS, "topic slot")
    kind = columns(RECOMMENDATION_INPUTS, "kind code")
    table = keras.layers.Embedding(topics + 1, 32, name="topic")
    kinds = keras.layers.Embedding(len(KINDS) + 1, 4, name="kind")
    flat = keras.layers.Flatten()
    return [
        keras.layers.Dropout(0.1)(flat(table(slots(keras.ops.take(given, ids, axis=1), topics)))),
        flat(kinds(slots(keras.ops.take(given, kind, axis=1), len(KINDS)))),
        scaled(given, inputs, RECOMMENDATION_INPUTS),
    ]
