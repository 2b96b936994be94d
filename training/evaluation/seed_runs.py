"""Scores of a model trained with several seeds; every metric is the mean over seeds.

The classes have the interface of the scores of one seed, so tables, intervals and the choice use
both alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.scores import Floats, RecommendationScores, SuccessScores

Figures = dict[str, float]
Chosen = NDArray[np.bool_] | None


@dataclass(frozen=True)
class NextTopicRuns:
    """Scores of one next-topic model on the same targets, one entry per seed.

    Attributes:
        seeds: at least one; a counting model has one, because it does not depend on the seed.
    """

    seeds: tuple[RecommendationScores, ...]

    @property
    def first(self) -> RecommendationScores:
        """Scores of the first seed, whose network is exported."""
        return self.seeds[0]

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """(n,) bool: the target differs from the learner's last topic."""
        return self.first.is_new

    def who(self, mode: str) -> NDArray[np.int32]:
        """Return the learners of the targets of a mode."""
        return self.first.who(mode)

    def rank(self, mode: str) -> Floats:
        """Return the ranks of a mode, concatenated over seeds; their mean is one over seeds."""
        return np.concatenate([each.of(mode)[0] for each in self.seeds])

    def values(self, metric: str, mode: str) -> Floats:
        """Return a metric of `scores.RANKED` per target of a mode, mean over seeds."""
        return _mean_row([each.values(metric, mode) for each in self.seeds])

    def table(self, mode: str, chosen: Chosen = None) -> Figures:
        """Return the metrics of `RecommendationScores.table`, means over seeds."""
        return _mean_table([each.table(mode, chosen) for each in self.seeds])


@dataclass(frozen=True)
class SuccessRuns:
    """Scores of one success model on the same attempts, one entry per seed."""

    seeds: tuple[SuccessScores, ...]

    @property
    def first(self) -> SuccessScores:
        """Scores of the first seed, whose network is exported."""
        return self.seeds[0]

    @property
    def topic_only(self) -> "SuccessRuns | None":
        """Scores with neither item nor level known; None if a seed has none."""
        found = [each.topic_only for each in self.seeds]
        known = tuple(each for each in found if each)
        return SuccessRuns(known) if len(known) == len(found) else None

    @property
    def level_only(self) -> "SuccessRuns":
        """Scores with the level known and no item, as in serving."""
        return SuccessRuns(tuple(each.level_only for each in self.seeds))

    @property
    def learner(self) -> NDArray[np.int32]:
        """(n,) learners of the attempts."""
        return self.first.learner

    @property
    def passed(self) -> NDArray[np.int8]:
        """(n,) outcomes."""
        return self.first.passed

    @property
    def probability(self) -> Floats:
        """(s, n) probabilities, one row per seed."""
        return np.stack([each.probability for each in self.seeds])

    @property
    def answers(self) -> tuple[NDArray[np.int8], Floats]:
        """Outcomes and probabilities, concatenated over seeds."""
        return np.tile(self.passed, len(self.seeds)), self.probability.ravel()

    def values(self, metric: str) -> Floats:
        """Return a metric of `scores.PREDICTED` per attempt, mean over seeds."""
        return _mean_row([each.values(metric) for each in self.seeds])

    def table(self, chosen: Chosen = None) -> Figures:
        """Return the metrics of `SuccessScores.table`, means over seeds."""
        return _mean_table([each.table(chosen) for each in self.seeds])


@dataclass(frozen=True)
class ModelScores:
    """Scores of every model on the same rows; `success` is empty if no attempt is scored."""

    next_topic: dict[str, NextTopicRuns]
    success: dict[str, SuccessRuns]

    @property
    def topic_only(self) -> dict[str, SuccessRuns]:
        """Scores of success models with neither item nor level known, for models that have them."""
        found = {name: each.topic_only for name, each in self.success.items()}
        return {name: each for name, each in found.items() if each}

    @property
    def level_only(self) -> dict[str, SuccessRuns]:
        """Scores of success models with the level known and no item."""
        return {name: each.level_only for name, each in self.success.items()}


def _mean_row(values: Sequence[Floats]) -> Floats:
    mean: Floats = np.mean(values, axis=0)
    return mean


def _mean_table(tables: Sequence[Figures]) -> Figures:
    return {
        name: tables[0][name] if name == "n" else float(np.mean([t[name] for t in tables]))
        for name in tables[0]
    }
