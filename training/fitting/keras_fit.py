"""Fit of a network on flat rows: Adam, cross-entropy, early stopping; reproducible by seed."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensei.contracts import LEVELS, PASS_SCORE, WELL_PASSED_SCORE
from training.architectures import Model
from training.data.row_chunks import RowChunks
from training.fitting.one_cycle import Data, OneCycleSchedule, cycle, scaled

EPOCHS = 100

MIN_GAIN = 1e-4
"""Minimum decrease of the validation loss that counts as progress in early stopping."""

STEPS_PER_CALL = 32
"""Number of batches per call of Keras' compiled step: same result in half the time."""

STEPS_PER_EPOCH = 400
"""Minimum number of updates per epoch; with fewer, a fit of few rows would stop too early."""

SKETCH_BATCH = 32


@dataclass(frozen=True)
class FitSettings:
    """Settings for fitting a network on flat rows.

    Attributes:
        name: value of the run's parameter.
        batch: maximum number of rows in a batch.
        rate: Adam's initial learning rate.
        patience: epochs without progress before training stops.
        plateau: epochs without progress before the rate is reduced to 30 %.
        epochs: maximum number of epochs.
        pace: one-cycle schedule for recommendation networks; if None, they use the settings above.
    """

    name: str
    batch: int
    rate: float
    patience: int
    plateau: int
    epochs: int = EPOCHS
    pace: OneCycleSchedule | None = None

    def scaled(self, rows: int) -> "FitSettings":
        """Adapt the settings to a number of rows: a small log gets small batches and a lower rate.

        An epoch has at least `STEPS_PER_EPOCH` batches unless a batch would have fewer than 32
        rows. The rate is proportional to the square root of the batch size.
        """
        batch, rate = scaled(self.batch, self.rate, rows, STEPS_PER_EPOCH)
        return replace(self, batch=batch, rate=rate)


SKETCH = FitSettings("sketch", batch=SKETCH_BATCH, rate=1e-3, patience=10, plateau=3)
"""Settings of the project's specification, with Keras' own training loop."""

FAST = FitSettings(
    "fast",
    batch=512,
    rate=4e-3,
    patience=4,
    plateau=1,
    pace=OneCycleSchedule(batch=256, rate=8e-3, decay=0.1, epochs=40, patience=6),
)
"""Settings that reach the loss of `SKETCH` sooner, see docs/performance.md.

The one-cycle schedule applies to recommendation networks only; it makes difficulty networks worse.
"""

Curves = dict[str, list[float]]
"""Values per epoch, by metric name."""

Arrays = dict[str, NDArray[Any]]

Progress = Callable[[int, Mapping[str, float]], None]
"""Callback after each epoch: its number, from 1, and its metrics.

The metrics have `epochs`, the maximum number of epochs, too.
"""

Pair = tuple[NDArray[np.float32], NDArray[np.int32]]
"""Inputs and target slots."""


def fit_recommendation(
    model: Model,
    train: RowChunks[Pair],
    validate: Pair,
    seed: int,
    setting: FitSettings = FAST,
    progress: Progress | None = None,
) -> Curves:
    """Fit a recommendation network in place on the rows whose target has a slot.

    Args:
        model: {"inputs"} -> {"probability"}.
        train: (n, 20) inputs and (n,) target slots, one chunk per shard. Rows whose target the
            model cannot predict are left out.
        validate: the same of the validation part, in one piece.
        seed: seed for shuffling and dropout.
        setting: batch size, rate and stopping rule.
        progress: called after each epoch.

    Returns:
        Curves; the weights are those of the best epoch.
    """
    topics = model.output["probability"].shape[-1]

    def data(pair: Pair) -> Data:
        inputs, target = pair
        has_slot = (target > 0) & (target <= topics)
        if not has_slot.all():
            inputs, target = inputs[has_slot], target[has_slot]
        return {"inputs": inputs}, {"probability": target - 1}

    # sparse categorical cross-entropy: the same loss without an (n, topics) one-hot matrix
    loss = {"probability": "sparse_categorical_crossentropy"}
    task = _Task(model, loss, "val_loss", train.map(data), data(validate))
    fitted = _by_plateau if setting.pace is None else _by_cycle
    return fitted(task, seed, setting, progress)


def fit_difficulty(
    model: Model,
    train: RowChunks[Arrays],
    validate: Arrays,
    seed: int,
    setting: FitSettings = FAST,
    progress: Progress | None = None,
) -> Curves:
    """Fit a difficulty network in place, on the staircase label and on success at the level taken.

    The outcome at the two other levels is unknown. So in each row only one of the three outputs of
    the success head enters the loss.

    Args:
        model: {"inputs", optionally "topic" or "free"} -> {"success", "difficulty"}.
        train: the model's inputs by name, `level` (n,) taken, `score` (n,) in [0, 1]; one chunk per
            shard.
        validate: the same of the validation part, in one piece.
        seed: seed for shuffling.
        setting: batch size, rate and stopping rule.
        progress: called after each epoch.

    Returns:
        Curves; the weights are those of the best epoch.
    """
    import keras

    taken = keras.Input((len(LEVELS),), name="level")
    answers = model.output
    success = keras.layers.Dot(axes=1, name="taken")([answers["success"], taken])
    trainer = keras.Model(
        {**model.input, "level": taken}, {"difficulty": answers["difficulty"], "taken": success}
    )
    losses = {"difficulty": "sparse_categorical_crossentropy", "taken": "binary_crossentropy"}
    data, held_out = train.map(_success_data), _success_data(validate)
    # models are compared by success, so early stopping monitors it, not the staircase label
    task = _Task(trainer, losses, "val_taken_loss", data, held_out)
    return _by_plateau(task, seed, setting, progress)


