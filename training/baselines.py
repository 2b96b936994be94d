"""Baselines: counting models as Keras models with fixed weights, served like networks.

Networks are compared with them. No weight is fitted by gradient. Baselines use only the counts of
`features.corpus.statistics`, which are sums over learners, and the topic inputs at each moment.
"""

import numpy as np
from numpy.typing import NDArray

from features.corpus.statistics import Statistics
from features.input_indices import NEW, PRIORS
from sensei.contracts import (
    DIFFICULTY_INPUTS,
    LEVELS,
    RECOMMENDATION_INPUTS,
    TOPIC_INPUTS,
    place,
)
from training.architectures import Model, Tensor, slots

LAST = 0
COUNT, RECENT_7, TODAY = (place(TOPIC_INPUTS, name) for name in ("log_count", "recent_7", "today"))

PRIOR_ATTEMPTS = 4.0
"""Weight of the overall pass rate in a topic's pass rate, in attempts."""

NEXT_TO_NOTHING = 1e-9
"""Minimum weight of a topic, so that the shares always add up to 1."""


def most_popular(statistics: Statistics) -> Model:
    """Recommend the topics with most events, the same to everybody.

    Args:
        statistics: counts up to the training cutoff.

    Returns:
        Model of {"inputs": (n, 20)} to {"probability": (n, topics)}.
    """
    vector = _vector_input(len(RECOMMENDATION_INPUTS))
    nobody = slots(vector[:, LAST], 0)
    return _named("most_popular", vector, _table(popularity(statistics)[None])(nobody))


def repeat_last(statistics: Statistics) -> Model:
    """Recommend the learner's last topic again, then the topics with most events."""
    from keras import ops

    topics = len(statistics.topic_ids)
    vector = _vector_input(len(RECOMMENDATION_INPUTS))
    last = slots(vector[:, LAST], topics)
    popular = _table(popularity(statistics)[None])(slots(vector[:, LAST], 0))
    again = ops.one_hot(last, topics + 1, dtype="float32")
    shared = 1.0 - 0.5 * (1.0 - again[:, :1])
    return _named("repeat_last", vector, 0.5 * again[:, 1:] + shared * popular)


def markov_1(width: int) -> Model:
    """Recommend the topics that most often followed the last topic, backed off to popularity.

    Args:
        width: number of slots that are scored; topics without counts come last.

    Returns:
        Model of {"topics": (n, width * 16)} to {"probability": (n, width)}. The counts are those
        of `features.corpus.transitions`, stored with the model in its statistics.
    """
    return _followed("markov_1", width, PRIORS[0])


def markov_2(width: int) -> Model:
    """Recommend the topics that most often followed the last two, backed off to the last one."""
    return _followed("markov_2", width, PRIORS[1])


def _followed(name: str, width: int, prior: int) -> Model:
    from keras import ops

    flat, topic_inputs = _topic_inputs(width)
    followed = ops.exp(topic_inputs[:, :, prior]) * ops.relu(1.0 - topic_inputs[:, :, NEW])
    return _shares(name, flat, followed + NEXT_TO_NOTHING)


def global_mean(statistics: Statistics) -> Model:
    """Predict the share of passes in training for every attempt.

    Args:
        statistics: counts of attempts, at least one of them scored.

    Returns:
        Model of {"inputs": (n, 4)} to {"success": (n, 3)}, the same at each level.
    """
    vector = _vector_input(len(DIFFICULTY_INPUTS))
    rate = np.full((1, len(LEVELS)), _share_of_passes(statistics))
    return _named("global_mean", vector, _table(rate)(slots(vector[:, 0], 0)), "success")


def topic_mean(statistics: Statistics) -> Model:
    """Predict the topic's share of passes, shrunk towards the overall one.

    Returns:
        Model of {"inputs": (n, 4), "topic": (n, 1) slot} to {"success": (n, 3)}.
    """
    import keras

    # slot 0 is an unknown topic; it gets the overall rate
    tried, won = (np.append(0, x) for x in (statistics.topic_attempts, statistics.topic_passes))
    rate = (won + PRIOR_ATTEMPTS * _share_of_passes(statistics)) / (tried + PRIOR_ATTEMPTS)
    vector = _vector_input(len(DIFFICULTY_INPUTS))
    topic = keras.Input((1,), name="topic")
    slot = slots(topic[:, 0], len(statistics.topic_ids))
    out = _table(np.repeat(rate[:, None], len(LEVELS), axis=1))(slot)
    named = keras.layers.Identity(name="success")(out)
    return keras.Model({"inputs": vector, "topic": topic}, {"success": named}, name="topic_mean")


