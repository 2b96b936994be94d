"""95 % confidence intervals of the metrics, by resampling learners, not rows."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sensei import metrics
from training.scores import MODES

Floats = NDArray[np.float64]


class RankingSample(Protocol):
    """Scores of a next-topic model, of one seed or of several."""

    def values(self, metric: str, mode: str) -> Floats:
        """Return a metric per target of a mode."""

    def who(self, mode: str) -> NDArray[np.int32]:
        """Return the learners of these targets."""


class SuccessSample(Protocol):
    """Scores of a success model, of one seed or of several."""

    @property
    def passed(self) -> NDArray[np.int8]:
        """(n,) outcomes."""

    @property
    def probability(self) -> Floats:
        """(n,) or (s, n) probabilities, one row per seed."""

    @property
    def learner(self) -> NDArray[np.int32]:
        """(n,) learners."""

    def values(self, metric: str) -> Floats:
        """Return a metric per attempt."""


def recommendation_intervals(
    scores: Mapping[str, RankingSample], chosen: str, seed: int
) -> dict[str, Any]:
    """Return intervals of every model's metrics, and of the chosen model's gain over each model.

    Args:
        scores: scores of every model, on the same rows.
        chosen: name of the selected model.
        seed: seed of the resampling.

    Returns:
        mode -> model -> hr_at_1, ndcg_at_5, and `gain`: NDCG@5 of the chosen model minus that of
        the model, paired; each with value, low and high. Models are tied if the interval of the
        gain contains 0.
    """
    out: dict[str, Any] = {}
    for mode in MODES:
        best = scores[chosen].values("ndcg_at_5", mode)
        out[mode] = {}
        for name, sample in scores.items():
            learner, ndcg = sample.who(mode), sample.values("ndcg_at_5", mode)
            out[mode][name] = {
                "hr_at_1": interval(sample.values("hr_at_1", mode), learner, seed),
                "ndcg_at_5": interval(ndcg, learner, seed),
                "gain": interval(best - ndcg, learner, seed),
            }
    return out


def success_intervals(
    scores: Mapping[str, SuccessSample], chosen: str, seed: int
) -> dict[str, Any]:
    """Return intervals of success models: auc, log_loss, and `gain`, the loss the chosen one saves.

    If the chosen model is not in `scores`, there is no gain.
    """
    out: dict[str, Any] = {}
    best = scores[chosen].values("log_loss") if chosen in scores else None
    for name, sample in scores.items():
        loss = sample.values("log_loss")
        out[name] = {
            "auc": asdict(
                metrics.auc_bootstrap(sample.passed, sample.probability, sample.learner, seed)
            ),
            "log_loss": interval(loss, sample.learner, seed),
        }
        if best is not None:
            out[name]["gain"] = interval(loss - best, sample.learner, seed)
    return out


def interval(value: Floats, learner: NDArray[np.int32], seed: int) -> dict[str, float]:
    """Return value, low and high of the mean of a metric."""
    return asdict(metrics.learner_bootstrap(value, learner, seed))
