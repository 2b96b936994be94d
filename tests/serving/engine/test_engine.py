from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from features.corpus.context import Corpus
from features.corpus.popularity import SlotPopularity
from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle, write
from sensei.contracts import LEVELS
from sensei.curriculum import Topic
from sensei.errors import StorageUnavailable
from sensei.events.log import Log
from serving.api.response_schemas import Difficulty, Recommendations
from serving.engine.engine import Engine
from serving.state.arms import Arms
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model
from serving.storage.prediction_log import LoggedAnswer

Quiz = Callable[..., dict[str, Any]]
TOPICS = (
    Topic(topic_id=12, title="Phishing", domain="Foundations"),
    Topic(topic_id=11, title="Malware", domain="Host security", prerequisites=(12,)),
)
NOW = int(datetime(2026, 1, 5, 13, tzinfo=UTC).timestamp() * 1e6)


@pytest.fixture
def recorded() -> list[LoggedAnswer]:
    return []


@pytest.fixture
def engine(log: Log, planted_bundle: Path, recorded: list[LoggedAnswer]) -> Engine:
    model = Model.of(Bundle.load(planted_bundle, FOLD_VERSION))
    learners, catalogue = LearnerCache(lambda: log, lambda: 0.0), Catalogue.of(TOPICS)
    return Engine(learners, model, catalogue, lambda: NOW, record=recorded.append)


@pytest.fixture
def untrained(log: Log) -> Engine:
    return Engine(LearnerCache(lambda: log, lambda: 0.0), None, Catalogue.of(TOPICS), lambda: NOW)


@pytest.fixture
def cut_off(planted_bundle: Path) -> Engine:
    def connect() -> Log:
        raise StorageUnavailable("database: down")

    model = Model.of(Bundle.load(planted_bundle, FOLD_VERSION))
    return Engine(LearnerCache(connect, lambda: 0.0), model, Catalogue.of(TOPICS), lambda: NOW)


def topics(answer: dict[str, Any]) -> list[int]:
    return [each["topic_id"] for each in answer["recommendations"]]


def test_the_most_probable_topics_come_first(engine: Engine, log: Log, quiz: Quiz) -> None:
    log.append([quiz("mia", 11, 0)])
    answer = engine.recommend_next_topics(engine.blocking_context_for("mia"), 2)
    first = answer["recommendations"][0]
    assert (first["topic_id"], first["title"]) == (12, "Phishing")
    # without the topic just studied
    assert first["probability"] == pytest.approx(0.9 / (0.9 + 2 * 0.1 / 3))
    assert len(answer["recommendations"]) == 2
    assert (answer["model"], answer["version"], answer["fallback"]) == ("planted", "7", None)


def test_asking_for_more_topics_than_there_are_gives_all_but_the_one_just_studied(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 11, 0)])
    answer = engine.recommend_next_topics(engine.blocking_context_for("mia"), 50)
    assert sorted(topics(answer)) == [12, 13, 14]
    assert sum(each["probability"] for each in answer["recommendations"]) == pytest.approx(1)


def test_a_learner_never_seen_gets_what_the_model_begins_with_and_is_told(engine: Engine) -> None:
    answer = engine.recommend_next_topics(engine.blocking_context_for("nobody"), 4)
    assert topics(answer) == [11, 12, 13, 14], "13 is the most popular"
    assert answer["recommendations"][0]["probability"] == pytest.approx(0.25)
    assert (answer["model"], answer["fallback"]) == ("planted", "unknown_learner")


