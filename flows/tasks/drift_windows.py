"""Windows of the drift comparison: the last days and the champion's training window."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features.batch import examples
from features.corpus import statistics as corpus
from features.corpus.catalogue_features import CatalogueFeatures
from features.corpus.daily_counts import DailyCounts
from features.corpus.statistics import Statistics
from features.events import encode
from monitoring.drift.windows import last_of_each, next_topic_window, success_window
from sensei import curriculum
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import DAY
from sensei.events.log import Log as Interactions
from sensei.model_name import ModelName
from training.data.dataset import Dataset
from training.data.shards import Log
from training.release.bundle_predictor import answers_of
from training.scores import Predict
from training.tracking.drift_reference import load_reference
from training.tracking.registry import Registry


@dataclass(frozen=True)
class ObservedLog:
    """Log from which windows are read, with the other inputs of a model.

    Attributes:
        log: in pieces of whole learners.
        daily: its events by topic and day.
        outline: domains and prerequisites of topics from the catalogue.
    """

    log: Log
    daily: DailyCounts
    outline: CatalogueFeatures

    @classmethod
    def until(cls, interactions: Interactions, end: datetime) -> "ObservedLog":
        """Read all valid interactions before a moment."""
        events = encode(interactions.read(until=end))
        daily = DailyCounts.of(events, np.ones(len(events), bool))
        return cls(
            (events,), daily, CatalogueFeatures.of(curriculum.read(interactions.engine).topics)
        )

    @classmethod
    def prepared(cls, prepared: Dataset) -> "ObservedLog":
        """Wrap the log of a training run."""
        return cls(prepared.log, prepared.census.daily, prepared.test.outline)

    def window(
        self, model_name: str, statistics: Statistics, predict: Predict | None, start: int, end: int
    ) -> pd.DataFrame:
        """Build one row per learner of [start, end): inputs and answer for their last event.

        Args:
            model_name: `recommendation` or `difficulty`.
            statistics: those of the model.
            predict: the model; None for the inputs alone.
            start: microseconds since 1970.
            end: likewise, not included.
        """
        statistics = statistics.renamed(self.outline.replaced)
        recency = self.daily.recency(statistics, self.outline.domains)
        frames = []
        for events in self.log:
            last_rows = last_of_each(events, start, end, scored=model_name == ModelName.DIFFICULTY)
            rows = examples(events, statistics, last_rows, recency, self.outline)
            answers = predict(rows) if predict else None
            if model_name == ModelName.RECOMMENDATION:
                frames.append(next_topic_window(rows, answers))
            elif answers is not None:
                frames.append(success_window(rows, answers))
        return pd.concat(frames, ignore_index=True)

    def inputs(self, start: int, end: int) -> pd.DataFrame:
        """Build the window of inputs without any model."""
        empty_statistics = corpus.fit(self.log[0], np.zeros(len(self.log[0]), bool))
        return self.window(ModelName.RECOMMENDATION, empty_statistics, None, start, end)


@dataclass(frozen=True)
class DriftWindows:
    """Two windows to compare, and a description of the second one."""

    current: pd.DataFrame
    reference: pd.DataFrame
    against: str


def windows(
    observed: ObservedLog, champion: Bundle | None, registry: Registry, end: datetime, days: int
) -> DriftWindows:
    """Return the last days as the champion reads and answers them, and its own reference.

    The window before the last days is the reference without a champion, and for a model whose
    version has no reference.
    """
    span = timedelta(days=days)
    last_window, previous_window = _us(end - span, end), _us(end - 2 * span, end - span)
    earlier = f"the {days} days before"
    if champion is None:
        against = f"{earlier} (no champion served yet)"
        return DriftWindows(
            observed.inputs(*last_window), observed.inputs(*previous_window), against
        )
    current, reference = [], []
    own: list[str] = []
    without_window: list[str] = []
    for model_name, entry in champion.manifest.models.items():
        statistics = Statistics.from_arrays(dict(champion.statistics[model_name]))
        model = model_name, statistics, answers_of(champion, ModelName(model_name))
        current.append(observed.window(*model, *last_window))
        stored_window = load_reference(registry, model_name, entry.version)
        reference.append(
            observed.window(*model, *previous_window) if stored_window is None else stored_window
        )
        (without_window if stored_window is None else own).append(f"{model_name} {entry.version}")
    against = f"the training window of {' and '.join(own)}" if own else earlier
    if own and without_window:
        against += f" ({earlier} for {' and '.join(without_window)})"
    return DriftWindows(_joined(current), _joined(reference), against)


def references(
    observed: ObservedLog,
    trained: Mapping[str, tuple[Statistics, Predict, int]],
    days: int,
) -> dict[str, pd.DataFrame]:
    """Return by model its window of the last days before its training cutoff.

    Args:
        observed: log of the run.
        trained: model -> its statistics, its predict function, and the cutoff in microseconds since
            1970.
        days: length of the window.
    """
    return {
        model_name: observed.window(model_name, statistics, predict, cutoff - days * DAY, cutoff)
        for model_name, (statistics, predict, cutoff) in trained.items()
    }


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Join frames by columns; shorter ones are padded with NaN, as drift compares columns only."""
    return pd.concat(frames, axis=1)


def _us(*moments: datetime) -> tuple[int, ...]:
    return tuple(int(moment.timestamp() * 1e6) for moment in moments)
