"""Counting models as Keras models with fixed weights: one path registers, exports and serves all.

What a network must beat. Nothing in them is fitted by gradient, and their size is capped whatever
the log.
"""

import numpy as np
from numpy.typing import NDArray

from sensei.contracts import (
    DIFFICULTY_INPUTS,
    LEVELS,
    RECOMMENDATION_INPUTS,
    TOPIC_INPUTS,
    place,
)
from training.architectures import Model, Tensor, slots
from training.continuations import Pairs, continuation_table, pair_continuations

LAST, BEFORE = 0, 1
EVENTS_SO_FAR = place(RECOMMENDATION_INPUTS, "log_events")
COUNT, RECENT_7, TODAY = (place(TOPIC_INPUTS, name) for name in ("log_count", "recent_7", "today"))

PRIOR_ATTEMPTS = 4.0
"""Attempts that the overall pass rate weighs in a topic's."""

Floats = NDArray[np.float32]
Slots = NDArray[np.int32]


def most_popular(target: Slots, topics: int) -> Model:
    """Recommend what is studied most, to everybody.

    Args:
        target: (n,) slots of the training targets; slot 0 counts for nothing.
        topics: number of topics with a slot.

    Returns:
        Model of {"inputs": (n, 20)} to {"probability": (n, topics)}, as all of this module's.
    """
    given = _given(len(RECOMMENDATION_INPUTS))
    nobody = slots(given[:, LAST], 0)
    return _named("most_popular", given, _table(popularity(target, topics)[None])(nobody))


def repeat_last(target: Slots, topics: int) -> Model:
    """Recommend the learner's last topic again, then what is studied most."""
    from keras import ops

    given = _given(len(RECOMMENDATION_INPUTS))
    last = slots(given[:, LAST], topics)
    popular = _table(popularity(target, topics)[None])(slots(given[:, LAST], 0))
    again = ops.one_hot(last, topics + 1, dtype="float32")
    shared = 1.0 - 0.5 * (1.0 - again[:, :1])
    return _named("repeat_last", given, 0.5 * again[:, 1:] + shared * popular)


def markov_1(inputs: Floats, target: Slots, topics: int) -> Model:
    """Recommend what followed the last topic most often, backed off to what is studied most."""
    given = _given(len(RECOMMENDATION_INPUTS))
    return _named("markov_1", given, _markov_1(given, inputs, target, topics))


def markov_2(inputs: Floats, target: Slots, topics: int) -> Model:
    """Recommend what followed the last two topics most often, backed off to the last one.

    Source: Witten & Bell 1991 (IEEE Trans. Inf. Theory 37(4)) for the weight of the back-off.
    """
    from keras import ops

    given = _given(len(RECOMMENDATION_INPUTS))
    backed_off = _markov_1(given, inputs, target, topics)
    pairs = pair_continuations(_whole(inputs[:, LAST]), _whole(inputs[:, BEFORE]), target, topics)
    followers, share = _followers(pairs, given, topics)
    out = backed_off * (1.0 - ops.sum(share, axis=1, keepdims=True))
    for k in range(share.shape[1]):  # one by one: n x topics numbers at a time, not that times k
        hot = ops.one_hot(followers[:, k], topics + 1, dtype="float32")
        out = out + share[:, k : k + 1] * hot[:, 1:]
    return _named("markov_2", given, out)


def global_mean(passed: NDArray[np.int8]) -> Model:
    """Expect of every attempt what was the share of passes in training.

    Args:
        passed: (n,) 1 or 0 for each training attempt.

    Returns:
        Model of {"inputs": (n, 4)} to {"success": (n, 3)}, the same at each level.
    """
    given = _given(len(DIFFICULTY_INPUTS))
    rate = np.full((1, len(LEVELS)), passed.mean())
    return _named("global_mean", given, _table(rate)(slots(given[:, 0], 0)), "success")


