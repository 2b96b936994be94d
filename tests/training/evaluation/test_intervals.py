"""Intervals hold the figure, and call two models tied or not."""

import numpy as np

from training.evaluation.intervals import recommendation_intervals, success_intervals
from training.scores import DifficultyScores, RecommendationScores

LEARNER = np.repeat(np.arange(30), 10).astype(np.int32)


def ranked(rank: np.ndarray) -> RecommendationScores:
    return RecommendationScores(rank, rank, np.ones(300, bool), LEARNER)


def expected(passed: np.ndarray, probability: np.ndarray) -> DifficultyScores:
    return DifficultyScores(passed, probability, LEARNER, probability, overall=np.full(300, np.nan))


def test_gain_over_a_worse_model_excludes_zero_and_over_an_equal_one_does_not() -> None:
    rng = np.random.default_rng(0)
    scores = {
        "good": ranked(rng.integers(1, 4, 300).astype(float)),
        "alike": ranked(rng.integers(1, 4, 300).astype(float)),
        "bad": ranked(rng.integers(1, 20, 300).astype(float)),
    }
    new = recommendation_intervals(scores, "good", seed=0)["new"]
    assert new["bad"]["gain"]["low"] > 0
    assert new["alike"]["gain"]["low"] < 0 < new["alike"]["gain"]["high"]
    assert new["good"]["gain"]["value"] == 0
    assert new["good"]["hr_at_1"]["value"] == scores["good"].table("new")["hr_at_1"]


def test_saved_log_loss_is_a_gain() -> None:
    rng = np.random.default_rng(1)
    passed = (rng.random(300) < 0.5).astype(np.int8)
    informed = expected(passed, np.where(passed, 0.8, 0.2))
    flat = expected(passed, np.full(300, 0.5))
    intervals = success_intervals({"told": informed, "flat": flat}, "told", seed=0)
    assert intervals["flat"]["gain"]["low"] > 0
    assert intervals["flat"]["auc"]["value"] == intervals["flat"]["auc"]["low"] == 0.5
    assert intervals["told"]["auc"]["value"] == 1.0
