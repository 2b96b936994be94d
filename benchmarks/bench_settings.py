"""Wall time until the reference reaches a validation loss, by the setting of the sketch and ours.

    python benchmarks/bench_settings.py LOG.parquet column:metadata.split [learners]

Both run in turn for each seed. The loss to reach is the best one of the sketch's setting; printed
are the seconds until each first had it (within `WITHIN`), until each ended, and their ratios.
"""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd

from features.batch import encode
from sensei.importing import read_frame
from training import recipes
from training.evaluate import split_events
from training.export import import_tensorflow
from training.fit import FAST, SKETCH, Setting
from training.preparation import Prepared, prepare
from training.recipes import FULL, Given

WITHIN = 0.001
SEEDS = (0, 1, 2)


def prepared(file: Path, split: str, learners: int) -> Prepared:
    """The parts of a log, or of its first learners."""
    frame, _ = read_frame(file, {})
    kept = pd.unique(frame["user_id"])[:learners]
    frame = frame[frame["user_id"].isin(kept)].reset_index(drop=True)
    events = encode(frame)
    return prepare(events, split_events(events, split, frame))


def trace(parts: Prepared, setting: Setting, seed: int) -> list[tuple[float, float]]:
    """Seconds since the start and validation loss, after each epoch."""
    import keras

    keras.utils.set_random_seed(seed)
    found: list[tuple[float, float]] = []
    started = time.perf_counter()

    def told(_: int, logs: Mapping[str, float]) -> None:
        found.append((time.perf_counter() - started, logs["val_loss"]))

    recipe = next(each for each in recipes.NEXT_TOPIC if each.name == "reference")
    budget = replace(FULL, setting=setting)
    recipe.make(Given(parts, seed, budget, {}, told))
    return found


def main() -> None:
    file, split, *rest = sys.argv[1:]
    import_tensorflow()
    parts = prepared(Path(file), split, int(rest[0]) if rest else sys.maxsize)
    print(f"{len(parts.training):,} training targets, {parts.topics} topics")
    ratios = []
    for seed in SEEDS:
        slow, fast = trace(parts, SKETCH, seed), trace(parts, FAST, seed)
        goal = min(loss for _, loss in slow)
        took = [
            next((t for t, loss in each if loss <= goal + WITHIN), None) for each in (slow, fast)
        ]
        best = min(loss for _, loss in fast)
        reached = "never" if took[1] is None else f"{took[1]:.1f} s"
        ratios.append(0.0 if took[1] is None else took[0] / took[1])
        print(
            f"seed {seed}: loss {goal:.4f}: sketch {took[0]:.1f} s (ended {slow[-1][0]:.1f}), fast "
            f"{reached} (ended {fast[-1][0]:.1f}, best {best:.4f}): {ratios[-1]:.1f}x, "
            f"to the end {slow[-1][0] / fast[-1][0]:.1f}x",
            flush=True,
        )
    print(f"median {median(ratios):.1f}x")


if __name__ == "__main__":
    main()
