"""A log of answers and events, written by minutes from noon."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import insert, text

from monitoring.outcomes import read_outcomes
from sensei.events.log import Log
from sensei.storage.tables import Prediction, to_microseconds

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
Minutes = float
Given = Callable[..., None]


def at(minute: Minutes) -> int:
    """Convert minutes after noon to microseconds since 1970."""
    return to_microseconds(NOON + timedelta(minutes=minute))


@pytest.fixture
def answered(log: Log) -> Given:
    """Log an answer; the time is in minutes after noon, the id is "learner minute"."""

    def write(user_id: str, minute: Minutes, answer: Any, **columns: Any) -> None:
        row = {
            "prediction_id": f"{user_id} {minute:g}",
            "user_id": user_id,
            "kind": "recommendation" if isinstance(answer, list) else "difficulty",
            "topic_id": None,
            "model": "sequence",
            "version": "3",
            "bundle": "b" * 64,
            "arm": "champion",
            "propensity": 0.95,
            "fallback": None,
            "answer": answer,
            "candidates": None,
            "inputs": None,
            "created_at": NOON + timedelta(minutes=minute),
        }
        with log.engine.begin() as connection:
            connection.execute(insert(Prediction), row | columns)

    return write


@pytest.fixture
def did(log: Log) -> Given:
    """Append an event; the time is in minutes after noon."""

    def append(user_id: str, minute: Minutes, topic_id: int, **fields: Any) -> None:
        event = {
            "event_id": f"{minute:g} {topic_id} {fields.get('interaction_type')}",
            "user_id": user_id,
            "interaction_type": "text_read",
            "topic_id": topic_id,
            "timestamp": NOON + timedelta(minutes=minute),
        }
        received = NOON + timedelta(minutes=fields.pop("received", minute))
        log.append([event | fields], now=received)

    return append


@pytest.fixture
def outcomes(log: Log) -> Callable[..., pd.DataFrame]:
    """Reads what became of the answers, by prediction id; the horizon is an hour."""

    def read(start: Minutes = 0, end: Minutes = 10_000, k: int = 3) -> pd.DataFrame:
        frame = read_outcomes(log.engine, at(start), at(end), at(60) - at(0), k)
        return frame.set_index("prediction_id")

    return read


@pytest.fixture
def rows(log: Log) -> Callable[[str], list[Any]]:
    """Rows that a query returns."""

    def read(query: str) -> list[Any]:
        with log.engine.connect() as connection:
            return list(connection.execute(text(query)).all())

    return read
