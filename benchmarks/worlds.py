"""Simulated worlds, models trained on them, and upper bounds of event rates."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from scipy import stats
from serving_home import written

from features.batch import encode
from features.corpus.catalogue_features import CatalogueFeatures
from features.history import FOLD_VERSION
from sensei import curriculum
from sensei.bundle.bundle_format import Bundle
from sensei.events.frames import from_arrow
from sensei.model_name import ModelName
from training.candidates import Candidate, train_candidates
from training.data.dataset import Dataset, prepare
from training.data.time_split import split_by_time
from training.fitting.keras_fit import FAST
from training.recipes import QUICK

CATALOGUE = curriculum.load_file()
TOPICS = CATALOGUE.plain()
END = datetime(2026, 11, 1, tzinfo=UTC)
BRIEF = replace(QUICK, epochs=4, setting=replace(FAST, epochs=16))
"""Training budget that is enough for networks to beat counting models on a small log."""


def prepared_of(table: pa.Table) -> Dataset:
    """Prepare the targets of a log in the data contract, split by time."""
    events = encode(from_arrow(table))
    return prepare(events, split_by_time(events), CatalogueFeatures.of(CATALOGUE.topics))


def models_of(
    prepared: Dataset, seed: int, next_topic: str, success: str | None = None
) -> dict[ModelName, Candidate]:
    """Train a next-topic model and a success model, by default of the same name."""
    success = success or next_topic
    candidates = train_candidates(prepared, seed, BRIEF, {next_topic, success})
    return {
        ModelName.RECOMMENDATION: candidates[ModelName.RECOMMENDATION][next_topic],
        ModelName.DIFFICULTY: candidates[ModelName.DIFFICULTY][success],
    }


def bundle_of(
    prepared: Dataset, candidates: Mapping[ModelName, Candidate], folder: Path, version: str
) -> Bundle:
    """Write the models as a bundle and load it; all test targets are later than its training."""
    assert prepared.attempts is not None
    first = min(prepared.test.time.min(), prepared.attempts.test.time.min())
    until = datetime.fromtimestamp(first / 1e6, UTC)
    digest = written(prepared, candidates, folder, version, until)
    return Bundle.load(folder / digest, FOLD_VERSION)


def at_most(events: int, trials: int) -> float:
    """Return the upper end of the exact one-sided 95 % interval of a probability.

    Source: Clopper & Pearson 1934, Biometrika 26(4).
    """
    return float(stats.beta.ppf(0.95, events + 1, trials - events)) if events < trials else 1.0
