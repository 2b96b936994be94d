"""With a catalogue only its topics are offered, whatever the model was trained on."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sensei import curriculum
from sensei.curriculum import Curriculum, Topic
from sensei.errors import InvalidInput, StorageUnavailable
from sensei.events.aggregates import outside_catalogue
from sensei.events.log import Log, open_log
from serving.bundle_follower import BundleFollower
from serving.engine.engine import Engine
from serving.engine.request_context import RequestContext
from serving.state.arms import Arms
from serving.state.catalogue import Catalogue
from serving.state.folded_learner import AnswerCache
from serving.state.learners import LearnerCache

Quiz = Callable[..., dict[str, Any]]
PLANTED = (11, 12, 13, 14)
NOW = 1_800_000_000_000_000


class Platform:
    """An engine and its follower on a log; time passes only when told."""

    def __init__(self, home: Path, log: Log) -> None:
        self.log, self.home = log, home
        self.seconds, self.is_down = 0.0, False
        learners = LearnerCache(self.connect, lambda: self.seconds)
        self.engine = Engine(learners, None, Catalogue(), lambda: NOW)
        self.follower = BundleFollower(
            self.engine,
            self.connect,
            home / "bundles",
            clock=lambda: NOW,
            monotonic=lambda: self.seconds,
        )
        self.follower.look()

    def connect(self) -> Log:
        if self.is_down:
            raise StorageUnavailable("database: down")
        return open_log(f"sqlite:///{self.home / 'sensei.db'}")

    def load(self, *topics: Topic) -> None:
        """Load a catalogue and let the follower look once, a second later."""
        curriculum.store(self.log.engine, Curriculum(name="Test", topics=topics))
        self.seconds += 1
        self.follower.look()

    def context(self, user_id: str) -> RequestContext:
        return self.engine.blocking_context_for(user_id)

    def offered(self, user_id: str, count: int = 50, **options: bool) -> list[int]:
        answer = self.engine.recommend_next_topics(self.context(user_id), count, **options)
        return [row["topic_id"] for row in answer["recommendations"]]

    def policies(self, user_id: str) -> dict[str, list[int]]:
        """Return the topics that each policy offers a learner, and those that a path plans."""
        state = self.engine.state
        lists = {"model": self.offered(user_id), "cold": self.offered("nobody")}
        lists["only new"] = self.offered(user_id, only_new=True)
        path = self.engine.adapt_learning_path(self.context(user_id), 50)
        lists["path"] = [step["topic_id"] for step in path["learning_path"]]
        self.engine.swap(arms=Arms(1.0))
        lists["control"] = self.offered(user_id)
        self.engine.swap(arms=state.arms, model=None)
        lists["no model"] = self.offered(user_id)
        self.engine.swap(model=state.model)
        learners, self.is_down = self.engine.learners, True
        self.engine.learners = LearnerCache(self.connect, lambda: self.seconds)
        lists["log unreachable"] = self.offered(user_id)
        self.engine.learners, self.is_down = learners, False
        return lists


@pytest.fixture
def platform(home: Path, log: Log) -> Platform:
    return Platform(home, log)


@pytest.fixture
def trained(tmp_path: Path, log: Log, taught: Any) -> Platform:
    """A platform whose networks have spare slots and hidden states; topics 10..15, 98 and 99."""
    shutil.copytree(taught.bundle, tmp_path / "bundles" / taught.bundle.name)
    log.append(taught.events)
    log.set_pointer(taught.bundle.name)
    return Platform(tmp_path, log)


def topic(topic_id: int, **fields: Any) -> Topic:
    return Topic(topic_id=topic_id, title=f"Title {topic_id}", domain="Web", **fields)


def topics(ids: Iterable[int]) -> list[Topic]:
    return [topic(topic_id) for topic_id in ids]


def without_cached_answers(context: RequestContext) -> RequestContext:
    return context._replace(learner=replace(context.learner, answers=AnswerCache()))


def answers(platform: Platform, learners: Iterable[str]) -> list[Any]:
    """Return each learner's answers without ids, none of them from the cache."""
    options: tuple[dict[str, bool], ...] = ({}, {"only_new": True}, {"exclude_mastered": True})
    contexts = [without_cached_answers(platform.context(user_id)) for user_id in learners]
    lists = [
        platform.engine.recommend_next_topics(context, 5, **option)
        for context in contexts
        for option in options
    ]
    return [{**answer, "prediction_id": None} for answer in lists]


