"""Small logs with planted answers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.batch import encode
from sensei.contracts import KINDS, LEVELS
from training.candidates import Candidates, train_candidates
from training.fit import FAST
from training.preparation import Prepared, prepare
from training.recipes import QUICK
from training.splits import split_by_learner

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
        when = pd.to_datetime(np.array(minute) * 60, unit="s", utc=True)
        return pd.DataFrame(
            {
                "event_id": [f"{i:08d}" for i in range(len(rows))],
                "user_id": pd.Categorical(user),
                "interaction_type": pd.Categorical([kind] * len(rows), categories=KINDS),
                "topic_id": np.array(topic, np.int64),
                "score": np.array(score, float),
                "duration_seconds": np.full(len(rows), np.nan),
                "timestamp": when.astype("datetime64[us, UTC]"),
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
def prepared(planted: pd.DataFrame) -> Prepared:
    events = encode(planted)
    return prepare(events, split_by_learner(events))


@pytest.fixture(scope="session")
def candidates(prepared: Prepared) -> Candidates:
    return train_candidates(prepared, 0, BRIEF)