def staircase(level: NDArray[np.int8], score: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return the level to suggest next: up after a score >= 0.85, the same after a pass, else down.

    Args:
        level: (n,) level taken.
        score: (n,) in [0, 1].

    Returns:
        (n,) level in 0..2, clipped at both ends.
    """
    step = np.where(score >= WELL_PASSED_SCORE, 1, np.where(score >= PASS_SCORE, 0, -1))
    return np.clip(level.astype(np.int32) + step, 0, len(LEVELS) - 1).astype(np.int32)


def _success_data(arrays: Arrays) -> Data:
    level, score = arrays["level"], arrays["score"]
    inputs = {name: a for name, a in arrays.items() if name not in ("level", "score")}
    inputs["level"] = np.eye(len(LEVELS), dtype=np.float32)[level]
    passed = (score >= PASS_SCORE).astype(np.float32)[:, None]
    return inputs, {"difficulty": staircase(level, score), "taken": passed}


@dataclass(frozen=True)
class _Task:
    """Model, losses, rows and monitored metric of one fit."""

    model: Model
    losses: dict[str, str]
    monitor: str
    train: RowChunks[Data]
    validate: Data


def _by_cycle(task: _Task, seed: int, setting: FitSettings, progress: Progress | None) -> Curves:
    assert setting.pace is not None
    pace = replace(setting.pace, epochs=min(setting.pace.epochs, setting.epochs))
    (loss,) = task.losses.values()
    best, epochs_since_best, weights = math.inf, 0, task.model.get_weights()
    curves: Curves = {"loss": [], "val_loss": []}
    run = cycle(task.model, loss, task.train, task.validate, seed, pace.scaled(len(task.train)))
    for epoch, figures in enumerate(run, 1):
        for name, value in figures.items():
            curves[name].append(value)
        if progress is not None:
            progress(epoch, figures | {"epochs": pace.epochs})
        epochs_since_best += 1
        if figures[task.monitor] < best - MIN_GAIN:
            best, epochs_since_best, weights = figures[task.monitor], 0, task.model.get_weights()
        elif epochs_since_best >= pace.patience:
            break
    run.close()
    task.model.set_weights(weights)
    return curves


def _by_plateau(task: _Task, seed: int, setting: FitSettings, progress: Progress | None) -> Curves:
    import keras

    setting = setting.scaled(len(task.train))
    keras.utils.set_random_seed(seed)
    task.model.compile(
        optimizer=keras.optimizers.Adam(setting.rate),
        loss=task.losses,
        steps_per_execution=STEPS_PER_CALL,
    )
    callbacks = [
        keras.callbacks.EarlyStopping(
            monitor=task.monitor,
            mode="min",
            min_delta=MIN_GAIN,
            patience=setting.patience,
            restore_best_weights=True,
        ),
        keras.callbacks.ReduceLROnPlateau(
            monitor=task.monitor, mode="min", factor=0.3, patience=setting.plateau
        ),
    ]
    if progress is not None:
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: progress(
                    epoch + 1, {**(logs or {}), "epochs": setting.epochs}
                )
            )
        )
    history = task.model.fit(
        **_given(task.train, seed, setting),
        validation_data=task.validate,
        validation_batch_size=setting.batch,
        epochs=setting.epochs,
        callbacks=callbacks,
        verbose=0,
    )
    return {name: [float(v) for v in values] for name, values in history.history.items()}


def _given(train: RowChunks[Data], seed: int, setting: FitSettings) -> dict[str, Any]:
    """Return the data arguments of Keras' `fit`: arrays in memory, or batches per shard."""
    if len(train.places) < 2:
        inputs, answers = train.first
        return {"x": inputs, "y": answers, "batch_size": setting.batch}
    steps = sum(-(-rows // setting.batch) for rows in train.counts)
    return {"x": _batches(train, seed, setting.batch), "steps_per_epoch": steps, "shuffle": False}


def _batches(train: RowChunks[Data], seed: int, batch: int) -> Iterator[Data]:
    """Yield batches without end; each epoch shuffles the shards and the rows within each."""
    rng = np.random.default_rng(seed)
    while True:
        for inputs, answers in train.shuffled(rng):
            order = rng.permutation(len(next(iter(inputs.values()))))
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                yield (
                    {name: values[rows] for name, values in inputs.items()},
                    {name: values[rows] for name, values in answers.items()},
                )
