from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from sensei.contracts import KINDS, LEVELS

COLUMNS = (
    "user_id", "interaction_type", "topic_id", "score", "duration_seconds", "seconds", "item_id",
    "difficulty",
)  # fmt: skip


@pytest.fixture(scope="session")
def make_frame() -> Callable[[Sequence[tuple]], pd.DataFrame]:
    """Rows in the order of COLUMNS -> a frame of interactions, one second of time a unit."""

    def make(rows: Sequence[tuple]) -> pd.DataFrame:
        frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
        return pd.DataFrame(
            {
                "event_id": [f"event-{number:06d}" for number in range(len(rows))],
                "user_id": frame["user_id"].astype("category"),
                "interaction_type": pd.Categorical(frame["interaction_type"], categories=KINDS),
                "topic_id": frame["topic_id"].astype(np.int64),
                "score": frame["score"].astype(float),
                "duration_seconds": frame["duration_seconds"].astype(float),
                "timestamp": pd.to_datetime(
                    (frame["seconds"] * 1_000_000).astype(np.int64), unit="us", utc=True
                ).astype("datetime64[us, UTC]"),
                "item_id": frame["item_id"].astype(object),
                "difficulty": pd.Categorical(frame["difficulty"], categories=LEVELS),
            }
        )

    return make