def test_a_learner_who_only_answered_recommendations_counts_as_unknown(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    accepted = {"interaction_type": "recommendation_accepted", "score": None}
    log.append([quiz("mia", 11, 0) | accepted])
    assert (
        engine.recommend_next_topics(engine.blocking_context_for("mia"))["fallback"]
        == "unknown_learner"
    )


def test_without_the_log_the_popular_topics_are_given_and_said(cut_off: Engine) -> None:
    answer = cut_off.recommend_next_topics(cut_off.blocking_context_for("mia"))
    assert topics(answer) == [13, 12, 11]
    assert answer["fallback"] == "log_unreachable"


def test_without_a_model_the_curriculum_order_is_given_and_said(untrained: Engine) -> None:
    answer = untrained.recommend_next_topics(untrained.blocking_context_for("mia"))
    assert topics(answer) == [12, 11]
    assert answer["recommendations"][0]["probability"] is None
    assert (answer["model"], answer["fallback"]) == ("curriculum_order", "no_model")


def test_a_topic_without_a_title_is_named_by_its_number(engine: Engine) -> None:
    assert (
        engine.suggest_quiz_difficulty(engine.blocking_context_for("nobody"), 13)["title"]
        == "Topic 13"
    )


def test_a_learner_who_passes_is_tested_harder_than_one_who_fails(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("good", 11, minute, 1.0) for minute in range(12)])
    log.append([quiz("weak", 11, minute, 0.1) for minute in range(12)])
    good = engine.suggest_quiz_difficulty(engine.blocking_context_for("good"), 11)
    weak = engine.suggest_quiz_difficulty(engine.blocking_context_for("weak"), 11)
    assert (good["difficulty"], weak["difficulty"]) == ("hard", "easy")
    assert good["fallback"] is weak["fallback"] is None
    assert good["success_probability"] == good["levels"]["hard"] > weak["levels"]["hard"]


def test_the_difficulty_for_a_learner_never_seen_follows_the_topic(engine: Engine) -> None:
    answer = engine.suggest_quiz_difficulty(engine.blocking_context_for("nobody"), 11)
    # Half of all attempts on topic 11 were passed: proficiency 0, so medium is sigmoid(1).
    assert answer["difficulty"] == "medium"
    assert answer["success_probability"] == pytest.approx(0.731, abs=1e-3)
    assert (answer["model"], answer["fallback"]) == ("planted", "unknown_learner")


def test_a_topic_never_trained_on_is_answered_and_said(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 99, 0)])
    answer = engine.suggest_quiz_difficulty(engine.blocking_context_for("mia"), 99)
    assert answer["difficulty"] in LEVELS
    assert answer["fallback"] == "unknown_topic"


def test_without_the_log_a_difficulty_is_given_and_said(cut_off: Engine) -> None:
    answer = cut_off.suggest_quiz_difficulty(cut_off.blocking_context_for("mia"), 11)
    assert (answer["difficulty"], answer["fallback"]) == ("medium", "log_unreachable")


def test_without_a_model_the_easiest_level_is_given_and_said(untrained: Engine) -> None:
    answer = untrained.suggest_quiz_difficulty(untrained.blocking_context_for("mia"), 11)
    assert (answer["difficulty"], answer["success_probability"]) == ("easy", None)
    assert (answer["model"], answer["fallback"]) == ("easiest_first", "no_model")


@pytest.mark.parametrize("which", ["engine", "untrained", "cut_off"])
@pytest.mark.parametrize("user", ["mia", "nobody"])
def test_every_answer_holds_what_the_documentation_says(
    which: str, user: str, log: Log, quiz: Quiz, request: pytest.FixtureRequest
) -> None:
    log.append([quiz("mia", 11, 0), quiz("mia", 12, 1)])
    asked: Engine = request.getfixturevalue(which)
    Recommendations.model_validate(asked.recommend_next_topics(asked.blocking_context_for(user), 4))
    for topic in (11, 99):
        Difficulty.model_validate(
            asked.suggest_quiz_difficulty(asked.blocking_context_for(user), topic)
        )


def test_two_learners_with_other_histories_get_other_lists(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 11, 0), quiz("lea", 13, 0)])
    assert topics(engine.recommend_next_topics(engine.blocking_context_for("mia"))) != topics(
        engine.recommend_next_topics(engine.blocking_context_for("lea"))
    )


def test_what_was_just_mastered_rests_a_day_and_comes_back(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 12, 0, 0.9), quiz("mia", 12, 1, 0.9), quiz("mia", 11, 2, 0.1)])
    assert 12 not in topics(engine.recommend_next_topics(engine.blocking_context_for("mia"), 4))
    engine._clock = lambda: NOW + 86_400_000_000
    assert topics(engine.recommend_next_topics(engine.blocking_context_for("mia"), 4))[0] == 12
    assert 12 not in topics(
        engine.recommend_next_topics(engine.blocking_context_for("mia"), 4, exclude_mastered=True)
    )


def test_only_new_topics_are_those_not_met(engine: Engine, log: Log, quiz: Quiz) -> None:
    log.append([quiz("mia", 12, 0, 0.2), quiz("mia", 11, 2, 0.1)])
    assert topics(
        engine.recommend_next_topics(engine.blocking_context_for("mia"), 4, only_new=True)
    ) == [13, 14]


