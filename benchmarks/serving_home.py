"""A SENSEI_HOME for benchmarks of the service: a log of any size, and trained models that serve.

Learners are synthetic: what the service costs depends on how much there is, not on what it says.
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
from sensei.storage import database
from training.candidates import Candidate, train_candidates
from training.data.batching import BatchFeed
from training.data.dataset import Dataset, prepare
from training.data.time_split import split_by_time
from training.fitting.keras_fit import FAST
from training.recipes import Budget
from training.release.export import export

EVENTS = 300
"""Events of an ordinary learner."""

SPECIAL = (10, 1_000, 100_000)
"""Events of three learners more, named `learner-10`, `learner-1000`, `learner-100000`."""

DAYS = 60
SLICE = 300_000  # rows in one transaction
MODELS = ("blend",)
BRIEF = Budget("benchmark", FAST, 1, 1, True)


def name_of(number: int) -> str:
    """The ordinary learner of a number, from 0."""
    return f"learner-{number:07d}"


def events(users: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """One event for each entry of `users`, at random moments of the last days, in the contract."""
    rows = len(users)
    topics = np.array([each.topic_id for each in curriculum.load_file().topics])
    kinds = rng.integers(0, 5, rows)
    scored = kinds < 2  # quizzes and practice
    moments = rng.integers(0, DAYS * 86_400, rows) * 1_000_000
    start = int((time.time() - DAYS * 86_400) * 1e6)
    return pa.table(
        {
            "event_id": pa.array([f"{n:x}" for n in rng.integers(0, 2**62, rows)]),
            "user_id": pa.array(users),
            "interaction_type": np.array(KINDS)[kinds],
            # what is popular is very popular, as everywhere
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
    """Append about `rows` events of ordinary learners, and the special ones.

    Returns:
        How many ordinary learners there are.
    """
    rng, learners = np.random.default_rng(0), max(1, rows // EVENTS)
    each = SLICE // EVENTS
    for first in range(0, learners, each):
        numbers = range(first, min(first + each, learners))
        users = np.repeat([name_of(number) for number in numbers], EVENTS)
        log.append_table(events(users, rng), "benchmark")
    for count in SPECIAL:
        log.append_table(events(np.repeat(f"learner-{count}", count), rng), "benchmark")
    return learners


def trained(learners: int) -> tuple[Dataset, dict[str, Candidate]]:
    """The costliest models there are, fitted to a few learners: figures mean nothing here."""
    rng = np.random.default_rng(1)
    users = np.repeat([name_of(number) for number in range(min(learners, 60))], 100)
    table = events(users, rng).to_pandas()
    table["timestamp"] = pd.to_datetime(table["timestamp"], utc=True)
    encoded = encode(table.sort_values(["user_id", "timestamp", "event_id"], ignore_index=True))
    prepared = prepare(encoded, split_by_time(encoded))
    found = train_candidates(prepared, 0, BRIEF, MODELS)
    return prepared, {
        "recommendation": found.recommendation[MODELS[0]],
        "difficulty": found.difficulty[MODELS[0]],
    }


def written(
    prepared: Dataset,
    made: Mapping[str, Candidate],
    folder: Path,
    version: str,
    until: datetime | None = None,
) -> str:
    """Digest of a bundle with both models; `until`: end of what trained them, by default now."""
    parts = {"recommendation": prepared, "difficulty": prepared.attempts}
    now = until or datetime.now(UTC)
    entries, files, tables = {}, {}, {}
    for name, candidate in made.items():
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
    """Fill a folder that serves; one that is filled already is used again.

    Args:
        home: a SENSEI_HOME.
        rows: events in the log, about.

    Returns:
        How many ordinary learners there are.
    """
    url = f"sqlite:///{home / 'sensei.db'}"
    database.upgrade(url)
    log = open_log(url)
    if (filled := log.get_fact("benchmark")) is not None:
        log.close()
        return int(filled)
    curriculum.store(log.engine, curriculum.load_file())
    learners = fill(log, rows)
    prepared, made = trained(learners)
    log.set_pointer(written(prepared, made, home / "bundles", "1"))
    log.set_fact("benchmark", learners)
    log.close()
    return learners


if __name__ == "__main__":
    import sys

    print(make(Path(sys.argv[1]), int(sys.argv[2])), "learners")
