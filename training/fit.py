"""Fit a network: Adam, cross-entropy, early stopping; the same seed gives the same weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensei.contracts import LEVELS, PASS_SCORE, WELL_PASSED_SCORE
from training.architectures import Model

EPOCHS = 100

MIN_GAIN = 1e-4
"""A validation loss lower by less than this is no progress: it would only keep the run going."""

STEPS_PER_CALL = 32
"""Batches run in one call of the compiled step: the same mathematics, half the time."""


@dataclass(frozen=True)
class Setting:
    """How a network on flat rows is fitted.

    Attributes:
        name: as the run's parameters say it.
        batch: rows in a batch.
        rate: Adam's learning rate, to begin with.
        patience: epochs without progress before training ends.
        plateau: epochs without progress before the rate falls to 30 %.
        epochs: at most so many.
    """

    name: str
    batch: int
    rate: float
    patience: int
    plateau: int
    epochs: int = EPOCHS


SKETCH = Setting("sketch", batch=32, rate=1e-3, patience=10, plateau=3)
"""The setting of the project's order."""

FAST = Setting("fast", batch=512, rate=4e-3, patience=4, plateau=1)
"""The same validation loss in a fraction of the time; see docs/performance.md."""

Curves = dict[str, list[float]]
"""Metric name -> value per epoch."""

Progress = Callable[[int, Mapping[str, float]], None]
"""Called after each epoch with its number, from 1, and its metrics."""

Arrays = dict[str, NDArray[Any]]


def fit_recommendation(
    model: Model,
    train: tuple[NDArray[np.float32], NDArray[np.int32]],
    validate: tuple[NDArray[np.float32], NDArray[np.int32]],
    seed: int,
    setting: Setting = FAST,
    progress: Progress | None = None,
) -> Curves:
    """Fit a recommendation network in place on the rows whose target has a slot.

    Args:
        model: {"inputs"} -> {"probability"}.
        train: (n, 20) inputs and (n,) target slots; those that the model cannot answer teach
            nothing and are left out.
        validate: the same of the validation part.
        seed: seed of shuffling and dropout.
        setting: how.
        progress: called after each epoch.

    Returns:
        Curves; the weights are those of the best epoch.
    """
    import keras

    model.compile(
        optimizer=keras.optimizers.Adam(setting.rate),
        # the sparse form of categorical cross-entropy: the same loss without n x topics of zeros
        loss={"probability": "sparse_categorical_crossentropy"},
        steps_per_execution=STEPS_PER_CALL,
    )
    data = [
        ({"inputs": inputs[known]}, {"probability": target[known] - 1})
        for inputs, target in (train, validate)
        for known in [(target > 0) & (target <= model.output["probability"].shape[-1])]
    ]
    return _fit(model, data[0], data[1], "val_loss", seed, setting, progress)


def fit_difficulty(
    model: Model,
    train: Arrays,
    validate: Arrays,
    seed: int,
    setting: Setting = FAST,
    progress: Progress | None = None,
) -> Curves:
    """Fit a difficulty network in place: the staircase label, and success at the level taken only.

    What would have happened at the other two levels is unknown, so the success head learns from one
    of its three
    outputs per row.

    Args:
        model: {"inputs", perhaps "topic"} -> {"success", "difficulty"}.
        train: the model's inputs by name, `level` (n,) taken, `score` (n,) in [0, 1].
        validate: the same of the validation part.
        seed: seed of shuffling.
        setting: how.
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
    trainer.compile(
        optimizer=keras.optimizers.Adam(setting.rate),
        loss={"difficulty": "sparse_categorical_crossentropy", "taken": "binary_crossentropy"},
        steps_per_execution=STEPS_PER_CALL,
    )
    data = [_success_data(part) for part in (train, validate)]
    # success decides between models, so it decides when to stop; the staircase label follows
    return _fit(trainer, data[0], data[1], "val_taken_loss", seed, setting, progress)


def staircase(level: NDArray[np.int8], score: NDArray[np.floating]) -> NDArray[np.int32]:
    """Level to suggest next: one up after a score >= 0.85, the same after a pass, else one down.

    Args:
        level: (n,) level taken.
        score: (n,) in [0, 1].

    Returns:
        (n,) level in 0..2; the ends of the staircase hold.
    """
    step = np.where(score >= WELL_PASSED_SCORE, 1, np.where(score >= PASS_SCORE, 0, -1))
    return np.clip(level.astype(np.int32) + step, 0, len(LEVELS) - 1).astype(np.int32)


def _success_data(arrays: Arrays) -> tuple[Arrays, Arrays]:
    level, score = arrays["level"], arrays["score"]
    inputs = {name: a for name, a in arrays.items() if name not in ("level", "score")}
    inputs["level"] = np.eye(len(LEVELS), dtype=np.float32)[level]
    passed = (score >= PASS_SCORE).astype(np.float32)[:, None]
    return inputs, {"difficulty": staircase(level, score), "taken": passed}


def _fit(
    model: Model,
    train: tuple[Arrays, Arrays],
    validate: tuple[Arrays, Arrays],
    monitor: str,
    seed: int,
    setting: Setting,
    progress: Progress | None,
) -> Curves:
    import keras

    keras.utils.set_random_seed(seed)
    callbacks = [
        keras.callbacks.EarlyStopping(
            monitor=monitor,
            mode="min",
            min_delta=MIN_GAIN,
            patience=setting.patience,
            restore_best_weights=True,
        ),
        keras.callbacks.ReduceLROnPlateau(
            monitor=monitor, mode="min", factor=0.3, patience=setting.plateau
        ),
    ]
    if progress is not None:
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: progress(epoch + 1, dict(logs or {}))
            )
        )
    history = model.fit(
        *train,
        validation_data=validate,
        batch_size=setting.batch,
        epochs=setting.epochs,
        callbacks=callbacks,
        verbose=0,
    )
    return {name: [float(v) for v in values] for name, values in history.history.items()}
