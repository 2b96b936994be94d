"""Reasons: what is named must have moved the score."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import RECOMMENDATION_INPUTS, TOPIC_INPUTS
from sensei.events.log import Log
from serving.engine.engine import Engine
from serving.engine.ranking import RankingOptions, offerable
from serving.engine.reason_texts import WORDS
from serving.engine.reasons import CAUSES, MAX_REASONS, Counterfactuals
from serving.state.arms import Arms
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model
from serving.state.topic_popularity import popularity_of_log

Quiz = Callable[..., dict[str, Any]]


def test_every_input_belongs_to_one_cause_and_every_cause_has_words() -> None:
    inputs = Counter(name for cause in CAUSES for name in cause.inputs)
    topics = Counter(name for cause in CAUSES for name in cause.topics)
    assert inputs == Counter(each.name for each in RECOMMENDATION_INPUTS)
    assert topics == Counter(each.name for each in TOPIC_INPUTS if each.name != "new")
    assert WORDS.keys() == {cause.name for cause in CAUSES}


def test_only_causes_that_a_model_reads_are_asked_about() -> None:
    by_name = {cause.name for cause in Counterfactuals({"topics": 5 * len(TOPIC_INPUTS)}).causes}
    assert by_name == {"last_topic", "own_history", "domain", "prerequisites", "popular_lately"}
    assert "order" in {cause.name for cause in Counterfactuals({"state": 8}).causes}


@pytest.fixture
def answering(log: Log, taught: Any) -> Engine:
    """The trained networks, with a hidden state, on the log they were trained on."""
    log.append(taught.events)
    now = int((taught.events[-1]["timestamp"] + timedelta(hours=3)).timestamp() * 1e6)
    model = Model.of(Bundle.load(taught.bundle, FOLD_VERSION)).with_popularity(
        popularity_of_log(log, (), now)
    )
    return Engine(LearnerCache(lambda: log, lambda: 0.0), model, Catalogue(), lambda: now)


def without(engine: Engine, user: str, name: str) -> dict[int, float]:
    """Shares of the topics, by the networks themselves, with one cause set to what nobody knows."""
    model, now = engine.state.model, engine._clock()
    assert model is not None
    learner = engine.blocking_context_for(user).learner
    given = {key: value.copy() for key, value in model.next_topic_inputs(learner, now).items()}
    (cause,) = (each for each in CAUSES if each.name == name)
    unknown = engine.blocking_context_for("nobody at all").learner.history.recommendation_inputs(
        now, model.corpora["recommendation"]
    )
    for place, each in enumerate(RECOMMENDATION_INPUTS):
        if each.name in cause.inputs:
            given["inputs"][0, place] = unknown[place]
    for place, each in enumerate(TOPIC_INPUTS):
        if each.name in cause.topics:
            given["topics"][0, place :: len(TOPIC_INPUTS)] = 0.0
    if cause.state:
        given["state"] = np.zeros_like(given["state"])
    corpus = model.corpora["recommendation"]
    kept = offerable(
        RankingOptions(), learner.history, corpus, engine.state.catalogue, model.taken, now
    )
    share = model.probabilities(given)[0] * kept
    share /= share.sum()
    return {topic: float(share[corpus.slots[topic] - 1]) for topic in corpus.slots}


def test_without_a_named_cause_the_probability_is_lower_and_as_said(answering: Engine) -> None:
    named = 0
    for learner in range(12):
        user = f"learner {learner}"
        for each in answering.recommend_next_topics(answering.blocking_context_for(user), 5)[
            "recommendations"
        ]:
            assert len(each["reasons"]) <= MAX_REASONS
            left = [reason["without"] for reason in each["reasons"]]
            assert left == sorted(left), "the weightiest comes first"
            for reason in each["reasons"]:
                share = without(answering, user, reason["cause"])[each["topic_id"]]
                assert share < each["probability"]
                assert share == pytest.approx(reason["without"], abs=1e-5)
                named += 1
    assert named > 50


def test_the_reasons_of_one_list_are_not_all_the_same(answering: Engine) -> None:
    given = answering.recommend_next_topics(answering.blocking_context_for("learner 1"), 5)[
        "recommendations"
    ]
    assert len({tuple(reason["text"] for reason in each["reasons"]) for each in given}) > 1


def test_a_topic_recommended_after_the_last_one_says_so_and_is_not_without_it(
    log: Log, planted_bundle: Any, quiz: Quiz
) -> None:
    now = int(quiz("mia", 11, 9)["timestamp"].timestamp() * 1e6)
    model = Model.of(Bundle.load(planted_bundle, FOLD_VERSION))
    engine = Engine(LearnerCache(lambda: log, lambda: 0.0), model, Catalogue(), lambda: now)
    log.append([quiz("mia", 13, 0), quiz("mia", 11, 1), quiz("lea", 13, 0)])
    first = engine.recommend_next_topics(engine.blocking_context_for("mia"))["recommendations"][0]
    assert first["topic_id"] == 12
    assert first["reasons"] == [
        {
            "cause": "last_topic",
            "text": "you studied “Topic 11” last",
            "without": pytest.approx(1 / 3),
        }
    ]
    # the same history without that event
    others = engine.recommend_next_topics(engine.blocking_context_for("lea"), 3)["recommendations"]
    assert next(each for each in others if each["topic_id"] == 12)["probability"] < 0.1


def test_popular_topics_say_so_only_where_they_are(log: Log, planted_bundle: Any) -> None:
    model, control = Model.of(Bundle.load(planted_bundle, FOLD_VERSION)), Arms(1.0)
    engine = Engine(LearnerCache(lambda: log, lambda: 0.0), model, Catalogue(), lambda: 0, control)
    given = engine.recommend_next_topics(engine.blocking_context_for("nobody"), 4)[
        "recommendations"
    ]
    assert [bool(each["reasons"]) for each in given] == [True, True, False, False]
    assert all(r["without"] < each["probability"] for each in given for r in each["reasons"])
