"""A log whose pointer names the planted bundle, and events to append to it."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sensei.events.log import Log, open_log

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
Quiz = Callable[..., dict[str, Any]]


@pytest.fixture
def url(tmp_path: Path, migrated_file: Path) -> str:
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'sensei.db')}"


@pytest.fixture
def log(url: str) -> Iterator[Log]:
    log = open_log(url)
    yield log
    log.close()


@pytest.fixture
def home(tmp_path: Path, log: Log, planted_bundle: Path) -> Path:
    """A SENSEI_HOME with an empty log that points at the planted bundle."""
    shutil.copytree(planted_bundle, tmp_path / "bundles" / planted_bundle.name)
    log.set_pointer(planted_bundle.name)
    return tmp_path


@pytest.fixture
def quiz() -> Quiz:
    """Make a quiz event; the time is in minutes after noon."""

    def make(learner: str, topic_id: int, minute: int, score: float = 1.0) -> dict[str, Any]:
        return {
            "event_id": f"{minute}-{topic_id}",
            "user_id": learner,
            "interaction_type": "quiz_complete",
            "topic_id": topic_id,
            "score": score,
            "duration_seconds": 60,
            "timestamp": NOON + timedelta(minutes=minute),
        }

    return make