@pytest.mark.parametrize("way", ["retired", "removed"])
def test_a_topic_that_left_is_offered_by_no_policy_a_second_later_and_its_events_stay(
    platform: Platform, log: Log, quiz: Quiz, way: str
) -> None:
    log.append([quiz("mia", 12, 0), quiz("mia", 11, 1)])
    assert platform.offered("mia")[0] == 12
    left = [topic(12, retired=True)] if way == "retired" else []
    platform.load(*topics([11, 13, 14]), *left)
    for policy, offered in platform.policies("mia").items():
        assert offered, policy
        assert 12 not in offered, policy
    assert log.count() == 2
    met = platform.engine.get_user_profile(platform.context("mia"))["met"]
    assert met == ([11, 12] if way == "retired" else [11])


def test_a_renamed_topic_appears_once_under_its_new_id_with_its_history(
    platform: Platform, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 12, 0, 0.9), quiz("mia", 11, 1), quiz("bob", 11, 0)])
    before = platform.engine.recommend_next_topics(platform.context("bob"), 4)
    platform.load(*topics([11, 13, 14, 112]), topic(12, replaced_by=112))
    after = platform.engine.recommend_next_topics(platform.context("bob"), 4)
    shares = [row["probability"] for row in after["recommendations"]]
    assert shares == [row["probability"] for row in before["recommendations"]]
    assert after["recommendations"][0]["topic_id"] == 112
    for policy, offered in platform.policies("bob").items():
        assert 12 not in offered, policy
        assert offered.count(112) == 1, policy
    assert platform.engine.get_user_profile(platform.context("mia"))["finished"] == [11, 112]
    assert platform.offered("mia", only_new=True) == [13, 14]
    old, new = (
        platform.engine.suggest_quiz_difficulty(platform.context("mia"), topic_id)
        for topic_id in (12, 112)
    )
    assert old["evidence"] == new["evidence"]
    assert (old["topic_id"], new["evidence"]["attempts"], new["fallback"]) == (112, 1, None)
    path = platform.engine.adapt_learning_path(platform.context("bob"), topic_id=12)
    assert [step["topic_id"] for step in path["learning_path"]] == [112]


def test_a_renamed_topic_has_the_slot_and_the_hidden_states_of_its_old_id(
    trained: Platform,
) -> None:
    catalogue = topics([10, 11, 13, 14, 15, 98, 99])
    trained.load(*catalogue, topic(12))
    users = [f"learner {number}" for number in range(6)]
    before = [trained.engine.recommend_next_topics(trained.context(user), 20) for user in users]
    trained.load(*catalogue, topic(112), topic(12, replaced_by=112))
    after = [trained.engine.recommend_next_topics(trained.context(user), 20) for user in users]
    for old, new in zip(before, after, strict=True):
        ids = [row["topic_id"] for row in old["recommendations"]]
        shares = [row["probability"] for row in old["recommendations"]]
        assert [row["topic_id"] for row in new["recommendations"]] == [
            112 if topic_id == 12 else topic_id for topic_id in ids
        ]
        assert [row["probability"] for row in new["recommendations"]] == pytest.approx(shares)


def test_events_on_the_old_id_of_a_renamed_topic_still_count(
    platform: Platform, log: Log, quiz: Quiz
) -> None:
    platform.load(*topics([11, 13, 14, 112]), topic(12, replaced_by=112))
    log.append([quiz("mia", 12, 0), quiz("mia", 112, 1), quiz("mia", 12, 2)])
    row = platform.context("mia").learner.history.topics
    assert list(row) == [112]
    suggestion = platform.engine.suggest_quiz_difficulty(platform.context("mia"), 112)
    assert suggestion["evidence"]["attempts"] == 3


