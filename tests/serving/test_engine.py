from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.history import FOLD_VERSION
from sensei.bundle import Bundle
from sensei.contracts import LEVELS
from sensei.errors import StorageUnavailable
from sensei.log import Log
from serving.engine import Catalogue, Engine, Model, suggest_level
from serving.learners import Learners

Quiz = Callable[..., dict[str, Any]]
TITLES = {12: "Phishing", 11: "Malware"}
NOW = int(datetime(2026, 1, 5, 13, tzinfo=UTC).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("success", "level"),
    [
        ((0.95, 0.80, 0.50), "medium"),
        ((0.84, 0.80, 0.75), "hard"),  # all three in the range: the hardest
        ((0.80, 0.60, 0.72), "hard"),  # levels need not fall in order
        ((0.85, 0.50, 0.20), "easy"),  # both ends of the range belong to it
        ((0.99, 0.70, 0.20), "medium"),
        ((0.99, 0.95, 0.90), "hard"),  # nobody in it: .90 is nearest
        ((0.60, 0.30, 0.10), "easy"),
        ((1.00, 1.00, 1.00), "hard"),  # all equally near, all too easy
        ((0.00, 0.00, 0.00), "easy"),  # all equally near, all too hard
    ],
)
def test_the_hardest_level_within_the_range_is_suggested_else_the_nearest(
    success: tuple[float, float, float], level: str
) -> None:
    assert LEVELS[suggest_level(success)] == level


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_no_level_above_the_suggested_one_is_within_the_range(success: tuple[float, ...]) -> None:
    assert not any(0.70 <= each <= 0.85 for each in success[suggest_level(success) + 1 :])


@pytest.fixture
def engine(log: Log, planted_bundle: Path) -> Engine:
    model = Model.of(Bundle.load(planted_bundle, FOLD_VERSION))
    return Engine(Learners(lambda: log, lambda: 0.0), model, Catalogue(TITLES), lambda: NOW)


@pytest.fixture
def untrained(log: Log) -> Engine:
    return Engine(Learners(lambda: log, lambda: 0.0), None, Catalogue(TITLES), lambda: NOW)


@pytest.fixture
def cut_off(planted_bundle: Path) -> Engine:
    def connect() -> Log:
        raise StorageUnavailable("database: down")

    model = Model.of(Bundle.load(planted_bundle, FOLD_VERSION))
    return Engine(Learners(connect, lambda: 0.0), model, Catalogue(TITLES), lambda: NOW)


def topics(answer: dict[str, Any]) -> list[int]:
    return [each["topic_id"] for each in answer["recommendations"]]


def test_the_most_probable_topics_come_first(engine: Engine, log: Log, quiz: Quiz) -> None:
    log.append([quiz("mia", 11, 0)])
    answer = engine.recommend_next_topics("mia", 2)
    assert answer["recommendations"][0] == {
        "topic_id": 12,
        "title": "Phishing",
        "probability": pytest.approx(0.9 / (0.9 + 2 * 0.1 / 3)),  # without the topic just studied
    }
    assert len(answer["recommendations"]) == 2
    assert (answer["model"], answer["version"], answer["fallback"]) == ("planted", "7", None)


def test_asking_for_more_topics_than_there_are_gives_all_but_the_one_just_studied(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 11, 0)])
    answer = engine.recommend_next_topics("mia", 50)
    assert sorted(topics(answer)) == [12, 13, 14]
    assert sum(each["probability"] for each in answer["recommendations"]) == pytest.approx(1)


def test_a_learner_never_seen_gets_the_popular_topics_and_is_told(engine: Engine) -> None:
    answer = engine.recommend_next_topics("nobody", 4)
    assert topics(answer) == [13, 12, 11, 14]
    assert answer["recommendations"][0]["probability"] == pytest.approx(0.4)
    assert (answer["model"], answer["fallback"]) == ("most_popular", "unknown_learner")


def test_a_learner_who_only_answered_recommendations_counts_as_unknown(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    accepted = {"interaction_type": "recommendation_accepted", "score": None}
    log.append([quiz("mia", 11, 0) | accepted])
    assert engine.recommend_next_topics("mia")["fallback"] == "unknown_learner"


def test_without_the_log_the_popular_topics_are_given_and_said(cut_off: Engine) -> None:
    answer = cut_off.recommend_next_topics("mia")
    assert topics(answer) == [13, 12, 11]
    assert answer["fallback"] == "log_unreachable"


def test_without_a_model_the_curriculum_order_is_given_and_said(untrained: Engine) -> None:
    answer = untrained.recommend_next_topics("mia")
    assert topics(answer) == [12, 11]
    assert answer["recommendations"][0]["probability"] is None
    assert (answer["model"], answer["fallback"]) == ("curriculum_order", "no_model")


def test_a_topic_without_a_title_is_named_by_its_number(engine: Engine) -> None:
    assert engine.suggest_quiz_difficulty("nobody", 13)["title"] == "Topic 13"


def test_a_learner_who_passes_is_tested_harder_than_one_who_fails(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("good", 11, minute, 1.0) for minute in range(12)])
    log.append([quiz("weak", 11, minute, 0.1) for minute in range(12)])
    good = engine.suggest_quiz_difficulty("good", 11)
    weak = engine.suggest_quiz_difficulty("weak", 11)
    assert (good["difficulty"], weak["difficulty"]) == ("hard", "easy")
    assert good["fallback"] is weak["fallback"] is None
    assert good["success_probability"] == good["levels"]["hard"] > weak["levels"]["hard"]


def test_the_difficulty_for_a_learner_never_seen_follows_the_topic(engine: Engine) -> None:
    answer = engine.suggest_quiz_difficulty("nobody", 11)
    # Half of all attempts on topic 11 were passed: proficiency 0, so medium is sigmoid(1).
    assert answer["difficulty"] == "medium"
    assert answer["success_probability"] == pytest.approx(0.731, abs=1e-3)
    assert (answer["model"], answer["fallback"]) == ("planted", "unknown_learner")


def test_a_topic_never_trained_on_is_answered_and_said(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 99, 0)])
    answer = engine.suggest_quiz_difficulty("mia", 99)
    assert answer["difficulty"] in LEVELS
    assert answer["fallback"] == "unknown_topic"


def test_without_the_log_a_difficulty_is_given_and_said(cut_off: Engine) -> None:
    answer = cut_off.suggest_quiz_difficulty("mia", 11)
    assert (answer["difficulty"], answer["fallback"]) == ("medium", "log_unreachable")


def test_without_a_model_the_easiest_level_is_given_and_said(untrained: Engine) -> None:
    answer = untrained.suggest_quiz_difficulty("mia", 11)
    assert (answer["difficulty"], answer["success_probability"]) == ("easy", None)
    assert (answer["model"], answer["fallback"]) == ("easiest_first", "no_model")
