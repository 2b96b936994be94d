"""SENSEI_HOME for benchmarks of the service: a log of any size and serving models.

Learners are synthetic, because the cost of the service depends on the amount of data, not on its
content.
"""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import pyarrow as pa

from features.batch import encode
from features.history import FOLD_VERSION
from sensei import curriculum
from sensei.bundle import bundle_format
from sensei.bundle.bundle_format import Manifest, ModelEntry
from sensei.contracts import KINDS
from sensei.events.log import Log, open_log
from sensei.events.rules_arrow import CANONICAL
from sensei.model_name import ModelName
from sensei.storage import database
from training.candidates import Candidate, train_candidates
from training.data.batching import BatchFeed
from training.data.dataset import Dataset, prepare
from training.data.time_split import split_by_time
from training.fitting.keras_fit import FAST
from training.recipes import Budget
from training.release.export import export

EVENTS = 300
"""Number of events of an ordinary learner."""

SPECIAL = (10, 1_000, 100_000)
"""Events of three additional learners: `learner-10`, `learner-1000` and `learner-100000`."""

DAYS = 60
SLICE = 300_000  # rows in one transaction
MODELS = ("blend",)
BRIEF = Budget("benchmark", FAST, 1, 1, True)


def name_of(number: int) -> str:
    """Return the name of an ordinary learner, by number from 0."""
    return f"learner-{number:07d}"


def events(users: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """Create one event per entry of `users` in the data contract, at random recent times."""
    rows = len(users)
    topics = np.array([topic.topic_id for topic in curriculum.load_file().topics])
    kinds = rng.integers(0, 5, rows)
    scored = kinds < 2  # quizzes and practice
    moments = rng.integers(0, DAYS * 86_400, rows) * 1_000_000
    start = int((time.time() - DAYS * 86_400) * 1e6)
    return pa.table(
        {
            "event_id": pa.array([f"{n:x}" for n in rng.integers(0, 2**62, rows)]),
            "user_id": pa.array(users),
            "interaction_type": np.array(KINDS)[kinds],
            # squared, so that topics differ strongly in popularity
            "topic_id": topics[(len(topics) * rng.random(rows) ** 2).astype(int)],
            "score": pa.array(rng.random(rows).round(3), mask=~scored),
            "duration_seconds": rng.integers(1, 3000, rows),
            "timestamp": pa.array(start + moments).cast(pa.timestamp("us", "UTC")),
            "item_id": pa.nulls(rows, pa.string()),
            "difficulty": pa.nulls(rows, pa.string()),
            "metadata": pa.nulls(rows, pa.string()),
        }
    ).cast(CANONICAL)


def fill(log: Log, rows: int) -> int:
    """Append about `rows` events of ordinary learners, and those of the `SPECIAL` learners.

    Returns:
        Number of ordinary learners.
    """
    rng, learners = np.random.default_rng(0), max(1, rows // EVENTS)
    learners_per_slice = SLICE // EVENTS
    for first in range(0, learners, learners_per_slice):
        numbers = range(first, min(first + learners_per_slice, learners))
        users = np.repeat([name_of(number) for number in numbers], EVENTS)
        log.append_table(events(users, rng), "benchmark")
    for count in SPECIAL:
        log.append_table(events(np.repeat(f"learner-{count}", count), rng), "benchmark")
    return learners


def trained(learners: int) -> tuple[Dataset, dict[ModelName, Candidate]]:
    """Train the most expensive models on a few learners; their quality is irrelevant here."""
    rng = np.random.default_rng(1)
    users = np.repeat([name_of(number) for number in range(min(learners, 60))], 100)
    table = events(users, rng).to_pandas()
    table["timestamp"] = pd.to_datetime(table["timestamp"], utc=True)
    encoded = encode(table.sort_values(["user_id", "timestamp", "event_id"], ignore_index=True))
    prepared = prepare(encoded, split_by_time(encoded))
    candidates = train_candidates(prepared, 0, BRIEF, MODELS)
    return prepared, {name: by_name[MODELS[0]] for name, by_name in candidates.items()}


def written(
    prepared: Dataset,
    candidates: Mapping[ModelName, Candidate],
    folder: Path,
    version: str,
    until: datetime | None = None,
) -> str:
    """Write a bundle with both models and return its digest.

    `until` is the end of the training data, by default now.
    """
    parts = {name: prepared.parts(name) for name in ModelName}
    now = until or datetime.now(UTC)
    entries, files, tables = {}, {}, {}
    for name, candidate in candidates.items():
        network, statistics = candidate.network, parts[name].statistics
        entries[name] = ModelEntry(
            name=name,
            version=version,
            candidate=candidate.name,
            inputs={key: int(x.shape[-1]) for key, x in network.read.input.items()},
            outputs={key: int(y.shape[-1]) for key, y in network.read.output.items()},
            trained_until=now,
            topic_ids=tuple(statistics.topic_ids.tolist()),
            state=network.state,
        )
        files[name] = export(network, BatchFeed(parts[name].test, name)).network
        tables[name] = statistics.to_arrays()
    manifest = Manifest(fold_version=FOLD_VERSION, models=entries, created_at=now)
    return bundle_format.write(folder, manifest, files, tables).name


def make(home: Path, rows: int) -> int:
    """Fill a home with a log and a serving bundle, unless it is filled already.

    Args:
        home: folder of the SENSEI_HOME.
        rows: approximate number of events in the log.

    Returns:
        Number of ordinary learners.
    """
    url = f"sqlite:///{home / 'sensei.db'}"
    database.upgrade(url)
    log = open_log(url)
    if (filled := log.get_fact("benchmark")) is not None:
        log.close()
        return int(filled)
    curriculum.store(log.engine, curriculum.load_file())
    learners = fill(log, rows)
    prepared, candidates = trained(learners)
    log.set_pointer(written(prepared, candidates, home / "bundles", "1"))
    log.set_fact("benchmark", learners)
    log.close()
    return learners


if __name__ == "__main__":
    import sys

    print(make(Path(sys.argv[1]), int(sys.argv[2])), "learners")