def test_what_builds_on_a_topic_not_finished_can_be_left_out(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 12, 0, 0.2), quiz("mia", 13, 2)])
    assert 11 not in topics(
        engine.recommend_next_topics(
            engine.blocking_context_for("mia"), 4, respect_prerequisites=True
        )
    )
    assert 11 not in topics(
        engine.recommend_next_topics(
            engine.blocking_context_for("nobody"), 4, respect_prerequisites=True
        )
    )
    log.append([quiz("mia", 12, 3, 0.7), quiz("mia", 13, 4)])
    assert 11 in topics(
        engine.recommend_next_topics(
            engine.blocking_context_for("mia"), 4, respect_prerequisites=True
        )
    )


def test_without_a_model_what_is_finished_comes_last(
    untrained: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 12, 0, 0.7), quiz("mia", 99, 1)])
    assert topics(untrained.recommend_next_topics(untrained.blocking_context_for("mia"))) == [
        11,
        12,
    ]


def test_each_topic_is_shown_with_the_level_and_the_success_that_the_quiz_will_have(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 11, minute, minute % 2) for minute in range(6)])
    for each in engine.recommend_next_topics(engine.blocking_context_for("mia"), 4)[
        "recommendations"
    ]:
        suggested = engine.suggest_quiz_difficulty(
            engine.blocking_context_for("mia"), each["topic_id"]
        )
        assert each["difficulty"] == suggested["difficulty"]
        assert each["expected_success"] == pytest.approx(suggested["success_probability"], abs=1e-6)


def test_the_evidence_is_what_the_learner_did(engine: Engine, log: Log, quiz: Quiz) -> None:
    log.append([quiz("mia", 11, 0, 0.2), quiz("mia", 11, 10, 1.0), quiz("mia", 12, 20)])
    found = engine.suggest_quiz_difficulty(engine.blocking_context_for("mia"), 11)["evidence"]
    assert (found["attempts"], found["passes"]) == (2, 1)
    assert found["seconds_since_last_attempt"] == 50 * 60
    assert found["trend"] == pytest.approx(0.2 + 0.3 * 0.8 - 0.6)
    assert (
        engine.suggest_quiz_difficulty(engine.blocking_context_for("mia"), 14)["evidence"][
            "attempts"
        ]
        == 0
    )


def test_control_is_served_by_counting_and_bears_no_fallback(
    engine: Engine, log: Log, quiz: Quiz
) -> None:
    engine.swap(arms=Arms(1.0))
    log.append([quiz("mia", 11, 0)])
    answer = engine.recommend_next_topics(engine.blocking_context_for("mia"), 2)
    assert topics(answer) == [13, 12]
    assert (answer["arm"], answer["model"], answer["fallback"]) == ("control", "most_popular", None)


def test_a_learner_of_the_trial_is_served_the_challenger(
    engine: Engine, untrained: Engine, log: Log, quiz: Quiz
) -> None:
    untrained.swap(challenger=engine.state.model, arms=Arms(0.0, 1.0))
    log.append([quiz("mia", 11, 0)])
    answer = untrained.recommend_next_topics(untrained.blocking_context_for("mia"))
    assert (answer["arm"], answer["model"]) == ("challenger", "planted")


def test_an_answer_is_logged_as_it_was_given(
    engine: Engine, log: Log, quiz: Quiz, recorded: list[LoggedAnswer]
) -> None:
    log.append([quiz("mia", 11, 0)])
    answer, level = (
        engine.recommend_next_topics(engine.blocking_context_for("mia"), 2),
        engine.suggest_quiz_difficulty(engine.blocking_context_for("mia"), 13),
    )
    first, second = recorded
    assert first.prediction_id == answer["prediction_id"] != second.prediction_id
    assert (first.kind, first.user_id, first.arm) == ("recommendation", "mia", "champion")
    assert (first.version, first.bundle) == ("7", engine.state.model.digest)
    assert first.answer == topics(answer)
    assert [topic for topic, _ in first.candidates][:2] == topics(answer)
    assert len(first.candidates) == 3
    assert len(first.inputs["inputs"]) == 20
    assert (second.kind, second.topic_id) == ("difficulty", 13)
    assert second.answer["difficulty"] == level["difficulty"]


