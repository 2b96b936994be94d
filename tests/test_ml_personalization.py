"""The names of the original guide, walked one after the other: each is there and does its work."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.style import detect_learning_style, evidence
from monitoring.monitor import ModelMonitor
from sensei import curriculum
from sensei.app_state import MONITORED
from sensei.events.append import entries
from sensei.events.log import Log, open_log
from sensei.privacy import preferences
from sensei.settings import Settings
from sensei.storage.database import upgrade
from sensei.storage.tables import UserInteraction
from serving.api.monitoring_schemas import NOTHING, Monitored
from serving.worker import Worker, start_worker
from training.data.collection import collect_training_data

MIA = "mia"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, planted_bundle: Path) -> Path:
    """A log that points at the planted bundle."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(planted_bundle, home / "bundles" / planted_bundle.name)
    upgrade(f"sqlite:///{home / 'sensei.db'}")
    return home


@pytest.fixture(scope="module")
def log(home: Path, planted_bundle: Path) -> Iterator[Log]:
    log = open_log(f"sqlite:///{home / 'sensei.db'}")
    curriculum.store(log.engine, curriculum.load_file())
    log.set_pointer(planted_bundle.name)
    yield log
    log.close()


@pytest.fixture(scope="module")
def worker(home: Path, log: Log) -> Iterator[Worker]:
    """Worker of one process of the service; a quiz of Mia was logged."""
    worker = start_worker(Settings(home=home, control_share=0.0))
    quiz = {
        "user_id": MIA,
        "interaction_type": "quiz_complete",
        "topic_id": 11,
        "score": 0.9,
        "duration_seconds": 240,
    }
    (entry,) = entries([quiz], datetime.now(UTC))
    row = asyncio.run(worker.recorder.log_interaction(entry))
    assert (row.user_id, row.score) == (MIA, 0.9)
    yield worker
    worker.close()


def test_user_interaction_is_the_table_with_the_columns_of_the_guide() -> None:
    columns = set(UserInteraction.__table__.columns.keys())
    guide_columns = {
        "user_id",
        "interaction_type",
        "topic_id",
        "score",
        "duration_seconds",
        "timestamp",
    }
    assert UserInteraction.__tablename__ == "user_interactions"
    assert guide_columns | {"id", "metadata"} <= columns


def test_log_interaction_and_get_user_profile(worker: Worker) -> None:
    profile = worker.engine.get_user_profile(worker.engine.blocking_context_for(MIA))
    assert (profile["attempts"], profile["passes"], profile["met"]) == (1, 1, [11])
    assert profile["mean_score"] == pytest.approx(0.9)


def test_recommend_next_topics(worker: Worker) -> None:
    answer = worker.engine.recommend_next_topics(
        worker.engine.blocking_context_for(MIA), num_recommendations=2
    )
    first, second = answer["recommendations"]
    assert first["topic_id"] == 12  # what follows topic 11 in the planted model
    assert first["probability"] > second["probability"]


def test_suggest_quiz_difficulty(worker: Worker) -> None:
    answer = worker.engine.suggest_quiz_difficulty(
        worker.engine.blocking_context_for(MIA), topic_id=11
    )
    assert answer["difficulty"] in ("easy", "medium", "hard")
    assert answer["success_probability"] == answer["levels"][answer["difficulty"]]


def test_adapt_learning_path(worker: Worker) -> None:
    path = worker.engine.adapt_learning_path(
        worker.engine.blocking_context_for(MIA), steps=50, topic_id=12
    )["learning_path"]
    topics = [step["topic_id"] for step in path]
    assert topics[-1] == 12  # the goal, after all that it builds on
    assert 11 not in topics  # passed already


def test_detect_learning_style(worker: Worker, log: Log) -> None:
    assert detect_learning_style(5, 2, 0, 0) == "visual"
    assert detect_learning_style(4, 2, 3, 2) == "kinesthetic"
    observed = detect_learning_style(**evidence(preferences.kinds(log.engine, MIA)))
    assert (
        observed
        == worker.engine.get_user_profile(worker.engine.blocking_context_for(MIA))["learning_style"]
        == "mixed"
    )


def test_collect_training_data(worker: Worker, log: Log) -> None:
    frame = collect_training_data(log, days=90)
    assert frame[["topic_id", "score"]].to_dict("records") == [{"topic_id": 11, "score": 0.9}]


def test_model_monitor(worker: Worker, log: Log) -> None:
    monitor = ModelMonitor(log, lambda: time.time_ns() // 1000)
    monitor.log_prediction(MIA, recommendation=12, accepted=True)
    monitor.log_prediction(MIA, recommendation=13, accepted=False)
    metrics = monitor.get_metrics()
    guide_metrics = {
        "accuracy",
        "recommendation_acceptance",
        "user_satisfaction",
        "data_drift_score",
    }
    assert guide_metrics <= metrics.keys()
    assert metrics["recommendation_acceptance"] == 0.5
    assert metrics["data_drift_score"] == monitor.calculate_drift().score
    drift = metrics["drift"] | {"report": None}
    log.set_fact(MONITORED, {**metrics, "computed_at": "2026-01-31T00:00:00Z", "drift": drift})
    monitored = asyncio.run(worker.records.monitored())
    answered = NOTHING | monitored  # the response of GET /api/monitoring/metrics
    assert Monitored.model_validate(answered).recommendation_acceptance == 0.5
    assert (answered["fallback"], answered["note"]) == (None, None)
