"""Scores of a model's answers per row, for tables, slices and the gate."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from sensei import metrics
from sensei.contracts import LEVELS
from sensei.errors import NotEnoughData
from sensei.model_name import ModelName

Answers = Iterator[tuple[NDArray[np.int64], Mapping[str, NDArray[np.floating]]]]
"""Pairs of rows and a model's answers for them by name; every row occurs once."""

Predict = Callable[[Examples], Answers]
"""Function of examples: `probability` (n, slots) per topic, or `success` (n, 3) per level."""

MODES = ("all", "new")
"""Modes: all targets; only targets that differ from the learner's last topic, which is masked."""

MEDIUM = LEVELS.index("medium")

Floats = NDArray[np.float64]

RANKED: dict[str, Callable[[Floats], Floats]] = {
    "hr_at_1": lambda rank: metrics.hit_rate_at_k(rank, 1),
    "hr_at_3": lambda rank: metrics.hit_rate_at_k(rank, 3),
    "hr_at_5": lambda rank: metrics.hit_rate_at_k(rank, 5),
    "ndcg_at_5": lambda rank: metrics.ndcg_at_k(rank, 5),
    "mrr": metrics.mrr,
}
"""Ranking metrics: (n,) ranks -> (n,) values."""

PREDICTED = {
    "accuracy": metrics.accuracy,
    "log_loss": metrics.log_loss,
    "brier": metrics.brier,
}
"""Probability metrics that are means over rows: (n,) outcomes and probabilities -> (n,) values."""


@dataclass(frozen=True)
class RecommendationScores:
    """Ranks of n targets among all topics; ties count against the model.

    Attributes:
        rank: (n,) in 1..T; infinity for a topic without a slot.
        new_rank: (n,) the same with the learner's last topic masked.
        is_new: (n,) bool: the target differs from the learner's last topic, or is their first
            event.
        learner: (n,) code of the learner.
    """

    rank: Floats
    new_rank: Floats
    is_new: NDArray[np.bool_]
    learner: NDArray[np.int32]

    def of(self, mode: str) -> tuple[Floats, NDArray[np.int32]]:
        """Return ranks and learners of the targets of a mode, `all` or `new`."""
        if mode == "all":
            return self.rank, self.learner
        return self.new_rank[self.is_new], self.learner[self.is_new]

    def who(self, mode: str) -> NDArray[np.int32]:
        """Return the learners of the targets of a mode."""
        return self.of(mode)[1]

    def values(self, metric: str, mode: str) -> Floats:
        """Return a metric of `RANKED` per target of a mode."""
        return RANKED[metric](self.of(mode)[0])

    def table(self, mode: str, chosen: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Return means over the targets of a mode, `all` or `new`, or over their slice `chosen`.

        Returns:
            hr_at_1, hr_at_3, hr_at_5, ndcg_at_5, mrr in [0, 1], NaN without targets, and n.
        """
        used = np.ones(len(self.rank), bool) if chosen is None else chosen
        rank = self.rank[used] if mode == "all" else self.new_rank[used & self.is_new]
        return {**{name: _mean(of(rank)) for name, of in RANKED.items()}, "n": len(rank)}


@dataclass(frozen=True)
class DifficultyScores:
    """Predicted probabilities of a pass for n scored attempts, at the level taken.

    Attributes:
        passed: (n,) 1 or 0.
        probability: (n,) in [0, 1].
        learner: (n,) code of the learner.
        any_item: (n,) the probability without the item.
        overall: (n,) the probability with neither item nor level known; NaN if a model always needs
            them. A model with equal answers at every level needs neither.
    """

    passed: NDArray[np.int8]
    probability: Floats
    learner: NDArray[np.int32]
    any_item: Floats
    overall: Floats

    @property
    def topic_only(self) -> "DifficultyScores | None":
        """Scores with neither item nor level known; None if the model has none."""
        if np.isnan(self.overall).any():
            return None
        return replace(self, probability=self.overall)

    @property
    def level_only(self) -> "DifficultyScores":
        """Scores with the level known and no item, as in serving."""
        return replace(self, probability=self.any_item)

    def values(self, metric: str) -> Floats:
        """Return a metric of `PREDICTED` per attempt."""
        return PREDICTED[metric](self.passed, self.probability)

    def table(self, chosen: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Return the metrics of all attempts, or of the slice `chosen` of them.

        Returns:
            auc, accuracy, log_loss (nats), brier, ece and n; NaN if undefined.
        """
        used = np.ones(len(self.passed), bool) if chosen is None else chosen
        y, p = self.passed[used], self.probability[used]
        means = {name: _mean(of(y, p)) for name, of in PREDICTED.items()}
        return {
            "auc": metrics.auc(y, p),
            **means,
            "ece": metrics.calibration_error(y, p),
            "n": len(y),
        }


def score_recommendation(predict: Predict, rows: Examples) -> RecommendationScores:
    """Rank every target among all topics, in batches, so that memory does not grow with the log.

    Args:
        predict: answers `probability`, or any score with the same order of topics.
        rows: targets, in the order of events.
    """
    rank, new_rank = np.full(len(rows), np.inf), np.full(len(rows), np.inf)
    for chosen, answer in predict(rows):
        score = answer["probability"]
        target, last = rows.target[chosen], rows.last_topic[chosen]
        beyond = target > score.shape[1]  # topic without a slot in this model
        rank[chosen] = metrics.ranks(score, np.where(beyond, 0, target))
        masked = np.where(last > score.shape[1], 0, last)
        new_rank[chosen] = metrics.ranks(score, np.where(beyond, 0, target), masked)
    is_new = rows.topic_id != rows.last_topic_id
    return RecommendationScores(rank, new_rank, is_new, rows.learner)


def score_difficulty(predict: Predict, rows: Examples) -> DifficultyScores:
    """Take the probability at the level taken, for every scored attempt among the rows.

    Raises:
        NotEnoughData: no row is a scored attempt.
    """
    attempts = rows.take(rows.passed >= 0)
    if len(attempts) == 0:
        raise NotEnoughData(
            "score: expected scored quizzes or practice among the rows to score, got none; "
            "import attempts with their scores"
        )
    probability, any_item = np.empty(len(attempts)), np.empty(len(attempts))
    overall = np.full(len(attempts), np.nan)
    level = level_taken(attempts)
    for chosen, answer in predict(attempts):
        success = answer["success"]
        taken = np.arange(len(chosen)), level[chosen]
        probability[chosen] = success[taken]
        any_item[chosen] = answer.get("levels", success)[taken]
        if "overall" in answer:
            overall[chosen] = answer["overall"][:, 0]
        elif (success == success[:, :1]).all():
            overall[chosen] = success[:, 0]
    return DifficultyScores(attempts.passed, probability, attempts.learner, any_item, overall)


SCORE: dict[ModelName, Callable[[Predict, Examples], RecommendationScores | DifficultyScores]] = {
    ModelName.RECOMMENDATION: score_recommendation,
    ModelName.DIFFICULTY: score_difficulty,
}
"""Function that scores a model's answers on examples."""


def level_taken(rows: Examples) -> NDArray[np.int8]:
    """Return (n,) the level of each attempt; medium if it is unknown."""
    return np.where(rows.level < 0, MEDIUM, rows.level).astype(np.int8)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
