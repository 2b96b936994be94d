from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle
from sensei.curriculum import Resource, Topic
from sensei.errors import InvalidInput, StorageUnavailable
from sensei.events.log import Log
from sensei.privacy.preferences import set_style_override
from serving.api.response_schemas import LearningPath
from serving.engine.engine import Engine
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model
from serving.state.study_times import StudyTimes

Quiz = Callable[..., dict[str, Any]]
NOW = int(datetime(2026, 1, 5, 13, tzinfo=UTC).timestamp() * 1e6)


def material(number: int, *kinds: str) -> tuple[Resource, ...]:
    return tuple(
        Resource(resource_id=10 * number + at, kind=kind, title=kind, url=f"{number}/{kind}",
                 minutes=10 + at)
        for at, kind in enumerate(kinds)
    )  # fmt: skip


TOPICS = (
    Topic(topic_id=11, title="Bytes", domain="Basics", resources=material(11, "text", "video")),
    Topic(topic_id=12, title="Files", domain="Basics", prerequisites=(11,), minutes=40),
    Topic(topic_id=13, title="Malware", domain="Threats", prerequisites=(12,)),
    Topic(topic_id=14, title="Phishing", domain="Threats", resources=material(14, "lab")),
)


@pytest.fixture
def engine(log: Log, planted_bundle: Path) -> Engine:
    model = Model.of(Bundle.load(planted_bundle, FOLD_VERSION))
    learners = LearnerCache(lambda: log, lambda: 0.0)
    return Engine(learners, model, Catalogue.of(TOPICS), lambda: NOW)


def topics(answer: dict[str, Any]) -> list[int]:
    LearningPath.model_validate(answer)
    return [each["topic_id"] for each in answer["learning_path"]]


def test_a_path_leads_to_its_goal_over_what_the_goal_builds_on(engine: Engine) -> None:
    answer = engine.adapt_learning_path(engine.blocking_context_for("nobody"), topic_id=13)
    assert topics(answer) == [11, 12, 13]
    assert (answer["goal"], answer["remaining"]) == ("Malware", 3)
    assert answer["fallback"] == "unknown_learner"
    assert [each["why"] for each in answer["learning_path"]] == [
        "“Files” builds on it",
        "“Malware” builds on it",
        "you have finished its prerequisites: “Files”",
    ]


def test_a_path_to_a_domain_or_through_everything(engine: Engine) -> None:
    assert topics(
        engine.adapt_learning_path(engine.blocking_context_for("nobody"), domain="Basics")
    ) == [11, 12]
    assert topics(engine.adapt_learning_path(engine.blocking_context_for("nobody"))) == [
        11,
        12,
        13,
        14,
    ]
    shorter = engine.adapt_learning_path(engine.blocking_context_for("nobody"), steps=2)
    assert (topics(shorter), shorter["remaining"]) == ([11, 12], 4)


def test_a_failed_quiz_changes_the_path(engine: Engine, log: Log, quiz: Quiz) -> None:
    log.append([quiz("mia", 11, 0, 0.8), quiz("mia", 12, 1, 0.8)])
    assert topics(engine.adapt_learning_path(engine.blocking_context_for("mia"), topic_id=13)) == [
        13
    ]
    log.append([quiz("mia", 12, 2, 0.3)])
    failed = engine.adapt_learning_path(engine.blocking_context_for("mia"), topic_id=13)
    assert topics(failed) == [12, 13]
    assert failed["learning_path"][0]["why"] == "you failed it last time, with 30%"
    log.append([quiz("mia", 12, 3, 0.2)])
    again = engine.adapt_learning_path(engine.blocking_context_for("mia"), topic_id=13)
    assert topics(again) == [11, 12, 13]
    assert again["learning_path"][0]["status"] == "shaky"
    assert again["learning_path"][0]["why"].startswith("you failed “Files” 2 times in a row")
    log.append([quiz("mia", 11, 4, 0.9), quiz("mia", 11, 5, 0.9), quiz("mia", 12, 6, 0.9)])
    assert topics(engine.adapt_learning_path(engine.blocking_context_for("mia"), topic_id=13)) == [
        13
    ]


def test_of_new_topics_the_one_that_the_model_expects_comes_first(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 99, 0)])
    assert (
        topics(engine.adapt_learning_path(engine.blocking_context_for("mia")))[0] == 11
    )  # all alike: the order of the file
    log.append([quiz("lea", 13, 0)])  # after 13 comes 14
    answer = engine.adapt_learning_path(engine.blocking_context_for("lea"))
    assert topics(answer)[:2] == [14, 11]
    assert (answer["model"], answer["version"], answer["fallback"]) == ("planted", "7", None)


