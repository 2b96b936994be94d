"""Inputs that serving logged, compared with training's fold, by the real engine and writer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from features.corpus.statistics import Statistics
from features.history import FOLD_VERSION
from monitoring.skew import Skew, compare
from sensei import curriculum
from sensei.bundle.bundle_format import Bundle
from sensei.corrections.merging import merge_learners
from sensei.curriculum import Curriculum, Topic
from sensei.errors import StorageUnavailable
from sensei.events.log import Log
from sensei.storage.tables import to_microseconds
from serving.engine.engine import Engine
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model
from serving.state.topic_popularity import popularity_of_log
from serving.storage.prediction_log import PredictionLog

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
Given = Callable[..., None]
Rows = Callable[[str], list[Any]]


def at(minute: float) -> int:
    return to_microseconds(NOON + timedelta(minutes=minute))


@dataclass
class Platform:
    """An engine that serves the planted bundle, and its log of answers."""

    log: Log
    engine: Engine
    writer: PredictionLog
    bundle: Bundle
    minute: float = 0.0

    def request(self, user_id: str, minute: float, topic_id: int | None = None) -> None:
        self.minute = minute
        if topic_id is None:
            self.engine.recommend_next_topics(self.engine.blocking_context_for(user_id))
        else:
            self.engine.suggest_quiz_difficulty(self.engine.blocking_context_for(user_id), topic_id)
        assert self.writer.flush()

    def skew(self, **options: int) -> Skew:
        arrays = self.bundle.statistics.items()
        served = {
            self.bundle.digest: {model: Statistics.from_arrays(tables) for model, tables in arrays}
        }
        return compare(self.log.engine, served, at(-1000), at(10_000_000), **options)


@pytest.fixture
def platform(log: Log, planted_bundle: Path) -> Platform:
    bundle = Bundle.load(planted_bundle, FOLD_VERSION)
    engine = Engine(LearnerCache(lambda: log, lambda: 0.0), Model.of(bundle), Catalogue.of(()), int)
    writer = PredictionLog(lambda: log, 36_500, int)
    platform_under_test = Platform(log, engine, writer, bundle)
    engine._clock, engine._record = lambda: at(platform_under_test.minute), writer.put
    return platform_under_test


@pytest.fixture
def quiz(did: Given) -> Given:
    def append(
        user_id: str, minute: float, topic_id: int, score: float = 0.8, **fields: float
    ) -> None:
        details = {"interaction_type": "quiz_complete", "score": score, "duration_seconds": 60}
        did(user_id, minute, topic_id, **details, metadata={"difficulty": "hard"}, **fields)

    return append


def test_serving_inputs_equal_training_inputs(platform: Platform, quiz: Given, did: Given) -> None:
    platform.request("ann", -1)  # nothing is known yet
    for minute in range(30):
        quiz("ann", minute, 11 + minute % 3, 0.1 * (minute % 10))
        platform.request("ann", minute + 0.25)
        platform.request("ann", minute + 0.5, topic_id=12)
    did("ann", 31, 12, interaction_type="recommendation_accepted")
    platform.request("ann", 32)
    platform.request("bob", 33, topic_id=12)  # never seen: read as one without events
    assert platform.skew() == Skew(compared=63, different=0)


def test_a_late_event_is_no_skew(platform: Platform, quiz: Given) -> None:
    quiz("ann", 0, 11)
    quiz("ann", 5, 12)
    platform.request("ann", 10)
    quiz("ann", 3, 13, received=20)
    platform.request("ann", 30, topic_id=13)
    assert platform.skew() == Skew(compared=2, different=0)


def test_events_outside_the_catalogue_are_no_skew(platform: Platform, quiz: Given) -> None:
    topics = tuple(Topic(topic_id=n, title=f"Title {n}", domain="Web") for n in (11, 12, 13, 14))
    curriculum.store(platform.log.engine, Curriculum(name="Test", topics=topics))
    quiz("ann", 0, 11)
    quiz("ann", 5, 12)
    quiz("ann", 6, 99)
    platform.request("ann", 10)
    assert platform.skew() == Skew(compared=1, different=0)


def test_an_event_quarantined_later_was_visible_to_the_answer(
    platform: Platform, quiz: Given
) -> None:
    quiz("ann", 0, 11)
    quiz("ann", 5, 12)
    platform.request("ann", 10)
    platform.log.quarantine_interactions({platform.log.last_id(): "planted"}, "planted")
    assert platform.skew() == Skew(compared=1, different=0)


def test_answers_of_merged_learners_are_compared_before_and_after(
    platform: Platform, quiz: Given
) -> None:
    quiz("ann", 0, 11)
    quiz("old", 5, 12)
    platform.request("old", 10)
    merge_learners(platform.log.engine, "old", "ann")
    minute_of_today = (datetime.now(UTC) - NOON) / timedelta(minutes=1)
    for name in ("old", "ann"):
        platform.request(name, minute_of_today + 1)
    assert platform.skew() == Skew(compared=3, different=0)


def test_an_event_being_written_may_be_missed(platform: Platform, quiz: Given) -> None:
    quiz("ann", 0, 11)
    platform.request("ann", 9.99)
    quiz("ann", 9.95, 12)  # received three seconds before, committed after
    assert platform.skew() == Skew(compared=1, different=0)


def test_an_outdated_learner_state_is_skew(platform: Platform, quiz: Given) -> None:
    quiz("ann", 0, 11)
    platform.request("ann", 10)
    quiz("ann", 5, 12)  # was in the log for five minutes when the answer was made
    skew = platform.skew()
    assert (skew.compared, skew.different) == (1, 1)
    assert {"recommendation.last_topic_1", "recommendation.log_events"} <= skew.inputs.keys()


def test_other_statistics_than_those_served_are_skew(platform: Platform, quiz: Given) -> None:
    quiz("ann", 0, 11)
    platform.request("ann", 10, topic_id=12)
    arrays = platform.bundle.statistics["difficulty"]
    arrays["topic_passes"] = arrays["topic_passes"] + 4
    assert platform.skew() == Skew(1, 1, {"difficulty.proficiency_logit": 1})


def test_an_input_off_by_a_thousandth_is_reported(platform: Platform, quiz: Given) -> None:
    quiz("ann", 0, 11, score=0.5)
    platform.request("ann", 10)
    with platform.log.engine.begin() as connection:
        inputs = connection.execute(text("SELECT CAST(inputs AS TEXT) FROM predictions")).scalar()
        changed = str(inputs).replace("0.5,", "0.501,", 1)
        connection.execute(text("UPDATE predictions SET inputs = :inputs"), {"inputs": changed})
    assert platform.skew() == Skew(1, 1, {"recommendation.mean_score": 1})


def test_a_topic_after_training_may_have_any_spare_slot(
    platform: Platform, quiz: Given, rows: Rows
) -> None:
    quiz("ann", 0, 99)
    platform.request("ann", 5)  # the worker has not counted yet: no slot
    model = platform.engine.state.model.with_popularity(popularity_of_log(platform.log, (), at(6)))
    platform.engine.swap(model=model)
    platform.request("ann", 10)
    logged_inputs = rows("SELECT CAST(inputs AS TEXT) FROM predictions ORDER BY created_at")
    assert logged_inputs[0] != logged_inputs[1]
    assert platform.skew() == Skew(compared=2, different=0)


def test_answers_that_cannot_be_compared_are_counted(platform: Platform, quiz: Given) -> None:
    quiz("ann", 0, 11)
    quiz("bob", 4, 11, received=1)  # bob's clock is ahead
    platform.request("ann", 2)
    platform.request("bob", 3)
    assert platform.skew() == Skew(compared=1, different=0, left_out=1)
    assert compare(platform.log.engine, {}, at(0), at(9)) == Skew(0, 0, left_out=2)
    assert platform.skew(most=1) == Skew(0, 0, left_out=1)


def test_an_answer_without_the_log_is_not_compared(platform: Platform, quiz: Given) -> None:
    def down() -> Log:
        raise StorageUnavailable("database: down")

    quiz("ann", 0, 11)
    platform.engine.learners = LearnerCache(down, lambda: 0.0)
    platform.request("ann", 5, topic_id=11)
    assert platform.skew() == Skew(0, 0)


def test_long_histories_are_folded_in_parts(
    platform: Platform, quiz: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.skew.MOST_ROWS", 3)
    for minute in range(6):
        quiz("ann", minute, 11 + minute % 2)
        platform.request("ann", minute + 0.5)
    assert platform.skew() == Skew(compared=6, different=0)
