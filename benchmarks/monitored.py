"""Simulated platform whose champion is monitored with the functions of the hourly flow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from simulated_platform import Platform
from worlds import CATALOGUE, bundle_of, models_of

from features.corpus.catalogue_features import CatalogueFeatures
from features.corpus.daily_counts import DailyCounts
from features.corpus.statistics import Statistics
from flows.tasks.drift_windows import ObservedLog, references
from monitoring.drift.drift_score import Drift, measure_drift
from monitoring.outcomes import read_outcomes
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import DAY
from sensei.model_name import ModelName
from training.candidates import Candidate
from training.data.dataset import Dataset, prepare_log
from training.data.time_split import by_time
from training.release.bundle_predictor import answers_of

WEEK = timedelta(days=7)
HORIZON_US = DAY
NETWORKS = ("reference", "items")
"""Models that read no recent popularity, because the platform refreshes it only once a week."""


@dataclass(frozen=True)
class Champion:
    """Serving bundle, with the reference window of its inputs and answers from training."""

    bundle: Bundle
    reference: pd.DataFrame


def recent_dataset(platform: Platform, days: int) -> Dataset:
    """Prepare the targets of the last days of a platform's log, as a training run does."""
    events, end = platform.events, microseconds(platform.now)
    rule = by_time((events,), end - days * DAY, end, fresh=True)
    return prepare_log((events,), rule, CatalogueFeatures.of(CATALOGUE.topics))


def trained(platform: Platform, folder: Path, seed: int, window_days: int = 30) -> Champion:
    """Train a champion on the last days of a platform's log."""
    prepared = recent_dataset(platform, window_days)
    candidates = models_of(prepared, seed, *NETWORKS)
    return Champion(
        bundle_of(prepared, candidates, folder, str(seed)), reference_of(prepared, candidates)
    )


def reference_of(prepared: Dataset, candidates: Mapping[ModelName, Candidate]) -> pd.DataFrame:
    """Build the reference: the week before the test part with the new models' answers."""
    parts = {name: prepared.parts(name) for name in ModelName}
    models = {
        model: (parts[model].statistics, candidate.predict, int(parts[model].test.time.min()))
        for model, candidate in candidates.items()
    }
    reference_windows = references(ObservedLog.prepared(prepared), models, WEEK.days)
    return pd.concat(reference_windows.values(), axis=1)


def drifts(platform: Platform, champion: Champion, moments: Iterable[datetime]) -> list[Drift]:
    """Measure the drift of the seven days before each moment from the champion's reference.

    The log may continue after a moment: neither the window nor the fold reads later events.
    """
    events, measured_drifts = platform.events, []
    daily = DailyCounts.of(events, np.ones(len(events), bool))
    observed = ObservedLog((events,), daily, CatalogueFeatures.of(CATALOGUE.topics))
    for end in map(microseconds, moments):
        windows = []
        for model in champion.bundle.manifest.models:
            statistics = Statistics.from_arrays(dict(champion.bundle.statistics[model]))
            model_arguments = model, statistics, answers_of(champion.bundle, ModelName(model))
            windows.append(observed.window(*model_arguments, end - 7 * DAY, end))
        measured_drifts.append(measure_drift(pd.concat(windows, axis=1), champion.reference))
    return measured_drifts


def outcomes(platform: Platform, start: datetime) -> pd.DataFrame:
    """Read the outcomes of all answers since a moment."""
    engine = platform.log.engine
    return read_outcomes(engine, microseconds(start), microseconds(platform.now), HORIZON_US)


def microseconds(moment: datetime) -> int:
    return round(1e6 * moment.timestamp())
