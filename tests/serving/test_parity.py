"""Serving says of a learner what training said of the same moment, hidden states included."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from features.batch import Examples
from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle, write
from sensei.curriculum import Topic
from sensei.events.log import Event, Log
from serving.engine.engine import Engine
from serving.engine.mastery import rests
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model
from serving.state.topic_popularity import popularity_of_log
from training.data.batching import BatchFeed
from training.fitting.train_loop import predict

LATER = datetime(2025, 4, 1, tzinfo=UTC)


class Growing:
    """An engine on a log that holds what had happened by its clock, and what was read of the log.

    `reads` are the keys that learners' events were read from: 0 is a fold of all of them.
    """

    def __init__(self, log: Log, events: list[dict[str, Any]], bundle: Bundle) -> None:
        self.log = log
        self.waiting = list(events)
        self.now = 0
        self.reads: list[int] = []
        self.model = Model.of(bundle)
        learners = LearnerCache(lambda: log, lambda: 0.0)
        self.engine = Engine(learners, self.model, Catalogue(), lambda: self.now)
        read_learner = log.read_learner

        def counted_read(user_id: str, after_id: int = 0) -> list[Event]:
            self.reads.append(after_id)
            return read_learner(user_id, after_id)

        log.read_learner = counted_read  # type: ignore[method-assign]

    def go_to(self, now: int) -> None:
        """Let time pass: append what happens before `now`, and look at what is popular."""
        self.now = now
        due_events = [event for event in self.waiting if event["timestamp"].timestamp() * 1e6 < now]
        if due_events:
            self.log.append(due_events, LATER)
            self.waiting = self.waiting[len(due_events) :]
        self.engine.swap(model=self.model.with_popularity(popularity_of_log(self.log, (), now)))


@pytest.fixture
def growing(log: Log, taught) -> Growing:
    return Growing(log, taught.events, Bundle.load(taught.bundle, FOLD_VERSION))


def expected(taught, name: str, rows: Examples, output: str) -> np.ndarray:
    """Return the answers of the trained network, in the order of rows."""
    outputs = {}
    for chosen, answer in predict(taught.networks[name], BatchFeed(rows, name)):
        outputs |= dict(zip(chosen.tolist(), answer[output], strict=True))
    return np.array([outputs[row] for row in range(len(rows))])


def some(rows: Examples, count: int, mask: np.ndarray) -> list[int]:
    """Rows in order of time, spread evenly."""
    allowed = np.flatnonzero(mask)
    order = allowed[np.argsort(rows.start[allowed], kind="stable")]
    return order[np.linspace(0, len(order) - 1, count).astype(int)].tolist()


def test_recommendations_equal_those_of_training_at_the_same_moment(growing, taught) -> None:
    rows = taught.prepared.test
    answers = expected(taught, "recommendation", rows, "probability")
    newcomer = np.isin(rows.last_topic_id, [98, 99])
    assert newcomer.any()
    for row in sorted(some(rows, 8, ~newcomer) + some(rows, 4, newcomer), key=rows.start.item):
        growing.go_to(int(rows.start[row]))
        user = str(rows.events.user_ids[rows.learner[row]])
        engine = growing.engine
        learner = engine.learners.read_blocking(user, engine.state.model)
        probability = engine.state.model.next_topics(learner, growing.now)
        np.testing.assert_allclose(probability, answers[row], atol=1e-5)
        answer = engine.recommend_next_topics(engine.blocking_context_for(user), 50)
        assert answer["fallback"] is None
        probabilities = {
            recommendation["topic_id"]: recommendation["probability"]
            for recommendation in answer["recommendations"]
        }
        assert rows.last_topic_id[row] not in probabilities
        resting = {
            t for t, numbers in learner.history.topics.items() if rests(numbers, growing.now)
        }
        assert set(range(10, 16)) - resting - {rows.last_topic_id[row]} <= probabilities.keys()
        slots = engine.state.model.corpora["recommendation"].slots
        mass = sum(answers[row, slots[topic] - 1] for topic in probabilities)
        for topic, offered in probabilities.items():
            assert offered == pytest.approx(answers[row, slots[topic] - 1] / mass, abs=1e-5)


def test_expected_success_equals_that_of_training_at_the_same_moment(growing, taught) -> None:
    rows = taught.prepared.attempts.test
    answers = expected(taught, "difficulty", rows, "success")
    unnamed = rows.events.item[rows.event] < 0  # who suggests a quiz knows no item
    for row in some(rows, 12, unnamed):
        growing.go_to(int(rows.start[row]))
        user = str(rows.events.user_ids[rows.learner[row]])
        answer = growing.engine.suggest_quiz_difficulty(
            growing.engine.blocking_context_for(user), int(rows.topic_id[row])
        )
        assert list(answer["levels"].values()) == pytest.approx(answers[row].tolist(), abs=1e-5)


def states(growing: Growing, user: str) -> dict[str, np.ndarray]:
    learner = growing.engine.learners.read_blocking(user, growing.engine.state.model)
    assert learner is not None
    return learner.states


def refolded(growing: Growing, user: str) -> dict[str, np.ndarray]:
    learners = LearnerCache(lambda: growing.log, lambda: 0.0)
    learner = learners.read_blocking(user, growing.engine.state.model)
    assert learner is not None
    return learner.states


@pytest.mark.parametrize("kind", ["quiz_complete", "recommendation_accepted"])
def test_one_more_event_advances_the_state_without_folding_again(growing, taught, kind) -> None:
    growing.go_to(int(LATER.timestamp() * 1e6))
    before = states(growing, "learner 3")
    growing.reads.clear()
    event = {"user_id": "learner 3", "interaction_type": kind, "topic_id": 12, "timestamp": LATER}
    growing.log.append([event | ({"score": 1.0} if kind == "quiz_complete" else {})], LATER)
    after = states(growing, "learner 3")
    assert len(growing.reads) == 1
    assert growing.reads[0] > 0
    fresh = refolded(growing, "learner 3")
    assert after.keys() == {"recommendation", "difficulty"}
    for name in after:
        np.testing.assert_allclose(after[name], fresh[name], atol=1e-6)
        change = np.abs(after[name] - before[name]).max()
        assert (change > 1e-4) == (kind == "quiz_complete"), "a response is no learning event"


def test_an_event_that_comes_late_is_folded_in_its_place(growing, taught) -> None:
    growing.go_to(int(LATER.timestamp() * 1e6))
    states(growing, "learner 3")
    growing.reads.clear()
    early = taught.events[0]["timestamp"]
    quiz = {"interaction_type": "quiz_complete", "topic_id": 12, "score": 0.0}
    growing.log.append([quiz | {"user_id": "learner 3", "timestamp": early}], LATER)
    after, fresh = states(growing, "learner 3"), refolded(growing, "learner 3")
    assert 0 in growing.reads[:2]
    for name in after:
        np.testing.assert_array_equal(after[name], fresh[name])


def test_new_popularity_keeps_the_states(growing, taught) -> None:
    growing.go_to(int(LATER.timestamp() * 1e6))
    states(growing, "learner 3")
    growing.reads.clear()
    growing.go_to(growing.now + 1)
    states(growing, "learner 3")
    assert growing.reads == []


def test_a_bundle_with_other_states_folds_again(growing, taught, tmp_path) -> None:
    growing.go_to(int(LATER.timestamp() * 1e6))
    before = states(growing, "learner 3")
    name = "recommendation"
    manifest = taught.manifest.model_copy(update={"models": {name: taught.manifest.models[name]}})
    statistics = growing.model.bundle.statistics[name]
    path = write(tmp_path, manifest, {name: taught.exported[name]}, {name: statistics})
    growing.model = Model.of(Bundle.load(path, FOLD_VERSION))
    growing.reads.clear()
    growing.go_to(growing.now)
    after = states(growing, "learner 3")
    assert growing.reads == [0]
    assert after.keys() == {name}
    np.testing.assert_array_equal(after[name], before[name])


def test_a_bundle_that_differs_elsewhere_keeps_the_states(growing, taught, tmp_path) -> None:
    growing.go_to(int(LATER.timestamp() * 1e6))
    states(growing, "learner 3")
    later = taught.manifest.model_copy(update={"created_at": LATER})
    path = write(tmp_path, later, taught.exported, growing.model.bundle.statistics)
    growing.model = Model.of(Bundle.load(path, FOLD_VERSION))
    growing.reads.clear()
    growing.go_to(growing.now)
    states(growing, "learner 3")
    assert growing.model.digest != taught.bundle.name
    assert growing.reads == []


def test_a_topic_of_the_catalogue_without_events_is_offered(growing, taught) -> None:
    now = int(LATER.timestamp() * 1e6)
    growing.go_to(now)
    ids = (77, *range(10, 16), 98, 99)
    topics = [Topic(topic_id=topic_id, title=str(topic_id), domain="web") for topic_id in ids]
    growing.engine.swap(
        model=growing.model.with_popularity(popularity_of_log(growing.log, topics, now))
    )
    recommendations = growing.engine.recommend_next_topics(
        growing.engine.blocking_context_for("learner 3"), 50
    )["recommendations"]
    probabilities = {
        recommendation["topic_id"]: recommendation["probability"]
        for recommendation in recommendations
    }
    assert probabilities.keys() >= {77, 99, 98}
    assert 0 < probabilities[77] < 1
    assert sum(probabilities.values()) == pytest.approx(1), "a slot that no topic has gets nothing"


def test_a_last_topic_that_a_model_has_no_slot_for_masks_nothing(
    log: Log, planted_bundle, quiz
) -> None:
    log.append([quiz("mia", 11, 0), quiz("mia", 55, 1)])
    now = int(quiz("mia", 11, 5)["timestamp"].timestamp() * 1e6)
    model = Model.of(Bundle.load(planted_bundle, FOLD_VERSION)).with_popularity(
        popularity_of_log(log, (), now)
    )
    engine = Engine(LearnerCache(lambda: log, lambda: 0.0), model, Catalogue(), lambda: now)
    answer = engine.recommend_next_topics(engine.blocking_context_for("mia"), 50)
    assert sorted(recommendation["topic_id"] for recommendation in answer["recommendations"]) == [
        11,
        12,
        13,
        14,
    ]
    assert answer["fallback"] is None
