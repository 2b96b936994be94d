"""Training loop and batched prediction of networks that read event sequences."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.sequences import EVERY
from sensei.errors import NotEnoughData
from training.architectures import Network
from training.data.batching import Batch, BatchFeed, Rows, ahead
from training.data.row_chunks import RowChunks
from training.fitting.keras_fit import Curves, Progress
from training.scores import Answers

Hide = Callable[[Batch, np.random.Generator], None]
"""Function that masks parts of a training batch in place, a form of dropout on inputs."""

Lesson = tuple[BatchFeed, dict[str, NDArray[Any]]]
"""Training rows, and the targets of the loss: name -> (n,) values."""

Loss = Callable[[dict[str, Any], dict[str, Any]], Any]
"""Function of scores by name and a batch; returns the (n,) loss per row, in TensorFlow."""

CELLS = 2**23
"""Maximum number of input values per prediction batch (32 MB), for any number of topics."""


@dataclass(frozen=True)
class Schedule:
    """Fitting schedule: AdamW with a warm-up and a cosine decay of the learning rate.

    Attributes:
        epochs: maximum number of epochs; in the last one the rate reaches 2 % of its peak.
        patience: epochs without a better validation figure before the fit stops.
        rate: peak learning rate.
        decay: weight decay.
        cells: number of events per batch, padding included.
        stretch: maximum number of a learner's rows in one segment.
        reach: number of events before a segment from which its state is computed.
    """

    epochs: int = 8
    patience: int = 2
    rate: float = 4e-3
    decay: float = 1e-4
    cells: int = 1024
    stretch: int = 64
    reach: int = 32


@dataclass(frozen=True)
class LearningTask:
    """Training rows, loss and validation figure of one fit.

    Attributes:
        train: training rows, one chunk per shard.
        loss: loss per row.
        judge: computes a figure from the answers on the validation rows; lower is better.
        validate: validation rows.
        hide: applied to each training batch.
    """

    train: RowChunks[Lesson]
    loss: Loss
    judge: Callable[[Answers], float]
    validate: BatchFeed
    hide: Hide


def fit(
    network: Network,
    task: LearningTask,
    schedule: Schedule,
    seed: int,
    progress: Progress | None = None,
) -> Curves:
    """Fit a network in place and restore the weights of the best epoch.

    Args:
        network: built after `keras.utils.set_random_seed(seed)`.
        task: rows, loss and validation figure.
        schedule: epochs, learning rate and batch size.
        seed: seed for the order of shards and batches, and for `task.hide`.
        progress: called after each epoch with its number and `loss`, `val_loss` (the value of
            `task.judge`), `seconds`, and `epochs`, the maximum number of epochs.

    Returns:
        `loss`, `val_loss` and `seconds` of each epoch.

    Raises:
        NotEnoughData: no epoch had a finite validation figure, so none is the best.
    """
    import keras

    rng = np.random.default_rng(seed)
    names = set(network.read.input)
    reach = schedule.reach if network.state else 0
    pieces = (schedule.cells, schedule.stretch, reach)
    steps = _batches(task.train, pieces) * schedule.epochs
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4,
        steps,
        alpha=0.02 * schedule.rate / 1e-4,
        warmup_target=schedule.rate,
        warmup_steps=max(1, steps // 20),
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=schedule.decay, global_clipnorm=1.0, beta_2=0.99
    )
    step, ask = _compiled_step(network, optimizer, task.loss), BatchPredictor(network)

    def requests() -> Iterator[tuple[Lesson, Rows]]:
        for lesson in task.train.shuffled(rng):
            for rows in lesson[0].batches(*pieces, rng):
                yield lesson, rows

    def make(request: tuple[Lesson, Rows]) -> Batch:
        (feed, targets), rows = request
        batch = feed.inputs(rows, names, reach)
        task.hide(batch, rng)
        return batch | {name: values[rows] for name, values in targets.items()}

    curves: Curves = {"loss": [], "val_loss": [], "seconds": []}
    best = _Best(network)
    for epoch in range(1, schedule.epochs + 1):
        started = time.monotonic()
        losses = [step(batch) for batch in ahead(make, requests())]
        now = task.judge(ask(task.validate))
        figures = (float(np.mean(losses)), now, time.monotonic() - started)
        for name, figure in zip(curves, figures, strict=True):
            curves[name].append(figure)
        if progress is not None:
            progress(epoch, dict(zip(curves, figures, strict=True)) | {"epochs": schedule.epochs})
        best.saw(now)
        if best.since > schedule.patience:
            break
    best.restore(curves)
    return curves


class _Best:
    """Weights of the epoch with the lowest validation figure so far."""

    def __init__(self, network: Network) -> None:
        self._name, self._variables = network.read.name, _variables(network)
        self._kept: list[NDArray[Any]] = []
        self._figure = np.inf
        self.since = 0
        """Number of epochs since the best one."""

    def saw(self, figure: float) -> None:
        """Record an epoch; keep its weights if its figure is the lowest so far."""
        self.since += 1
        if figure < self._figure:
            self._figure, self.since = figure, 0
            self._kept = [v.numpy() for v in self._variables]

    def restore(self, curves: Curves) -> None:
        """Restore the best weights.

        Raises:
            NotEnoughData: no epoch had a finite validation figure.
        """
        if not self._kept:
            raise NotEnoughData(
                f"{self._name}: expected a finite validation loss in at least one epoch, "
                f"got {curves['val_loss']} (training losses {curves['loss']}); "
                "import more data, or leave this model out"
            )
        for variable, value in zip(self._variables, self._kept, strict=True):
            variable.assign(value)


def _batches(train: RowChunks[Lesson], pieces: tuple[int, int, int]) -> int:
    """Return the number of batches per epoch, estimated from the first shard."""
    feed, _ = train.first
    batches = len(feed.batches(*pieces)) * len(train) / max(len(feed.rows), 1)
    return max(1, round(batches))  # a decay over zero steps has no rate


def predict(network: Network, feed: BatchFeed) -> Answers:
    """Run a network once on all rows; see `BatchPredictor`."""
    return BatchPredictor(network)(feed)


class BatchPredictor:
    """Compiled prediction over many rows; the trace of the first batch is reused for all others.

    Later changes of the weights take effect.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._compiled = _Compiled(
            lambda batch: network.read(_with_state(network, batch, False), training=False)
        )

    def __call__(self, feed: BatchFeed) -> Answers:
        """Predict every row from all events of its learner before it.

        Yields:
            Rows, and the network's answers for them by name.
        """
        named = self._network.read.input
        width = sum(int(tensor.shape[-1]) for tensor in named.values())
        cells = min(8192, max(256, CELLS // width))
        reach = EVERY if self._network.state else 0

        def make(rows: Rows) -> Batch:
            return {"rows": rows, **feed.inputs(rows, set(named))}

        for batch in ahead(make, feed.batches(cells, cells, reach)):
            rows = batch.pop("rows")
            yield rows, {name: tensor.numpy() for name, tensor in self._compiled(batch).items()}


class _Compiled:
    """TensorFlow function of a batch, traced with its first batch."""

    def __init__(self, function: Callable[[dict[str, Any]], Any]) -> None:
        self._function = function
        self._traced: Callable[[Batch], Any] | None = None

    def __call__(self, batch: Batch) -> Any:
        import tensorflow as tf

        if self._traced is None:
            self._traced = tf.function(self._function, input_signature=[_signature(batch)])
        return self._traced(batch)


def _signature(batch: Batch) -> dict[str, Any]:
    """Return a signature with free row counts and lengths, so that one trace suffices."""
    import tensorflow as tf

    return {
        name: tf.TensorSpec(
            [*(None for _ in array.shape[:-1]), array.shape[-1] if array.ndim > 1 else None],
            array.dtype,
        )
        for name, array in batch.items()
    }


def _compiled_step(network: Network, optimizer: Any, loss: Loss) -> Callable[[Batch], Any]:
    """Return a compiled training step: gradients, clipping, update; it returns the mean loss."""
    import tensorflow as tf

    variables = [v for v in _variables(network) if v.trainable]
    optimizer.build(variables)

    def step(batch: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            inputs = _with_state(network, batch, True)
            mean = tf.reduce_mean(loss(network.scores(inputs, training=True), batch))
        optimizer.apply(tape.gradient(mean, variables), variables)
        return mean

    return _Compiled(step)


def _with_state(network: Network, batch: dict[str, Any], training: bool) -> dict[str, Any]:
    """Return the inputs of `read`; the state is computed from the events before each row."""
    import tensorflow as tf

    inputs = {name: batch[name] for name in network.read.input if name != "state"}
    if network.unroll is not None:
        after = network.unroll(batch["events"], training=training)
        states = tf.concat([tf.zeros_like(after[:, :1]), after], axis=1)
        inputs["state"] = tf.gather(tf.reshape(states, (-1, network.state)), batch["place"])
    return inputs


def _variables(network: Network) -> list[Any]:
    """Return every variable once, in a fixed order."""
    models = [network.scores, *filter(None, [network.unroll])]
    return list({id(v): v for model in models for v in model.variables}.values())
