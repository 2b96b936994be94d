"""How sure the figures are: 95 % intervals from resampling learners, not rows."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensei import metrics
from training.scores import MODES, RecommendationScores, SuccessScores


def recommendation_intervals(
    scores: Mapping[str, RecommendationScores], chosen: str, seed: int
) -> dict[str, Any]:
    """Intervals of every model's figures, and of what the chosen one gains over each other.

    Args:
        scores: of every model, on the same rows.
        chosen: name of the selected model.
        seed: seed of the resampling.

    Returns:
        mode -> model -> hr_at_1, ndcg_at_5, and `gain`: NDCG@5 of the chosen one minus the model's,
        paired; each with value, low and high. Models are tied where the interval of gain holds 0.
    """
    out: dict[str, Any] = {}
    for mode in MODES:
        best, _ = scores[chosen].of(mode)
        out[mode] = {}
        for name, each in scores.items():
            rank, learner = each.of(mode)
            gain = metrics.ndcg_at_k(best, 5) - metrics.ndcg_at_k(rank, 5)
            out[mode][name] = {
                "hr_at_1": _interval(metrics.hit_rate_at_k(rank, 1), learner, seed),
                "ndcg_at_5": _interval(metrics.ndcg_at_k(rank, 5), learner, seed),
                "gain": _interval(gain, learner, seed),
            }
    return out


def success_intervals(
    scores: Mapping[str, SuccessScores], chosen: str, seed: int
) -> dict[str, Any]:
    """The same of success models: auc, log_loss, and `gain`: log loss the chosen one saves."""
    out: dict[str, Any] = {}
    best = metrics.log_loss(scores[chosen].passed, scores[chosen].probability)
    for name, s in scores.items():
        loss = metrics.log_loss(s.passed, s.probability)
        out[name] = {
            "auc": asdict(metrics.auc_bootstrap(s.passed, s.probability, s.learner, seed)),
            "log_loss": _interval(loss, s.learner, seed),
            "gain": _interval(loss - best, s.learner, seed),
        }
    return out


def _interval(
    value: NDArray[np.float64], learner: NDArray[np.int32], seed: int
) -> dict[str, float]:
    return asdict(metrics.learner_bootstrap(value, learner, seed))
