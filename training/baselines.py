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
    given = _given(len(RECOMMENDATION_INPUTS))
    nobody = slots(given[:, LAST], 0)
    return _named("most_popular", given, _table(popularity(statistics)[None])(nobody))


def repeat_last(statistics: Statistics) -> Model:
    """Recommend the learner's last topic again, then the topics with most events."""
    from keras import ops

    topics = len(statistics.topic_ids)
    given = _given(len(RECOMMENDATION_INPUTS))
    last = slots(given[:, LAST], topics)
    popular = _table(popularity(statistics)[None])(slots(given[:, LAST], 0))
    again = ops.one_hot(last, topics + 1, dtype="float32")
    shared = 1.0 - 0.5 * (1.0 - again[:, :1])
    return _named("repeat_last", given, 0.5 * again[:, 1:] + shared * popular)


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

    given, known = _known(width)
    followed = ops.exp(known[:, :, prior]) * ops.relu(1.0 - known[:, :, NEW])
    return _shares(name, given, followed + NEXT_TO_NOTHING)


def global_mean(statistics: Statistics) -> Model:
    """Predict the share of passes in training for every attempt.

    Args:
        statistics: counts of attempts, at least one of them scored.

    Returns:
        Model of {"inputs": (n, 4)} to {"success": (n, 3)}, the same at each level.
    """
    given = _given(len(DIFFICULTY_INPUTS))
    rate = np.full((1, len(LEVELS)), _share_of_passes(statistics))
    return _named("global_mean", given, _table(rate)(slots(given[:, 0], 0)), "success")


def topic_mean(statistics: Statistics) -> Model:
    """Predict the topic's share of passes, shrunk towards the overall one.

    Returns:
        Model of {"inputs": (n, 4), "topic": (n, 1) slot} to {"success": (n, 3)}.
    """
    import keras

    # slot 0 is an unknown topic; it gets the overall rate
    tried, won = (np.append(0, x) for x in (statistics.topic_attempts, statistics.topic_passes))
    rate = (won + PRIOR_ATTEMPTS * _share_of_passes(statistics)) / (tried + PRIOR_ATTEMPTS)
    given = _given(len(DIFFICULTY_INPUTS))
    topic = keras.Input((1,), name="topic")
    slot = slots(topic[:, 0], len(statistics.topic_ids))
    out = _table(np.repeat(rate[:, None], len(LEVELS), axis=1))(slot)
    named = keras.layers.Identity(name="success")(out)
    return keras.Model({"inputs": given, "topic": topic}, {"success": named}, name="topic_mean")


def _share_of_passes(statistics: Statistics) -> float:
    return float(statistics.topic_passes.sum() / statistics.topic_attempts.sum())


def proficiency() -> Model:
    """Predict the learner's shrunk share of passes on the topic: the sigmoid of the first input."""
    from keras import ops

    given = _given(len(DIFFICULTY_INPUTS))
    out = ops.repeat(ops.sigmoid(given[:, :1]), len(LEVELS), axis=1)
    return _named("proficiency", given, out, "success")


def recently_popular(width: int) -> Model:
    """Recommend the topics with most recent events, the same to everybody, new topics included.

    Args:
        width: number of slots that are scored, including those reserved for new topics.

    Returns:
        Model of {"topics": (n, width * 16)} to {"probability": (n, width)}.
    """
    from keras import ops

    given, known = _known(width)
    return _shares("recently_popular", given, ops.exp(known[:, :, RECENT_7]))


def most_frequent(width: int) -> Model:
    """Recommend the topics that the learner has studied most; recent popularity decides ties."""
    from keras import ops

    given, known = _known(width)
    recent = ops.softmax(known[:, :, RECENT_7])
    return _shares("most_frequent", given, ops.expm1(known[:, :, COUNT]) + 0.5 * recent)


def habits(width: int) -> Model:
    """Recommend topics that the learner often studies and that are popular, once per day each."""
    from keras import ops

    given, known = _known(width)
    recent = ops.exp(known[:, :, RECENT_7])
    often = ops.expm1(known[:, :, COUNT]) + 0.5
    return _shares("habits", given, often * recent * (1.0 - 0.999 * known[:, :, TODAY]))


def _known(width: int) -> tuple[Tensor, Tensor]:
    import keras

    given = keras.Input((width * len(TOPIC_INPUTS),), name="topics")
    return given, keras.layers.Reshape((width, len(TOPIC_INPUTS)))(given)


def _shares(name: str, given: Tensor, weight: Tensor) -> Model:
    """Normalise weights to shares of 1; a slot without a topic gets 0."""
    import keras

    known = keras.ops.reshape(given, (-1, weight.shape[1], len(TOPIC_INPUTS)))
    weight = weight * keras.ops.minimum(1.0, keras.ops.relu(2.0 - known[:, :, NEW]))
    total = keras.ops.sum(weight, axis=1, keepdims=True)  # 0 if every topic is new
    share = weight / keras.ops.maximum(total, 1e-30)
    return keras.Model({"topics": given}, {"probability": share}, name=name)


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


def _given(width: int) -> Tensor:
    import keras

    return keras.Input((width,), name="inputs")


def _named(name: str, given: Tensor, out: Tensor, output: str = "probability") -> Model:
    import keras

    return keras.Model(
        {"inputs": given}, {output: keras.layers.Identity(name=output)(out)}, name=name
    )