def test_a_thousand_events_on_wrong_topics_change_no_answer(
    trained: Platform, log: Log, quiz: Quiz
) -> None:
    learners = [f"learner {number}" for number in range(24)]
    catalogue = topics([*range(10, 16), 98, 99, 15_000, 15_001])
    trained.load(*catalogue)
    before = answers(trained, [*learners, "nobody"])
    count = log.count()
    log.append([quiz(learners[n % 24], 900 + n, n) for n in range(1_000)])
    trained.seconds += 3_600
    trained.follower.look()
    assert answers(trained, [*learners, "nobody"]) == before
    assert {15_000, 15_001} <= set(trained.offered("learner 0", only_new=True))
    assert len(outside_catalogue(log.engine)) == 1_000
    assert log.count() == count + 1_000
    trained.load(*catalogue, topic(15_002))
    assert 15_002 in trained.offered("learner 0", only_new=True)


def test_events_count_as_soon_as_the_catalogue_has_their_topic_and_no_longer_than_it(
    platform: Platform, log: Log, quiz: Quiz
) -> None:
    def met() -> list[int]:
        met_ids: list[int] = platform.engine.get_user_profile(platform.context("mia"))["met"]
        return met_ids

    log.append([quiz("mia", 11, 0), quiz("mia", 501, 1)])
    assert met() == [11, 501]
    platform.load(*topics(PLANTED))
    assert met() == [11]
    platform.load(*topics([*PLANTED, 501]))
    assert met() == [11, 501]
    platform.load(*topics([*PLANTED, 502]), topic(501, replaced_by=502))
    assert met() == [11, 502]


def test_a_path_leads_only_to_topics_that_are_offered(platform: Platform) -> None:
    platform.load(topic(11), topic(12, retired=True), topic(13, prerequisites=(12, 11)))
    path = platform.engine.adapt_learning_path(platform.context("mia"), topic_id=13)
    assert [step["topic_id"] for step in path["learning_path"]] == [11, 13]
    for topic_id in (12, 99):
        with pytest.raises(InvalidInput, match=f"catalogue offers, got {topic_id}"):
            platform.engine.adapt_learning_path(platform.context("mia"), topic_id=topic_id)


def test_a_topic_outside_the_catalogue_is_unknown_even_if_the_model_was_trained_on_it(
    platform: Platform, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 11, 0)])
    platform.load(*topics([11, 13]))
    answer = platform.engine.suggest_quiz_difficulty(platform.context("mia"), 14)
    assert answer["fallback"] == "unknown_topic"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            (topic(10), topic(11), topic(12)),
            (topic(10, replaced_by=11), topic(11), topic(12, replaced_by=11)),
        ),
        ((topic(10),), (topic(10), topic(12))),
    ],
    ids=["two topics become one", "an unknown topic becomes known"],
)
def test_a_state_that_is_cached_equals_one_that_is_read_anew_after_each_load(
    platform: Platform, quiz: Quiz, before: tuple[Topic, ...], after: tuple[Topic, ...]
) -> None:
    platform.load(*before)
    platform.log.append([quiz("ann", 10, 0), quiz("ann", 12, 1)])
    platform.context("ann")
    platform.log.append([quiz("ann", 10, 2), quiz("ann", 12, 3)])
    platform.context("ann")
    platform.load(*after)
    cached = platform.context("ann").learner.history
    platform.engine.learners = LearnerCache(platform.connect, lambda: platform.seconds)
    read = platform.context("ann").learner.history
    assert (sorted(cached.topics), cached.events) == (sorted(read.topics), read.events)


def test_the_built_in_catalogue_is_no_boundary_of_a_platform_without_a_catalogue(
    platform: Platform,
) -> None:
    platform.engine.swap(catalogue=Catalogue.of(curriculum.load_file().topics), model=None)
    platform.follower.look()
    platform.seconds += 61
    platform.follower.look()
    assert {*PLANTED} <= {*platform.offered("nobody")}
    assert platform.engine.state.catalogue.title(1) == "Topic 1"
