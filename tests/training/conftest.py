"""Small logs with planted answers."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from features.batch import encode
from sensei.contracts import KINDS, LEVELS
from training.candidates import Candidates, train_candidates
from training.data.dataset import Dataset, prepare
from training.data.splits import split_by_learner
from training.evaluation.protocol import ModelScores, measure
from training.evaluation.result import Result
from training.fitting.keras_fit import FAST
from training.recipes import QUICK
from training.reports.model_card import Provenance
from training.tracking.run_logging import DatasetSummary

Frames = Callable[..., pd.DataFrame]

BRIEF = replace(QUICK, epochs=1, setting=replace(FAST, epochs=3))
"""A budget that shows whether models are trained at all, not how well."""


@pytest.fixture(scope="session")
def frame_of() -> Frames:
    """Frames by hand: learner i takes the topics `walks[i]` a minute apart, with `scores[i]`."""

    def build(
        walks: list[list[int]],
        scores: list[list[float]] | None = None,
        kind: str = "quiz_complete",
    ) -> pd.DataFrame:
        rows = [
            (f"u{i:04d}", topic, np.nan if scores is None else scores[i][j], i * 7 + j)
            for i, walk in enumerate(walks)
            for j, topic in enumerate(walk)
        ]
        user, topic, score, minute = (list(column) for column in zip(*rows, strict=True))
        timestamps = pd.to_datetime(np.array(minute) * 60, unit="s", utc=True)
        return pd.DataFrame(
            {
                "event_id": [f"{i:08d}" for i in range(len(rows))],
                "user_id": pd.Categorical(user),
                "interaction_type": pd.Categorical([kind] * len(rows), categories=KINDS),
                "topic_id": np.array(topic, np.int64),
                "score": np.array(score, float),
                "duration_seconds": np.full(len(rows), np.nan),
                "timestamp": timestamps.astype("datetime64[us, UTC]"),
                "item_id": pd.Categorical([None] * len(rows), categories=["unused"]),
                "difficulty": pd.Categorical([None] * len(rows), categories=LEVELS),
                "metadata": [
                    '{"split":"test"}' if int(u[1:]) % 4 == 0 else '{"split":"train"}' for u in user
                ],
            }
        )

    return build


@pytest.fixture(scope="session")
def planted(frame_of: Frames) -> pd.DataFrame:
    """Topics 10..15 follow each other in a circle; 10 is mostly failed, 15 mostly passed."""
    rng = np.random.default_rng(0)
    walks = [[int(10 + (start + j) % 6) for j in range(24)] for start in rng.integers(0, 6, 40)]
    scores = [[float(rng.random() < 0.1 + 0.16 * (t - 10)) for t in walk] for walk in walks]
    return frame_of(walks, scores)


@pytest.fixture(scope="session")
def prepared(planted: pd.DataFrame) -> Dataset:
    events = encode(planted)
    return prepare(events, split_by_learner(events))


@pytest.fixture(scope="session")
def candidates(prepared: Dataset) -> Candidates:
    return train_candidates(prepared, 0, BRIEF)


@pytest.fixture(scope="session")
def validated(candidates: Candidates, prepared: Dataset) -> ModelScores:
    return measure(candidates, prepared, "validate")


@pytest.fixture(scope="session")
def tested(candidates: Candidates, prepared: Dataset) -> ModelScores:
    return measure(candidates, prepared, "test")


FIRST, LAST = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 3))
DATASET = DatasetSummary("log", "ab" * 32, 1_234, 56, 7, FIRST, LAST)


def ranked(value: float, n: int = 400) -> dict[str, float]:
    return {"hr_at_1": value, "hr_at_3": value, "hr_at_5": value, "ndcg_at_5": value, "mrr": value,
            "n": n}  # fmt: skip


def predicted(loss: float, n: int = 300) -> dict[str, float]:
    return {"auc": 0.7, "accuracy": 0.7, "log_loss": loss, "brier": 0.2, "ece": 0.08, "n": n}


def sure(value: float, gain: float = 0.1) -> dict[str, dict[str, float]]:
    def interval(middle: float) -> dict[str, float]:
        return {"value": middle, "low": middle - 0.02, "high": middle + 0.02}

    leading = {name: interval(value) for name in ("hr_at_1", "ndcg_at_5", "auc", "log_loss")}
    return {**leading, "gain": interval(gain)}


SLICES = {
    "cold": {
        "no_history": {"markov_1": 0.2, "sequence": 0.1},
        "unseen_topic": {"markov_1": 0.0, "sequence": 0.05},
    },
    "history_length": {"0": {"markov_1": 0.3, "sequence": 0.45}},
}


@pytest.fixture
def result() -> Result:
    by_mode = {"markov_1": ranked(0.3), "repeat_last": ranked(0.01), "sequence": ranked(0.5)}
    return Result(
        next_topic={"all": by_mode, "new": by_mode},
        success={"topic_mean": predicted(0.5), "history": predicted(0.51)},
        level_only={"topic_mean": predicted(0.5), "history": predicted(0.51)},
        topic_only={"topic_mean": predicted(0.5)},
        data={
            "split": "time",
            "selected": {"recommendation": "sequence", "difficulty": "history"},
            "budget": {"name": "full", "setting": "fast", "epochs": 10, "seeds": 3},
            "targets": {"train": 4_000, "validate": 300, "test": 400},
            "attempts": {"train": 3_000, "validate": 200, "test": 300},
        },
        intervals={
            "next_topic": {
                mode: {"markov_1": sure(0.3), "sequence": sure(0.5, gain=0.0)}
                for mode in ("all", "new")
            },
            "success": {"topic_mean": sure(0.5, gain=0.01), "history": sure(0.51, gain=0.0)},
            "level_only": {"topic_mean": sure(0.5, gain=0.01), "history": sure(0.51, gain=0.0)},
            "topic_only": {"topic_mean": sure(0.5)},
            "slices": {
                "next_topic": {g: dict.fromkeys(s, sure(0.4)["auc"]) for g, s in SLICES.items()},
                "success": {"cold": {"no_history": sure(0.6)["log_loss"]}},
            },
        },
        slices={
            "next_topic": {
                group: {
                    name: {"new": {model: ranked(v, n=50) for model, v in values.items()}}
                    for name, values in slices.items()
                }
                for group, slices in SLICES.items()
            },
            "success": {
                "cold": {"no_history": {"topic_mean": predicted(0.7), "history": predicted(0.6)}}
            },
        },
        seeds={},
    )


Maker = Callable[..., Provenance]


@pytest.fixture
def made() -> Maker:
    """Make the provenance of a model; with `demo`, of simulated learners."""

    def make(model: str, demo: bool = False) -> Provenance:
        parameters = {"window_days": 30, "seed": 0}
        described = "It reads events."
        return Provenance(
            model, described, 7, DATASET, demo, parameters, "`c0de`", True, 2_500_000, 1e-6
        )

    return make
