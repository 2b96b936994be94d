from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from sensei.contracts import KINDS, LEVELS


@pytest.fixture(scope="session")
def as_of() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def interactions() -> Callable[[int], pd.DataFrame]:
    """Make n good interactions of canary learners on topics 1 to 5, all in 2025."""

    def make(n: int) -> pd.DataFrame:
        r = np.random.default_rng(0)
        start, day = pd.Timestamp("2025-06-01", tz="UTC"), pd.Timedelta(days=1)
        moments = pd.Series(start + day * r.random(n) * 100).astype("datetime64[us, UTC]")
        return pd.DataFrame(
            {
                "interaction_id": np.arange(n) + 1,
                "event_id": np.array([f"canary-event-{i}" for i in range(n)], dtype=object),
                "user_id": pd.Categorical([f"canary-learner-{i % 7}" for i in range(n)]),
                "interaction_type": pd.Categorical.from_codes(r.integers(0, 7, n), list(KINDS)),
                "topic_id": r.integers(1, 6, n),
                "score": np.where(r.random(n) < 0.4, np.nan, r.random(n)),
                "duration_seconds": r.integers(0, 900, n).astype(float),
                "timestamp": moments,
                "item_id": pd.Categorical.from_codes(r.integers(-1, 3, n), ["a", "b", "c"]),
                "difficulty": pd.Categorical.from_codes(r.integers(-1, 3, n), list(LEVELS)),
            }
        )

    return make
