"""Benchmark of training on synthetic logs: rows per CPU second and peak memory.

The logs have 1 M rows and, with `--large`, also 10 M. Each step runs in a separate process, so the
peak memory is that of the step, including the data that it loads. The last lines compare the
reference network at batch size 32 with and without joining 32 steps in one call.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sensei.contracts import KINDS, LEVELS
from training import recipes
from training.architectures import reference
from training.data.batching import BatchFeed
from training.data.dataset import Dataset, prepare_log
from training.data.row_chunks import RowChunks
from training.data.shards import BATCH_ROWS, Log, Shards, read_log
from training.data.time_split import by_time
from training.fitting import keras_fit, train_loop
from training.release.export import import_tensorflow

TOPICS = 500
ITEMS = 20
LEARNER_EVENTS = 150
DAYS = 90
BATCHES = {"history": 1_000}
"""Maximum number of batches per epoch, divided evenly among the shards."""


def write_log(path: Path, rows: int) -> None:
    """Write a log in time order, in chunks; learners mostly move from topic to next topic."""
    rng = np.random.default_rng(0)
    learners = rows // LEARNER_EVENTS
    at = rng.integers(0, TOPICS, learners)
    with pq.ParquetWriter(path, pa.Schema.from_pandas(chunk(rng, at, 0, 10, rows))) as writer:
        for start in range(0, rows, BATCH_ROWS):
            count = min(BATCH_ROWS, rows - start)
            frame = chunk(rng, at, start, count, rows)
            writer.write_table(pa.Table.from_pandas(frame, writer.schema, preserve_index=False))


def chunk(
    rng: np.random.Generator, at: np.ndarray, start: int, count: int, total: int
) -> pd.DataFrame:
    learner = rng.integers(0, len(at), count)
    step = rng.choice([0, 1, 2, 17], count, p=[0.5, 0.3, 0.15, 0.05])
    jumps = rng.random(count) < 0.05
    topic = np.where(jumps, rng.integers(0, TOPICS, count), (at[learner] + step) % TOPICS)
    at[learner] = topic
    kind = rng.choice(len(KINDS), count, p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.03, 0.02])
    attempt = kind < 2
    passed = rng.random(count) < 0.3 + 0.5 * topic / TOPICS
    micros = (start + np.arange(count)) * (DAYS * 86_400_000_000 // total)
    item = np.char.add("item-", (topic * ITEMS + rng.integers(0, ITEMS, count)).astype(str))
    return pd.DataFrame(
        {
            "event_id": np.char.add("event-", (start + np.arange(count)).astype(str)).astype(
                object
            ),
            "user_id": np.char.add("learner-", learner.astype(str)).astype(object),
            "interaction_type": np.array(KINDS, object)[kind],
            "topic_id": topic.astype(np.int64) + 1,
            "score": np.where(attempt, np.where(passed, 0.9, 0.3), np.nan),
            "duration_seconds": rng.integers(10, 600, count).astype(float),
            "timestamp": pd.to_datetime(
                micros + 1_700_000_000_000_000, unit="us", utc=True
            ).as_unit("us"),
            "item_id": np.where(attempt, item.astype(object), None),
            "difficulty": pd.Series([None] * count, dtype=pd.CategoricalDtype(list(LEVELS))).astype(
                pd.StringDtype()
            ),
        }
    )


def log_of(folder: Path) -> Log:
    """Read the log, or load the shards of an earlier process."""
    shards = sorted((folder / "shards").glob("*.npz"))
    return Shards(shards) if shards else read_log(folder / "valid.parquet", folder / "shards")


def prepared_of(folder: Path) -> Dataset:
    log = log_of(folder)
    return prepare_log(log, by_time(log))


def sharding(folder: Path) -> dict[str, float]:
    rows = pq.read_metadata(folder / "valid.parquet").num_rows
    logs: list[Log] = []
    seconds = cpu(lambda: logs.append(read_log(folder / "valid.parquet", folder / "shards")))
    return {"rows": rows, "seconds": seconds, "shards": len(logs[0])}


def statistics(folder: Path) -> dict[str, float]:
    datasets: list[Dataset] = []
    log = log_of(folder)
    seconds = cpu(lambda: datasets.append(prepare_log(log, by_time(log))))
    prepared = datasets[0]
    return {
        "rows": prepared.census.rows,
        "seconds": seconds,
        "share": prepared.scored_share,
        "pairs": len(prepared.statistics.pair),
    }


def epoch(name: str) -> Callable[[Path], dict[str, float]]:
    def run(folder: Path) -> dict[str, float]:
        import_tensorflow()
        prepared = prepared_of(folder)
        row_counts = limited(prepared, BATCHES.get(name))
        recipe = next(candidate for candidate in recipes.NEXT_TOPIC if candidate.name == name)
        budget = replace(recipes.QUICK, epochs=1, setting=replace(keras_fit.FAST, epochs=1))
        context = recipes.RecipeContext(prepared, 0, budget, {})
        seconds = cpu(lambda: recipe.make(context))
        rows = sum(row_counts) or len(prepared.training)
        return {"rows": rows, "seconds": seconds, "of": len(prepared.training)}

    return run


def limited(prepared: Dataset, max_batches: int | None) -> list[int]:
    """Limit an epoch to `max_batches` batches over all shards; return the row counts trained on.

    Without `max_batches` nothing is limited and the list stays empty.
    """
    row_counts: list[int] = []
    all_batches, shard_count = BatchFeed.batches, len(prepared.training.places)

    def batches(feed: BatchFeed, *arguments: object) -> list[np.ndarray]:
        selected = all_batches(feed, *arguments)
        shuffled = len(arguments) == 4
        if shuffled and max_batches:
            selected = selected[: max_batches // shard_count]
            row_counts.append(sum(map(len, selected)))
        return selected

    BatchFeed.batches = batches
    train_loop.BatchFeed = BatchFeed
    return row_counts


STEPS = {
    "sharding": sharding,
    "statistics": statistics,
    "reference": epoch("reference"),
    "history": epoch("history"),
}


def cpu(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def measured(folder: Path, rows: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Measure every step in a separate process."""
    for name in STEPS:
        completed = subprocess.run(
            [sys.executable, __file__, "--step", name, str(folder)],
            stdout=subprocess.PIPE,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        figures = json.loads(completed.stdout.splitlines()[-1])
        other_figures = ", ".join(
            f"{k} {v:,.6g}" for k, v in figures.items() if k not in ("rows", "seconds", "peak")
        )
        print(
            f"{rows:>10,}  {name:12} {figures['rows'] / figures['seconds']:>10,.0f} rows/CPU-s, "
            f"peak {figures['peak']:,.0f} MB ({figures['rows']:,.0f} rows, "
            f"{figures['seconds']:,.1f} CPU-s; {other_figures})",
            flush=True,
        )
        yield name, figures


def joined_steps() -> None:
    """Compare the reference network with 32 steps per call and with one, at batch size 32."""
    rng = np.random.default_rng(0)
    inputs = rng.random((100_000, 20), np.float32)
    inputs[:, :7] = rng.integers(0, 5, (100_000, 7))
    data = (inputs, rng.integers(1, TOPICS + 1, 100_000).astype(np.int32))
    few = (inputs[:1000], data[1][:1000])
    once = replace(keras_fit.SKETCH, epochs=1)
    rates = []
    for steps in (keras_fit.STEPS_PER_CALL, 1):
        keras_fit.STEPS_PER_CALL = steps
        model = reference.recommendation(inputs, TOPICS)
        keras_fit.fit_recommendation(
            model, RowChunks.held(few, 1000), few, 0, once
        )  # warm up: imports and tracing are not measured
        chunks = RowChunks.held(data, len(inputs))
        fit = partial(keras_fit.fit_recommendation, model, chunks, few, 0, once)
        rates.append(len(inputs) / cpu(fit))
        print(f"batch 32, {steps:>2} steps in a call: {rates[-1]:,.0f} rows/CPU-s", flush=True)
    print(f"  joined steps are {rates[0] / rates[1]:.2f} times as fast")


def main() -> None:
    """Print one line per step, and the growth of the peaks."""
    sizes = [1_000_000] + ([10_000_000] if "--large" in sys.argv else [])
    peaks: dict[str, list[float]] = {}
    for rows in sizes:
        with TemporaryDirectory() as folder:
            write_log(Path(folder) / "valid.parquet", rows)
            for name, figures in measured(Path(folder), rows):
                peaks.setdefault(name, []).append(figures["peak"])
    for name, peak in peaks.items():
        if len(peak) > 1:
            print(f"  {name}: {peak[-1] / peak[0]:.2f} times the peak at {sizes[0]:,} rows")
    import_tensorflow()
    joined_steps()


if __name__ == "__main__":
    if "--step" in sys.argv:
        step, folder = sys.argv[-2:]
        result = STEPS[step](Path(folder))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(result | {"peak": peak}))
    else:
        main()
