"""Figures of several seeds are means over them, row by row and in tables."""

import numpy as np
import pytest

from training.evaluation.intervals import recommendation_intervals, success_intervals
from training.evaluation.seed_runs import DifficultyRuns, ModelScores, RecommendationRuns
from training.scores import DifficultyScores, RecommendationScores

LEARNER = np.array([0, 0, 1, 1], np.int32)
NEW = np.array([True, False, True, True])
PASSED = np.array([1, 0, 1, 0], np.int8)


def ranked(*rank: float) -> RecommendationScores:
    return RecommendationScores(np.array(rank), np.array(rank), NEW, LEARNER)


def predicted(*p: float, overall: float = np.nan) -> DifficultyScores:
    return DifficultyScores(PASSED, np.array(p), LEARNER, np.array(p), np.full(4, overall))


def test_next_topic_figures_are_means_over_seeds() -> None:
    two = RecommendationRuns((ranked(1, 1, 9, 9), ranked(1, 9, 1, 9)))
    assert two.values("hr_at_1", "all").tolist() == [1.0, 0.5, 0.5, 0.0]
    assert two.table("all")["hr_at_1"] == 0.5
    assert two.table("new") == pytest.approx({**two.table("new"), "hr_at_1": 0.5, "n": 3})
    assert two.table("all")["n"] == 4
    assert len(two.rank("new")) == 6


def test_success_figures_are_means_over_seeds_also_where_they_are_no_mean_over_rows() -> None:
    good, poor = predicted(0.9, 0.1, 0.9, 0.1), predicted(0.1, 0.9, 0.1, 0.9)
    runs = DifficultyRuns((good, poor))
    assert runs.table()["auc"] == 0.5
    assert runs.table()["log_loss"] == pytest.approx(
        (good.table()["log_loss"] + poor.table()["log_loss"]) / 2
    )
    sure = success_intervals({"both": runs, "right": DifficultyRuns((good,))}, "right", seed=0)
    assert sure["both"]["auc"]["value"] == 0.5
    assert sure["both"]["gain"]["low"] > 0


def test_intervals_of_one_seed_are_those_of_its_scores() -> None:
    scores = ranked(1, 2, 3, 9)
    expected = recommendation_intervals({"m": scores}, "m", seed=0)
    assert recommendation_intervals({"m": RecommendationRuns((scores,))}, "m", seed=0) == expected


def test_topic_only_leaves_out_models_that_need_more() -> None:
    measured = ModelScores(
        {},
        {
            "needs": DifficultyRuns((predicted(0.5, 0.5, 0.5, 0.5),)),
            "knows": DifficultyRuns((predicted(0.5, 0.5, 0.5, 0.5, overall=0.25),) * 2),
        },
    )
    assert list(measured.topic_only) == ["knows"]
    assert (measured.topic_only["knows"].probability == 0.25).all()