def test_each_step_is_as_hard_as_the_quiz_that_would_be_suggested(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 14, minute, 0.1) for minute in range(5)])
    for each in engine.adapt_learning_path(engine.blocking_context_for("mia"))["learning_path"]:
        suggested = engine.suggest_quiz_difficulty(
            engine.blocking_context_for("mia"), each["topic_id"]
        )
        assert each["difficulty"] == suggested["difficulty"]
        assert each["expected_success"] == pytest.approx(suggested["success_probability"], abs=1e-6)


def test_the_resource_is_in_the_format_asked_for_else_the_learners_own_else_what_there_is(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    def kinds(**asked: Any) -> dict[int, str | None]:
        path = engine.adapt_learning_path(engine.blocking_context_for("mia"), **asked)[
            "learning_path"
        ]
        return {each["topic_id"]: each["resource"] and each["resource"]["kind"] for each in path}

    assert kinds() == {11: "text", 12: None, 13: None, 14: "lab"}
    assert kinds(preferred="video")[11] == "video"
    views = [quiz("mia", 98, at) | {"interaction_type": "video_view", "score": None}
             for at in range(3)]  # fmt: skip
    log.append(views)
    assert kinds()[11] == "video"
    set_style_override(log.engine, "mia", "mixed")
    assert kinds()[11] == "text"


def test_minutes_are_those_of_the_log_where_it_knows_them(engine: Engine) -> None:
    def minutes() -> dict[int, tuple[int | None, str | None]]:
        path = engine.adapt_learning_path(engine.blocking_context_for("nobody"))["learning_path"]
        return {each["topic_id"]: (each["minutes"], each["minutes_from"]) for each in path}

    planned = {11: (10, "catalogue"), 12: (40, "catalogue"), 13: (None, None)}
    assert minutes() == planned | {14: (10, "catalogue")}
    known = {(11, "text_read"): 22.0, (11, "quiz_complete"): 6.0, (14, "text_read"): 99.0}
    engine.swap(durations=StudyTimes(known))
    assert minutes() == planned | {11: (28, "log"), 14: (10, "catalogue")}


def test_a_goal_that_is_none_is_refused_with_those_there_are(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match=r"domain: expected one of .+Basics, Threats.+ 'Cats'"):
        engine.adapt_learning_path(engine.blocking_context_for("mia"), domain="Cats")
    with pytest.raises(InvalidInput, match="domain: expected one goal"):
        engine.adapt_learning_path(engine.blocking_context_for("mia"), topic_id=11, domain="Basics")


def test_without_a_catalogue_any_topic_is_a_path_of_one_step_and_said(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 11, 0)])
    with pytest.raises(InvalidInput, match="topic that the catalogue offers, got 77"):
        engine.adapt_learning_path(engine.blocking_context_for("mia"), topic_id=77)
    engine.swap(catalogue=Catalogue())
    answer = engine.adapt_learning_path(engine.blocking_context_for("mia"), topic_id=77)
    assert topics(answer) == [77]
    assert answer["fallback"] == "unknown_topic"


def test_without_a_model_or_without_the_log_there_is_a_path_and_it_is_said(
    engine: Engine, planted_bundle: Path
) -> None:
    def down() -> Log:
        raise StorageUnavailable("database: down")

    learners, state = LearnerCache(down, lambda: 0.0), engine.state
    cut_off = Engine(learners, state.model, state.catalogue, lambda: NOW)
    answer = cut_off.adapt_learning_path(cut_off.blocking_context_for("mia"))
    assert (topics(answer), answer["fallback"]) == ([11, 12, 13, 14], "log_unreachable")
    engine.swap(model=None)
    answer = engine.adapt_learning_path(engine.blocking_context_for("mia"))
    assert topics(answer) == [11, 12, 13, 14]
    assert answer["learning_path"][0]["difficulty"] is None
    assert answer["fallback"] == "no_model"


def test_a_profile_says_what_became_of_the_topics(engine: Engine, log: Log, quiz: Quiz) -> None:
    log.append([quiz("mia", 11, 0, 0.9), quiz("mia", 11, 1, 0.9), quiz("mia", 12, 2, 0.7)])
    log.append([quiz("mia", 13, 3, 0.1)])
    found = engine.get_user_profile(engine.blocking_context_for("mia"))
    assert (found["met"], found["finished"], found["mastered"]) == ([11, 12, 13], [11, 12], [11])
    assert (found["attempts"], found["passes"]) == (4, 3)
    assert found["mean_score"] == pytest.approx(0.65)
    assert found["learning_style"] == "mixed"
    assert (
        engine.get_user_profile(engine.blocking_context_for("nobody"))["fallback"]
        == "unknown_learner"
    )