def topic_mean(target: Slots, passed: NDArray[np.int8], topics: int) -> Model:
    """Expect of an attempt the topic's share of passes, shrunk towards the overall one.

    Args:
        target: (n,) slots of the training attempts' topics.
        passed: (n,) 1 or 0.
        topics: number of topics with a slot.

    Returns:
        Model of {"inputs": (n, 4), "topic": (n, 1) slot} to {"success": (n, 3)}.
    """
    import keras

    tried = np.bincount(target, minlength=topics + 1).astype(float)
    won = np.bincount(target, passed, minlength=topics + 1)
    tried[0] = won[0] = 0.0  # an unknown topic has the overall rate
    rate = (won + PRIOR_ATTEMPTS * passed.mean()) / (tried + PRIOR_ATTEMPTS)
    given = _given(len(DIFFICULTY_INPUTS))
    topic = keras.Input((1,), name="topic")
    out = _table(np.repeat(rate[:, None], len(LEVELS), axis=1))(slots(topic[:, 0], topics))
    named = keras.layers.Identity(name="success")(out)
    return keras.Model({"inputs": given, "topic": topic}, {"success": named}, name="topic_mean")


def proficiency() -> Model:
    """Expect the learner's shrunk share of passes on the topic: the sigmoid of input 1."""
    from keras import ops

    given = _given(len(DIFFICULTY_INPUTS))
    out = ops.repeat(ops.sigmoid(given[:, :1]), len(LEVELS), axis=1)
    return _named("proficiency", given, out, "success")


def recently_popular(width: int) -> Model:
    """Recommend what all studied most in the last days, to everybody, new topics included.

    Args:
        width: slots that are scored, those of newcomers included.

    Returns:
        Model of {"topics": (n, width * 13)} to {"probability": (n, width)}.
    """
    from keras import ops

    given, known = _known(width)
    return _shares("recently_popular", given, ops.exp(known[:, :, RECENT_7]))


def most_frequent(width: int) -> Model:
    """Recommend what the learner himself has studied most, ties by what all studied lately."""
    from keras import ops

    given, known = _known(width)
    recent = ops.softmax(known[:, :, RECENT_7])
    return _shares("most_frequent", given, ops.expm1(known[:, :, COUNT]) + 0.5 * recent)


def habits(width: int) -> Model:
    """Recommend what the learner often studies and all study lately, but not again on one day."""
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
    import keras

    share = weight / keras.ops.sum(weight, axis=1, keepdims=True)
    return keras.Model({"topics": given}, {"probability": share}, name=name)


def popularity(target: Slots, topics: int) -> NDArray[np.float64]:
    """Share of each topic among the targets, (topics,); one count added to each: none is 0."""
    counts = np.bincount(target, minlength=topics + 1)[1 : topics + 1] + 1.0
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def _markov_1(given: Tensor, inputs: Floats, target: Slots, topics: int) -> Tensor:
    """P(next | last); a first event has a context of its own, an unknown topic has none."""
    from keras import ops

    start = topics + 1
    context = np.where(inputs[:, EVENTS_SO_FAR] == 0, start, _whole(inputs[:, LAST]))
    row_of_context, table = continuation_table(context, target, popularity(target, topics))
    first = ops.cast(ops.equal(given[:, EVENTS_SO_FAR], 0.0), "int32")
    asked = first * start + (1 - first) * slots(given[:, LAST], topics)
    return _table(table)(_table(row_of_context[:, None])(asked)[:, 0])


def _followers(pairs: Pairs, given: Tensor, topics: int) -> tuple[Tensor, Tensor]:
    """Slots (n, k) that followed the pair asked about, and their shares (n, k); 0 where unknown."""
    from keras import ops

    last, before = slots(given[:, LAST], topics), slots(given[:, BEFORE], topics)
    at = ops.mod(last * pairs.multiplier + before, len(pairs.index))
    entry = _table(pairs.index)(at)
    right = ops.equal(ops.cast(entry[:, 0], "int32"), last)
    row = ops.where(right, ops.cast(entry[:, 1], "int32"), ops.zeros_like(last))
    return (
        ops.cast(_table(pairs.followers)(row), "int32"),
        _table(pairs.share)(row),
    )


def _table(values: NDArray[np.floating] | NDArray[np.int64]) -> Tensor:
    """A layer that looks rows up; whole numbers in it are exact up to 2**24."""
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


def _whole(values: Floats) -> NDArray[np.int64]:
    return values.astype(np.int64)
