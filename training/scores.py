"""What a model's answers were worth, row by row: for the table, the slices and the gate."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from sensei import metrics
from sensei.contracts import LEVELS
from sensei.errors import NotEnoughData
from training.architectures import Model

Predict = Callable[[Examples], NDArray[np.floating]]
"""Examples -> (n, T) scores over slots 1..T, or (n, 3) success per level."""

CHUNK_CELLS = 2**20
"""Scores held at a time (4 MB an array), however many targets and topics there are."""

MODES = ("all", "new")
"""Every target; targets that differ from the learner's last topic, which is masked."""

MEDIUM = LEVELS.index("medium")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RecommendationScores:
    """Ranks of n targets, all topics ranked, ties against the model.

    Attributes:
        rank: (n,) in 1..T; infinity for a topic without a slot.
        new_rank: (n,) the same with the learner's last topic masked.
        is_new: (n,) bool: the target differs from the learner's last topic; also his first event.
        learner: (n,) code of the learner.
    """

    rank: Floats
    new_rank: Floats
    is_new: NDArray[np.bool_]
    learner: NDArray[np.int32]

    def of(self, mode: str) -> tuple[Floats, NDArray[np.int32]]:
        """Ranks and learners of the targets that count in `all` or in `new`."""
        if mode == "all":
            return self.rank, self.learner
        return self.new_rank[self.is_new], self.learner[self.is_new]

    def table(self, mode: str, chosen: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Means over the targets of a mode, `all` or `new`, or over the slice `chosen` of them.

        Returns:
            hr_at_1, hr_at_3, hr_at_5, ndcg_at_5, mrr in [0, 1], NaN without targets, and n.
        """
        used = np.ones(len(self.rank), bool) if chosen is None else chosen
        rank = self.rank[used] if mode == "all" else self.new_rank[used & self.is_new]
        values = {f"hr_at_{k}": metrics.hit_rate_at_k(rank, k) for k in (1, 3, 5)}
        values |= {"ndcg_at_5": metrics.ndcg_at_k(rank, 5), "mrr": metrics.mrr(rank)}
        return {**{name: _mean(v) for name, v in values.items()}, "n": len(rank)}


@dataclass(frozen=True)
class SuccessScores:
    """Probabilities given to the outcomes of n scored attempts, at the level taken.

    Attributes:
        passed: (n,) 1 or 0.
        probability: (n,) in [0, 1].
        learner: (n,) code of the learner.
    """

    passed: NDArray[np.int8]
    probability: Floats
    learner: NDArray[np.int32]

    def table(self) -> dict[str, float]:
        """auc, accuracy, log_loss (nats), brier, ece and n; NaN where undefined."""
        y, p = self.passed, self.probability
        return {
            "auc": metrics.auc(y, p),
            "accuracy": _mean(metrics.accuracy(y, p)),
            "log_loss": _mean(metrics.log_loss(y, p)),
            "brier": _mean(metrics.brier(y, p)),
            "ece": metrics.calibration_error(y, p),
            "n": len(y),
        }


def recommendation_predictor(model: Model) -> Predict:
    """Answer as a Keras recommendation model does."""

    def predict(rows: Examples) -> NDArray[np.floating]:
        answer = model({"inputs": rows.recommendation}, training=False)["probability"]
        return np.asarray(answer)

    return predict


def success_predictor(model: Model) -> Predict:
    """Answer as a Keras difficulty model does."""
    names = set(model.input)

    def predict(rows: Examples) -> NDArray[np.floating]:
        given = {"inputs": rows.difficulty, "topic": rows.target[:, None].astype(np.float32)}
        answer = model({n: given[n] for n in names}, training=False)["success"]
        return np.asarray(answer)

    return predict


def score_recommendation(predict: Predict, rows: Examples, topics: int) -> RecommendationScores:
    """Rank every target among all topics, in chunks, so that memory does not grow with the log.

    Args:
        predict: answers (n, topics).
        rows: targets, in the order of events.
        topics: number of topics with a slot.
    """
    rank, new_rank = np.empty(len(rows)), np.empty(len(rows))
    for chunk in _chunks(len(rows), topics):
        part = rows.take(chunk)
        answer = predict(part)
        rank[chunk] = metrics.ranks(answer, part.target)
        new_rank[chunk] = metrics.ranks(answer, part.target, part.last_topic)
    is_new = rows.topic_id != rows.last_topic_id
    return RecommendationScores(rank, new_rank, is_new, rows.learner)


def score_success(predict: Predict, rows: Examples) -> SuccessScores:
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
    answer = np.concatenate([predict(attempts.take(chunk)) for chunk in _chunks(len(attempts), 32)])
    probability = answer[np.arange(len(attempts)), level_taken(attempts)].astype(np.float64)
    return SuccessScores(attempts.passed, probability, attempts.learner)


def level_taken(rows: Examples) -> NDArray[np.int8]:
    """(n,) level of each attempt; medium where nothing tells."""
    return np.where(rows.level < 0, MEDIUM, rows.level).astype(np.int8)


def _chunks(count: int, width: int) -> list[NDArray[np.int64]]:
    step = max(1, CHUNK_CELLS // max(width, 1))
    return [np.arange(start, min(start + step, count)) for start in range(0, count, step)]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