def _share_of_passes(statistics: Statistics) -> float:
    return float(statistics.topic_passes.sum() / statistics.topic_attempts.sum())


def proficiency() -> Model:
    """Predict the learner's shrunk share of passes on the topic: the sigmoid of the first input."""
    from keras import ops

    vector = _vector_input(len(DIFFICULTY_INPUTS))
    out = ops.repeat(ops.sigmoid(vector[:, :1]), len(LEVELS), axis=1)
    return _named("proficiency", vector, out, "success")


def recently_popular(width: int) -> Model:
    """Recommend the topics with most recent events, the same to everybody, new topics included.

    Args:
        width: number of slots that are scored, including those reserved for new topics.

    Returns:
        Model of {"topics": (n, width * 16)} to {"probability": (n, width)}.
    """
    from keras import ops

    flat, topic_inputs = _topic_inputs(width)
    return _shares("recently_popular", flat, ops.exp(topic_inputs[:, :, RECENT_7]))


def most_frequent(width: int) -> Model:
    """Recommend the topics that the learner has studied most; recent popularity decides ties."""
    from keras import ops

    flat, topic_inputs = _topic_inputs(width)
    recent = ops.softmax(topic_inputs[:, :, RECENT_7])
    return _shares("most_frequent", flat, ops.expm1(topic_inputs[:, :, COUNT]) + 0.5 * recent)


def habits(width: int) -> Model:
    """Recommend topics that the learner often studies and that are popular, once per day each."""
    from keras import ops

    flat, topic_inputs = _topic_inputs(width)
    recent = ops.exp(topic_inputs[:, :, RECENT_7])
    often = ops.expm1(topic_inputs[:, :, COUNT]) + 0.5
    return _shares("habits", flat, often * recent * (1.0 - 0.999 * topic_inputs[:, :, TODAY]))


def _topic_inputs(width: int) -> tuple[Tensor, Tensor]:
    import keras

    flat = keras.Input((width * len(TOPIC_INPUTS),), name="topics")
    return flat, keras.layers.Reshape((width, len(TOPIC_INPUTS)))(flat)


def _shares(name: str, flat: Tensor, weight: Tensor) -> Model:
    """Normalise weights to shares of 1; a slot without a topic gets 0."""
    import keras

    topic_inputs = keras.ops.reshape(flat, (-1, weight.shape[1], len(TOPIC_INPUTS)))
    weight = weight * keras.ops.minimum(1.0, keras.ops.relu(2.0 - topic_inputs[:, :, NEW]))
    total = keras.ops.sum(weight, axis=1, keepdims=True)  # 0 if every topic is new
    share = weight / keras.ops.maximum(total, 1e-30)
    return keras.Model({"topics": flat}, {"probability": share}, name=name)


def popularity(statistics: Statistics) -> NDArray[np.float64]:
    """Return the (topics,) share of each topic among all events, with one count added to each."""
    counts = statistics.topic_events + 1.0
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def _table(values: NDArray[np.floating] | NDArray[np.int64]) -> Tensor:
    """Return a lookup layer of rows; integers in it are exact up to 2**24."""
    import keras

    rows, width = values.shape
    layer = keras.layers.Embedding(rows, width, trainable=False)
    layer.build((None,))
    layer.set_weights([values.astype(np.float32)])
    return layer


def _vector_input(width: int) -> Tensor:
    import keras

    return keras.Input((width,), name="inputs")


def _named(name: str, vector: Tensor, out: Tensor, output: str = "probability") -> Model:
    import keras

    return keras.Model(
        {"inputs": vector}, {output: keras.layers.Identity(name=output)(out)}, name=name
    )
