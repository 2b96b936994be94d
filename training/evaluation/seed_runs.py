"""Scores of a model that was trained with several seeds: every figure is the mean over them.

They answer as the scores of one seed do, so that tables, intervals and the choice need not know.
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
    """One recommender's scores on the same targets, one entry a seed.

    Attributes:
        seeds: at least one; a counting model has one, for another would say the same.
    """

    seeds: tuple[RecommendationScores, ...]

    @property
    def first(self) -> RecommendationScores:
        """Those of the network that is exported."""
        return self.seeds[0]

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """(n,) the target differs from the learner's last topic."""
        return self.first.is_new

    def who(self, mode: str) -> NDArray[np.int32]:
        """Learners of the targets that count in a mode."""
        return self.first.who(mode)

    def rank(self, mode: str) -> Floats:
        """Ranks that count in a mode, seed after seed: a mean over them is one over seeds."""
        return np.concatenate([each.of(mode)[0] for each in self.seeds])

    def values(self, metric: str, mode: str) -> Floats:
        """A metric of `scores.RANKED` for each target that counts in a mode, mean over seeds."""
        return _mean_row([each.values(metric, mode) for each in self.seeds])

    def table(self, mode: str, chosen: Chosen = None) -> Figures:
        """As `RecommendationScores.table`, means over seeds."""
        return _mean_table([each.table(mode, chosen) for each in self.seeds])


@dataclass(frozen=True)
class SuccessRuns:
    """One success model's scores of the same attempts, one entry a seed."""

    seeds: tuple[SuccessScores, ...]

    @property
    def first(self) -> SuccessScores:
        """Those of the network that is exported."""
        return self.seeds[0]

    @property
    def topic_only(self) -> "SuccessRuns | None":
        """The answers to who knows neither item nor level; None where the model has none."""
        found = [each.topic_only for each in self.seeds]
        known = tuple(each for each in found if each)
        return SuccessRuns(known) if len(known) == len(found) else None

    @property
    def level_only(self) -> "SuccessRuns":
        """The answers to who knows the level but no item: those that serving gives."""
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
        """(s, n) probabilities, a row each seed."""
        return np.stack([each.probability for each in self.seeds])

    @property
    def answers(self) -> tuple[NDArray[np.int8], Floats]:
        """Outcomes and probabilities, seed after seed."""
        return np.tile(self.passed, len(self.seeds)), self.probability.ravel()

    def values(self, metric: str) -> Floats:
        """A metric of `scores.PREDICTED` for each attempt, mean over seeds."""
        return _mean_row([each.values(metric) for each in self.seeds])

    def table(self, chosen: Chosen = None) -> Figures:
        """As `SuccessScores.table`, means over seeds."""
        return _mean_table([each.table(chosen) for each in self.seeds])


@dataclass(frozen=True)
class ModelScores:
    """Scores of every model on the same rows; `success` is empty where no attempt is scored."""

    next_topic: dict[str, NextTopicRuns]
    success: dict[str, SuccessRuns]

    @property
    def topic_only(self) -> dict[str, SuccessRuns]:
        """Success models that answer who knows neither item nor level, by those answers."""
        found = {name: each.topic_only for name, each in self.success.items()}
        return {name: each for name, each in found.items() if each}

    @property
    def level_only(self) -> dict[str, SuccessRuns]:
        """Success models by their answers to who knows the level but no item."""
        return {name: each.level_only for name, each in self.success.items()}


def _mean_row(values: Sequence[Floats]) -> Floats:
    mean: Floats = np.mean(values, axis=0)
    return mean


def _mean_table(tables: Sequence[Figures]) -> Figures:
    return {
        name: tables[0][name] if name == "n" else float(np.mean([t[name] for t in tables]))
        for name in tables[0]
    }
