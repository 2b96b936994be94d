"""Scores of a model trained with several seeds; every metric is the mean over seeds.

The classes have the interface of the scores of one seed, so tables, intervals and the choice use
both alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensei.model_name import ModelName
from training.scores import DifficultyScores, Floats, RecommendationScores

Figures = dict[str, float]
Chosen = NDArray[np.bool_] | None


@dataclass(frozen=True)
class RecommendationRuns:
    """Scores of one recommendation candidate on the same targets, one entry per seed.

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
        return np.concatenate([scores.of(mode)[0] for scores in self.seeds])

    def values(self, metric: str, mode: str) -> Floats:
        """Return a metric of `scores.RANKED` per target of a mode, mean over seeds."""
        return _mean_row([scores.values(metric, mode) for scores in self.seeds])

    def table(self, mode: str, chosen: Chosen = None) -> Figures:
        """Return the metrics of `RecommendationScores.table`, means over seeds."""
        return _mean_table([scores.table(mode, chosen) for scores in self.seeds])


@dataclass(frozen=True)
class DifficultyRuns:
    """Scores of one difficulty candidate on the same attempts, one entry per seed."""

    seeds: tuple[DifficultyScores, ...]

    @property
    def first(self) -> DifficultyScores:
        """Scores of the first seed, whose network is exported."""
        return self.seeds[0]

    @property
    def topic_only(self) -> "DifficultyRuns | None":
        """Scores with neither item nor level known; None if a seed has none."""
        scores = tuple(of_seed.topic_only for of_seed in self.seeds)
        complete = tuple(of_seed for of_seed in scores if of_seed)
        return DifficultyRuns(complete) if len(complete) == len(scores) else None

    @property
    def level_only(self) -> "DifficultyRuns":
        """Scores with the level known and no item, as in serving."""
        return DifficultyRuns(tuple(scores.level_only for scores in self.seeds))

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
        return np.stack([scores.probability for scores in self.seeds])

    @property
    def answers(self) -> tuple[NDArray[np.int8], Floats]:
        """Outcomes and probabilities, concatenated over seeds."""
        return np.tile(self.passed, len(self.seeds)), self.probability.ravel()

    def values(self, metric: str) -> Floats:
        """Return a metric of `scores.PREDICTED` per attempt, mean over seeds."""
        return _mean_row([scores.values(metric) for scores in self.seeds])

    def table(self, chosen: Chosen = None) -> Figures:
        """Return the metrics of `DifficultyScores.table`, means over seeds."""
        return _mean_table([scores.table(chosen) for scores in self.seeds])


@dataclass(frozen=True)
class ModelScores:
    """Scores of every candidate on the same rows; `difficulty` is empty without scored attempts."""

    recommendation: dict[str, RecommendationRuns]
    difficulty: dict[str, DifficultyRuns]

    @classmethod
    def of(cls, seeds: Mapping[ModelName, Mapping[str, Sequence[Any]]]) -> "ModelScores":
        """Collect scores: model -> candidate -> scores of each seed."""
        ranked = seeds.get(ModelName.RECOMMENDATION, {})
        predicted = seeds.get(ModelName.DIFFICULTY, {})
        return cls(
            {name: RecommendationRuns(tuple(scores)) for name, scores in ranked.items()},
            {name: DifficultyRuns(tuple(scores)) for name, scores in predicted.items()},
        )

    @property
    def topic_only(self) -> dict[str, DifficultyRuns]:
        """Scores with neither item nor level known, of the difficulty candidates that have them."""
        return {name: only for name, runs in self.difficulty.items() if (only := runs.topic_only)}

    @property
    def level_only(self) -> dict[str, DifficultyRuns]:
        """Scores of the difficulty candidates with the level known and no item."""
        return {name: runs.level_only for name, runs in self.difficulty.items()}


def _mean_row(values: Sequence[Floats]) -> Floats:
    mean: Floats = np.mean(values, axis=0)
    return mean


def _mean_table(tables: Sequence[Figures]) -> Figures:
    return {
        name: tables[0][name] if name == "n" else float(np.mean([t[name] for t in tables]))
        for name in tables[0]
    }
