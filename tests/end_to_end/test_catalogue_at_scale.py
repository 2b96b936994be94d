"""Three topics retired and one renamed under 300 learners: followed by every policy in a minute."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sensei import curriculum
from sensei.events.log import Log, open_log
from sensei.settings import Settings
from sensei.storage.tables import to_microseconds
from serving.engine.request_context import LOG_UNREACHABLE
from serving.state.folded_learner import AnswerCache
from serving.worker import Worker, start_worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

LEARNERS = 300
RENAMED = 9_001


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sensei: Any) -> Path:
    """A home with 300 simulated learners and a champion."""
    home = tmp_path_factory.mktemp("catalogue") / "home"
    sensei(home, "simulate", "--learners", str(LEARNERS), "--days", "60")
    sensei(home, "train", "--models", "reference")
    return home


@pytest.fixture(scope="module")
def log(home: Path) -> Iterator[Log]:
    log = open_log(Settings(home=home).log_url)
    yield log
    log.close()


@pytest.fixture(scope="module")
def worker(home: Path, log: Log) -> Iterator[Worker]:
    worker = start_worker(Settings(home=home))
    yield worker
    worker.close()


def users(log: Log) -> list[str]:
    return sorted(log.read(columns=["user_id"])["user_id"].astype(str).unique())


def lists_of(worker: Worker, user_id: str) -> dict[str, list[int]]:
    """Return the topics that each policy and fallback offers a learner, and a path's topics."""
    engine = worker.engine
    context = engine.blocking_context_for(user_id)
    contexts = {
        "model": context,
        "control": context._replace(arm="control"),
        "log unreachable": context._replace(unknown=LOG_UNREACHABLE),
        "no model": context._replace(model=None),
        "cold": engine.blocking_context_for(f"never seen {user_id}"),
    }
    answers = {
        policy: engine.recommend_next_topics(policy_context, 200)["recommendations"]
        for policy, policy_context in contexts.items()
    }
    answers["only new"] = engine.recommend_next_topics(context, 200, only_new=True)[
        "recommendations"
    ]
    answers["path"] = engine.adapt_learning_path(context, 200)["learning_path"]
    return {policy: [row["topic_id"] for row in rows] for policy, rows in answers.items()}


def offers(worker: Worker, user_ids: list[str], topic_ids: set[int]) -> Counter[str]:
    """Count the learners to whom a policy offers one of the topics."""
    return Counter(
        policy
        for user_id in user_ids
        for policy, offered in lists_of(worker, user_id).items()
        if topic_ids & set(offered)
    )


def answers_of(worker: Worker, user_ids: list[str], now_us: int) -> list[Any]:
    """Return the learners' recommendations as of one moment, none of them from the cache."""
    lists = []
    for user_id in user_ids:
        context = worker.engine.blocking_context_for(user_id)
        learner = replace(context.learner, answers=AnswerCache())
        context = context._replace(learner=learner, now_us=now_us)
        lists += [
            worker.engine.recommend_next_topics(context, 10, only_new=only_new)["recommendations"]
            for only_new in (False, True)
        ]
    return lists


def test_retired_topics_leave_every_policy_within_a_minute_and_a_renamed_one_appears_once(
    home: Path, log: Log, worker: Worker, sensei: Any
) -> None:
    learners, popular = users(log), Counter(log.read(columns=["topic_id"])["topic_id"])
    renamed, *retired = [int(topic_id) for topic_id, _ in popular.most_common(4)]
    assert offers(worker, learners, {renamed, *retired})["model"] == LEARNERS
    met = {
        user_id: worker.engine.get_user_profile(worker.engine.blocking_context_for(user_id))
        for user_id in learners
    }
    document = json.loads(curriculum.load_file().model_dump_json())
    for topic in document["topics"]:
        topic["retired"] = topic["topic_id"] in retired
        topic["replaced_by"] = RENAMED if topic["topic_id"] == renamed else None
    (old,) = (topic for topic in document["topics"] if topic["topic_id"] == renamed)
    document["topics"].append(
        old | {"topic_id": RENAMED, "replaced_by": None, "resources": [], "title": "New name"}
    )
    file = home.parent / "curriculum.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    count = log.count()
    sensei(home, "curriculum", "load", str(file))
    wait_for_topics(worker, {RENAMED})
    assert not offers(worker, learners, {renamed, *retired})
    for user_id in learners:
        for policy, offered in lists_of(worker, user_id).items():
            assert offered.count(RENAMED) <= 1, policy
    assert offers(worker, learners, {RENAMED})["model"] > LEARNERS // 2
    assert log.count() == count
    for user_id, before in met.items():
        after = worker.engine.get_user_profile(worker.engine.blocking_context_for(user_id))
        expected = {RENAMED if topic_id == renamed else topic_id for topic_id in before["met"]}
        assert (after["events"], set(after["met"])) == (before["events"], expected)


def test_a_thousand_events_on_wrong_topics_change_no_answer(log: Log, worker: Worker) -> None:
    learners, now = users(log), log.last_event()
    catalogue = curriculum.read(log.engine)
    new = [
        curriculum.Topic(topic_id=9_100 + at, title=f"New {at}", domain="Foundations")
        for at in (0, 1)
    ]
    loaded = curriculum.Curriculum(name="Two new", topics=(*catalogue.topics, *new))
    curriculum.store(log.engine, loaded)
    wait_for_topics(worker, {9_100, 9_101})
    moment = to_microseconds(datetime.now(UTC))
    before = answers_of(worker, learners, moment)
    log.append(
        {
            "event_id": f"wrong {at}",
            "user_id": learners[at % LEARNERS],
            "interaction_type": "quiz_complete",
            "topic_id": 50_000 + at % 40,
            "score": 0.5,
            "timestamp": now,
        }
        for at in range(1_000)
    )
    refreshed = worker.engine.state.model
    while worker.engine.state.model is refreshed:
        time.sleep(0.5)  # popularity is counted again once a minute
    assert answers_of(worker, learners, moment) == before


def wait_for_topics(worker: Worker, topic_ids: set[int]) -> None:
    started = time.monotonic()
    while not topic_ids <= worker.engine.state.catalogue.topics.keys():
        assert time.monotonic() - started < 60
        time.sleep(0.05)


def test_training_gives_retired_topics_no_slot(home: Path, log: Log, sensei: Any) -> None:
    catalogue = curriculum.read(log.engine)
    sensei(home, "train", "--models", "reference")
    prepared_topics = {
        tuple(entry["topic_ids"])
        for path in (home / "bundles").rglob("manifest.json")
        for entry in json.loads(path.read_text())["models"].values()
    }
    offered = {topic.topic_id for topic in catalogue.offered}
    newest = [ids for ids in prepared_topics if set(ids) <= offered]
    assert newest, "the second bundle has slots of offered topics only"
    assert all(RENAMED in ids for ids in newest)
