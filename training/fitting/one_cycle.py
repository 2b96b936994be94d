"""One-cycle learning rate schedule with epochs compiled as a whole and averaged weights."""

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
"""Inputs and targets by name."""

WARM_UP = 0.1
"""Share of the updates during which the rate rises; it falls during the others."""

FLOOR = 0.3
"""Minimum rate during the fall, as a share of its peak; the averaged weights still converge."""

KEPT, KEPT_SQUARES = 0.9, 0.99
"""Decay rates of Adam's two moments, low enough for a fit with few updates."""

REMEMBERED = 1.3
"""Length of the running mean of the weights, in epochs."""

NINTH = 9
"""Divisor of the updates made: early on, the running mean covers the last ninth of them.

So the mean soon forgets the initial weights.
"""

UPDATES_PER_EPOCH = 120
"""Minimum number of updates per epoch; with fewer, a fit of few rows would stop too early."""

SMALLEST_BATCH = 32

JUDGED = 4096
"""Number of rows per batch in validation."""


def scaled(batch: int, rate: float, rows: int, updates: int) -> tuple[int, float]:
    """Return batch size and learning rate for a number of rows.

    Args:
        batch: maximum number of rows in a batch.
        rate: rate for that batch size; proportional to the square root of the batch size.
        rows: number of training rows.
        updates: minimum number of batches per epoch, unless a batch would have fewer than
            `SMALLEST_BATCH` rows.
    """
    fitting = min(batch, max(SMALLEST_BATCH, rows // updates))
    return fitting, rate * math.sqrt(fitting / batch)


@dataclass(frozen=True)
class OneCycleSchedule:
    """Settings of a fit with a one-cycle learning rate.

    Attributes:
        batch: maximum number of rows in a batch.
        rate: peak learning rate.
        decay: weight decay, as a share of the rate.
        epochs: number of epochs of the whole cycle.
        patience: epochs without progress before the fit stops early.
    """

    batch: int
    rate: float
    decay: float
    epochs: int
    patience: int

    def scaled(self, rows: int) -> "OneCycleSchedule":
        """Adapt the schedule to a number of rows: a small log gets small batches and a lower rate.

        An epoch has at least `UPDATES_PER_EPOCH` batches unless a batch would have fewer than 32
        rows. The rate is proportional to the square root of the batch size.
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
    """Fit a model in place with AdamW; the rate rises from 0 to its peak and falls again.

    Rows are gathered inside the compiled loop, because passing batches from Python takes longer
    than training on them. The mean of the recent weights is better than the last weights, and
    sooner.

    Args:
        model: inputs by name -> one output, by name.
        loss: Keras' name of the loss.
        train: (n, ...) inputs and (n,) targets, one chunk per shard.
        validate: the same for validation after each epoch.
        seed: seed for the order of rows and for dropout.
        pace: batch, rate, decay and epochs.

    Yields:
        `loss` and `val_loss` after each epoch, means over the rows. Until the next epoch is
        requested, the model has the averaged weights.
    """
    import keras

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    learner = _Learner(model, loss, pace, train.counts)
    learn = _over_rows(learner.step, pace.batch)
    judge = _over_rows(lambda data: learner.summed(data, training=False), JUDGED)
    held_out, pieces = _tensors(validate), _kept(train)
    for _ in range(pace.epochs):
        learned = [_asked(learn, piece, rng) for piece in pieces.shuffled(rng)]
        with learner.averaged():
            yield {"loss": _mean(learned), "val_loss": _mean([_asked(judge, held_out)])}


class _Learner:
    """Training state: a model, its weights as one vector, Adam's moments and the averaged weights.

    The weights are one vector because updates layer by layer take as long as the gradients.
    """

    def __init__(
        self, model: Model, loss: str, pace: OneCycleSchedule, counts: tuple[int, ...]
    ) -> None:
        import keras
        import tensorflow as tf

        self._model, self._loss, self._pace = model, keras.losses.get(loss), pace
        self._layers = [variable.value for variable in model.trainable_variables]
        start = _flat(self._layers)
        self._weights, self._mean = tf.Variable(start), tf.Variable(start)
        self._moments = tf.Variable(tf.zeros_like(start)), tf.Variable(tf.zeros_like(start))
        self._count = tf.Variable(0.0)
        self._epoch = max(sum(-(-rows // pace.batch) for rows in counts), 1)

    def summed(self, data: Any, training: bool) -> Any:
        """Return the loss, summed over the rows."""
        import tensorflow as tf

        inputs, answers = data
        outputs = self._model(inputs, training=training)
        ((name, target),) = answers.items()
        return tf.reduce_sum(self._loss(target[:, None], outputs[name]))

    def step(self, data: Any) -> Any:
        """Run one update from a batch, at the rate of the current step; return the summed loss."""
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
        """Assign these weights to the model."""
        import tensorflow as tf

        parts = tf.split(weights, [layer.shape.num_elements() for layer in self._layers])
        for layer, part in zip(self._layers, parts, strict=True):
            layer.assign(tf.reshape(part, layer.shape))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the averaged weights within the context, then restore its own."""
        self._show(self._mean)
        yield
        self._show(self._weights)


def _flat(tensors: list[Any]) -> Any:
    """Concatenate all values into one vector."""
    import tensorflow as tf

    return tf.concat([tf.reshape(tensor, (-1,)) for tensor in tensors], axis=0)


def _kept(train: RowChunks[Data]) -> RowChunks[Any]:
    """Return the chunks as tensors: built once for a log in memory, else in every epoch."""
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
    """Compile the sum of `step` over data, `batch` rows at a time in a given order."""
    import tensorflow as tf

    def loop(data: Any, order: Any) -> Any:
        def body(start: Any, total: Any) -> tuple[Any, Any]:
            rows = order[start : start + batch]
            of_batch = step(tf.nest.map_structure(lambda values: tf.gather(values, rows), data))
            return start + batch, total + of_batch

        rows = tf.shape(order)[0]
        return tf.while_loop(lambda start, _: start < rows, body, (0, 0.0))[1]

    compiled: Callable[[Any, Any], Any] = tf.function(loop, reduce_retracing=True)
    return compiled


def _asked(
    loop: Callable[[Any, Any], Any], data: Any, rng: np.random.Generator | None = None
) -> tuple[int, float]:
    """Return the number of rows of a chunk, and the sum over them."""
    rows = int(_rows(data))
    order = np.arange(rows) if rng is None else rng.permutation(rows)
    return rows, float(loop(data, order.astype(np.int32)))


def _mean(sums: list[tuple[int, float]]) -> float:
    return sum(total for _, total in sums) / max(sum(rows for rows, _ in sums), 1)
