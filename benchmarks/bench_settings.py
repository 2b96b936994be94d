"""Benchmark of fit settings: time until the reference network reaches a validation loss.

    python benchmarks/bench_settings.py LOG.parquet column:metadata.split [learners]

The settings `SKETCH` and `FAST` run in turn for each seed. The loss to reach is the best one of
`SKETCH`. For each setting it prints the seconds until this loss was first reached (within `WITHIN`)
and until the end, and the ratios. Times are wall seconds and CPU seconds; CPU seconds are more
reliable on a busy machine. A loss that is never reached counts as 0x.
"""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd

from features.batch import encode
from sensei.events.importer import read_frame
from training import recipes
from training.data.dataset import Dataset, prepare
from training.evaluation.protocol import split_events
from training.fitting.keras_fit import FAST, SKETCH, FitSettings
from training.recipes import FULL, RecipeContext
from training.release.export import import_tensorflow

WITHIN = 0.001
SEEDS = (0, 1, 2)


class Epoch(NamedTuple):
    """End of an epoch: seconds since the start (wall and CPU), and validation loss."""

    wall: float
    cpu: float
    loss: float


def prepared(file: Path, split: str, learners: int) -> Dataset:
    """Prepare the parts of a log, limited to its first learners."""
    frame, _ = read_frame(file, {})
    first_users = pd.unique(frame["user_id"])[:learners]
    frame = frame[frame["user_id"].isin(first_users)].reset_index(drop=True)
    events = encode(frame)
    return prepare(events, split_events(events, split, frame))


def trace(parts: Dataset, setting: FitSettings, seed: int) -> list[Epoch]:
    """Fit the reference network; return time since the start and loss of each epoch."""
    import keras

    keras.utils.set_random_seed(seed)
    epochs: list[Epoch] = []
    wall, cpu = time.perf_counter(), time.process_time()

    def record_epoch(_: int, logs: Mapping[str, float]) -> None:
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        epochs.append(Epoch(*seconds, logs["val_loss"]))

    recipe = next(candidate for candidate in recipes.NEXT_TOPIC if candidate.name == "reference")
    budget = replace(FULL, setting=setting)
    recipe.make(RecipeContext(parts, seed, budget, {}, record_epoch))
    return epochs


def first(epochs: list[Epoch], goal: float) -> Epoch | None:
    return next((epoch for epoch in epochs if epoch.loss <= goal + WITHIN), None)


def compared(parts: Dataset, seed: int) -> dict[str, float]:
    """Print the results of both settings; return the speed-ups of `FAST` by name."""
    slow, fast = trace(parts, SKETCH, seed), trace(parts, FAST, seed)
    goal = min(epoch.loss for epoch in slow)
    slow_reached = first(slow, goal)
    assert slow_reached is not None
    for name, epochs in (("sketch", slow), ("fast", fast)):
        end, reached = epochs[-1], first(epochs, goal)
        print(
            f"seed {seed} {name:6}: best {min(epoch.loss for epoch in epochs):.4f}, there "
            + (f"after {reached.wall:.1f} s ({reached.cpu:.1f} CPU)" if reached else "never")
            + f", ended after {end.wall:.1f} s ({end.cpu:.1f} CPU), {len(epochs)} epochs",
            flush=True,
        )
    fast_reached = first(fast, goal)
    return {
        "there": slow_reached.wall / fast_reached.wall if fast_reached else 0.0,
        "there, CPU": slow_reached.cpu / fast_reached.cpu if fast_reached else 0.0,
        "to the end": slow[-1].wall / fast[-1].wall,
        "to the end, CPU": slow[-1].cpu / fast[-1].cpu,
    }


def main() -> None:
    file, split, *limit = sys.argv[1:]
    import_tensorflow()
    parts = prepared(Path(file), split, int(limit[0]) if limit else sys.maxsize)
    print(f"{len(parts.training):,} training targets, {parts.topics} topics")
    ratios = [compared(parts, seed) for seed in SEEDS]
    for name in ratios[0]:
        speedups = [ratio_of[name] for ratio_of in ratios]
        print(
            f"{name}: median {median(speedups):.1f}x of {', '.join(f'{x:.1f}' for x in speedups)}"
        )


if __name__ == "__main__":
    main()
