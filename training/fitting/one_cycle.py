"""Fit by one cycle of the learning rate: compiled by the epoch, the weights a running mean."""

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.architectures import Model
from training.data.row_chunks import RowChunks

Data = tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]
"""Inputs and answers by name."""

WARM_UP = 0.1
"""Share of the updates in which the rate rises; in the others it falls."""

FLOOR = 0.3
"""Share of its peak that the rate keeps: the mean of the weights is what settles."""

KEPT, KEPT_SQUARES = 0.9, 0.99
"""Of Adam's moments at each update: with few of them, the first ones must be forgotten."""

REMEMBERED = 1.3
"""Epochs that the running mean of the weights reaches back."""

NINTH = 9
"""Early on the mean reaches back a ninth of the updates made: the beginning is soon forgotten."""

UPDATES_PER_EPOCH = 120
"""With fewer in an epoch a fit of few rows would end before it began."""

SMALLEST_BATCH = 32

JUDGED = 4096
"""Rows asked at a time in validation."""


def scaled(batch: int, rate: float, rows: int, updates: int) -> tuple[int, float]:
    """Batch and learning rate for so many rows.

    Args:
        batch: most rows in a batch.
        rate: what suits that batch; it falls with the root of the batch.
        rows: to learn from.
        updates: least batches an epoch, of `SMALLEST_BATCH` rows or more.
    """
    fitting = min(batch, max(SMALLEST_BATCH, rows // updates))
    return fitting, rate * math.sqrt(fitting / batch)


@dataclass(frozen=True)
class OneCycleSchedule:
    """How fast is learned.

    Attributes:
        batch: most rows in a batch.
        rate: peak of the learning rate.
        decay: of the weights, as a share of the rate.
        epochs: of the whole cycle.
        patience: epochs without progress before it ends sooner.
    """

    batch: int
    rate: float
    decay: float
    epochs: int
    patience: int

    def scaled(self, rows: int) -> "OneCycleSchedule":
        """The same for so many rows: a small log gets smaller batches, and a rate to match.

        At least `UPDATES_PER_EPOCH` batches an epoch, of 32 rows or more; the rate falls with the
        root of the batch.
        """
        batch, rate = scaled(self.batch, self.rate, rows, UPDATES_PER_EPOCH)
        return replace(self, batch=batch, rate=rate)


def cycle(
    model: Model,
    loss: str,
    train: RowChunks[Data],
    validate: Data,
    seed: int,
    pace: OneCycleSchedule,
) -> Generator[dict[str, float], None, None]:
    """Fit a model in place by AdamW; the rate rises from nothing to its peak and falls again.

    Rows are gathered inside the compiled loop: handing over batches takes longer than learning from
    them. A mean of the last weights does better than any of them, and sooner.

    Args:
        model: inputs by name -> one answer, by name.
        loss: Keras' name of the loss.
        train: (n, ...) inputs and (n,) answers, shard by shard.
        validate: the same, to judge by after each epoch.
        seed: seed of the order of rows and of dropout.
        pace: batch, rate, decay and epochs.

    Yields:
        After each epoch `loss` and `val_loss`, means over the rows. Until the next is asked for,
        the model has the mean weights.
    """
    import keras

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    learner = _Learner(model, loss, pace, train.counts)
    learn = _over_rows(learner.step, pace.batch)
    judge = _over_rows(lambda data: learner.summed(data, training=False), JUDGED)
    held, pieces = _tensors(validate), _kept(train)
    for _ in range(pace.epochs):
        learned = [_asked(learn, piece, rng) for piece in pieces.shuffled(rng)]
        with learner.averaged():
            yield {"loss": _mean(learned), "val_loss": _mean([_asked(judge, held)])}


class _Learner:
    """A model, all its weights as one vector, Adam's moments and the running mean of it.

    One vector, because an update of each layer by itself takes as long as the gradients.
    """

    def __init__(
        self, model: Model, loss: str, pace: OneCycleSchedule, counts: tuple[int, ...]
    ) -> None:
        import keras
        import tensorflow as tf

        self._model, self._loss, self._pace = model, keras.losses.get(loss), pace
        self._layers = [each.value for each in model.trainable_variables]
        start = _flat(self._layers)
        self._weights, self._mean = tf.Variable(start), tf.Variable(start)
        self._moments = tf.Variable(tf.zeros_like(start)), tf.Variable(tf.zeros_like(start))
        self._count = tf.Variable(0.0)
        self._epoch = max(sum(-(-rows // pace.batch) for rows in counts), 1)

    def summed(self, data: Any, training: bool) -> Any:
        """Loss, summed over the rows."""
        import tensorflow as tf

        inputs, answers = data
        given = self._model(inputs, training=training)
        ((name, wanted),) = answers.items()
        return tf.reduce_sum(self._loss(wanted[:, None], given[name]))

    def step(self, data: Any) -> Any:
        """One update from a batch, at the rate of its place in the cycle; gives the summed loss."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            summed = self.summed(data, training=True)
            mean = summed / tf.cast(_rows(data), tf.float32)
        gradient = _flat(tape.gradient(mean, self._layers))
        count = self._count.assign_add(1.0)
        done = count / (self._pace.epochs * self._epoch)
        fall = tf.maximum((1 - done) / (1 - WARM_UP), FLOOR)
        rate = self._pace.rate * tf.minimum(done / WARM_UP, fall)
        self._weights.assign_sub(rate * self._pace.decay * self._weights)
        self._adam(gradient, rate, count)
        share = tf.maximum(1 / (REMEMBERED * self._epoch), NINTH / (count + NINTH))
        self._mean.assign_add(share * (self._weights - self._mean))
        self._show(self._weights)
        return summed

    def _adam(self, gradient: Any, rate: Any, count: Any) -> None:
        import tensorflow as tf

        first, second = self._moments
        tf.raw_ops.ResourceApplyAdam(
            var=self._weights.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=KEPT**count,
            beta2_power=KEPT_SQUARES**count,
            lr=rate,
            beta1=KEPT,
            beta2=KEPT_SQUARES,
            epsilon=1e-7,
            grad=gradient,
        )

    def _show(self, weights: Any) -> None:
        """Give the model these weights."""
        import tensorflow as tf

        parts = tf.split(weights, [layer.shape.num_elements() for layer in self._layers])
        for layer, part in zip(self._layers, parts, strict=True):
            layer.assign(tf.reshape(part, layer.shape))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with the mean of its last weights; afterwards it goes on from its own."""
        self._show(self._mean)
        yield
        self._show(self._weights)


def _flat(tensors: list[Any]) -> Any:
    """All numbers as one vector."""
    import tensorflow as tf

    return tf.concat([tf.reshape(each, (-1,)) for each in tensors], axis=0)


def _kept(train: RowChunks[Data]) -> RowChunks[Any]:
    """The same as tensors: made once where the log is in memory, else anew in every epoch."""
    if len(train.places) > 1:
        return train.map(_tensors)
    return RowChunks.held(_tensors(train.first), max(len(train), 1))


def _tensors(data: Data) -> Any:
    import tensorflow as tf

    return tf.nest.map_structure(tf.constant, data)


def _rows(data: Any) -> Any:
    import tensorflow as tf

    return tf.shape(next(iter(data[1].values())))[0]


def _over_rows(step: Callable[[Any], Any], batch: int) -> Callable[[Any, Any], Any]:
    """Compiled: the sum of `step` over data, `batch` rows at a time in the order given."""
    import tensorflow as tf

    def loop(data: Any, order: Any) -> Any:
        def body(start: Any, total: Any) -> tuple[Any, Any]:
            rows = order[start : start + batch]
            found = step(tf.nest.map_structure(lambda values: tf.gather(values, rows), data))
            return start + batch, total + found

        rows = tf.shape(order)[0]
        return tf.while_loop(lambda start, _: start < rows, body, (0, 0.0))[1]

    compiled: Callable[[Any, Any], Any] = tf.function(loop, reduce_retracing=True)
    return compiled


def _asked(
    loop: Callable[[Any, Any], Any], data: Any, rng: np.random.Generator | None = None
) -> tuple[int, float]:
    """Rows of a piece, and the sum over them."""
    rows = int(_rows(data))
    order = np.arange(rows) if rng is None else rng.permutation(rows)
    return rows, float(loop(data, order.astype(np.int32)))


def _mean(found: list[tuple[int, float]]) -> float:
    return sum(total for _, total in found) / max(sum(rows for rows, _ in found), 1)