def test_the_same_question_gets_the_same_answer_until_something_happens(
    engine: Engine, log: Log, quiz: Quiz, recorded: list[LoggedAnswer]
) -> None:
    log.append([quiz("mia", 11, 0)])
    first, again = (
        engine.recommend_next_topics(engine.blocking_context_for("mia"), 2) for _ in range(2)
    )
    assert first == again
    other = engine.recommend_next_topics(engine.blocking_context_for("mia"), 3)
    assert topics(other)[:2] == topics(first)
    log.append([quiz("mia", 12, 1)])
    changed = engine.recommend_next_topics(engine.blocking_context_for("mia"), 2)
    assert topics(changed) != topics(first)
    ids = [each["prediction_id"] for each in (first, other, changed)]
    assert [each.prediction_id for each in recorded] == ids, "each was logged once"
    assert len({*ids}) == 3


def other_bundle(planted: Path, folder: Path) -> Path:
    """Write a bundle that differs from the planted one in its creation time."""
    bundle = Bundle.load(planted, FOLD_VERSION)
    manifest = bundle.manifest.model_copy(
        update={"files": {}, "created_at": datetime(2026, 2, 2, tzinfo=UTC)}
    )
    return write(folder, manifest, bundle.networks, bundle.statistics)


def test_a_minute_later_or_with_another_bundle_the_answer_is_computed_again(
    log: Log, planted_bundle: Path, quiz: Quiz, recorded: list[LoggedAnswer], tmp_path: Path
) -> None:
    log.append([quiz("mia", 11, 0)])
    model, now = Model.of(Bundle.load(planted_bundle, FOLD_VERSION)), [NOW]
    learners = LearnerCache(lambda: log, lambda: 0.0)
    engine = Engine(learners, model, Catalogue(), lambda: now[0], record=recorded.append)
    for seconds, logged in ((0, 1), (59, 1), (1, 2)):
        now[0] += seconds * 1_000_000
        engine.recommend_next_topics(engine.blocking_context_for("mia"))
        assert len(recorded) == logged
    engine.swap(model=Model.of(Bundle.load(other_bundle(planted_bundle, tmp_path), FOLD_VERSION)))
    engine.recommend_next_topics(engine.blocking_context_for("mia"))
    assert len(recorded) == 3


def test_newer_popularity_keeps_the_answer_and_another_catalogue_ends_it(
    log: Log, planted_bundle: Path, quiz: Quiz, recorded: list[LoggedAnswer]
) -> None:
    log.append([quiz("mia", 11, 0)])
    model = Model.of(Bundle.load(planted_bundle, FOLD_VERSION))
    engine = Engine(
        LearnerCache(lambda: log, lambda: 0.0),
        model,
        Catalogue(),
        lambda: NOW,
        record=recorded.append,
    )
    first = engine.recommend_next_topics(engine.blocking_context_for("mia"))
    nothing = SlotPopularity.nothing
    engine.swap(model=model.with_popularity(lambda known: Corpus(known, nothing(known))))
    assert engine.recommend_next_topics(engine.blocking_context_for("mia")) == first
    engine.swap(catalogue=Catalogue.of(TOPICS))
    assert (
        engine.recommend_next_topics(engine.blocking_context_for("mia"))["prediction_id"]
        != first["prediction_id"]
    )
    assert len(recorded) == 2


def test_an_answer_is_logged_with_the_shares_that_dealt_its_learner(
    engine: Engine, log: Log, quiz: Quiz, recorded: list[LoggedAnswer]
) -> None:
    """A trial of everybody ends while the answer is made: the clock is read in the middle."""
    engine.swap(challenger=engine.state.model, arms=Arms(0.0, 1.0))
    log.append([quiz("mia", 11, 0)])

    def ending() -> int:
        engine.swap(challenger=None, arms=Arms(0.0))
        return NOW

    engine._clock = ending
    engine.recommend_next_topics(engine.blocking_context_for("mia"))
    assert [(answer.arm, answer.propensity) for answer in recorded] == [("challenger", 1.0)]


def test_parts_of_the_state_cannot_be_replaced_by_themselves(engine: Engine) -> None:
    with pytest.raises(AttributeError):
        engine.model = None
    with pytest.raises(FrozenInstanceError):
        engine.state.model = None
    with pytest.raises(TypeError, match="modle"):
        engine.swap(modle=None)
