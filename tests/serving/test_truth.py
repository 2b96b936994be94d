"""However events arrive, what counts is their final truth in order.

A learner's events are cut into requests, tables and files, sent twice, sent late, corrected, voided
and split over two accounts that are merged. State and answers are those of a learner whose final
events arrived in order.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from features.events import encode
from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle
from sensei.events import rules
from sensei.events.corrections import Correction, correct
from sensei.events.importer import import_files
from sensei.events.log import Log, open_log
from sensei.events.merging import merge_learners
from sensei.events.rules_arrow import check_table
from sensei.privacy import preferences
from serving.engine.engine import Engine
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model
from serving.state.topic_popularity import TopicPopularity

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1e6)
KINDS = ("quiz_complete", "practice_attempt", "text_read", "recommendation_accepted")


@dataclass
class Told:
    """An event as it is sent first, and what it turns out to be; None: it never was."""

    event_id: str
    account: str
    first: dict[str, Any]
    steps: list[dict[str, Any] | None] = field(default_factory=list)

    @property
    def truth(self) -> dict[str, Any] | None:
        current = dict(self.first)
        void = False
        for step in self.steps:
            void = step is None
            current |= step or {}
        return None if void else current


def some_content(rng: random.Random) -> dict[str, Any]:
    return {
        "interaction_type": rng.choice(KINDS),
        "topic_id": rng.choice([11, 12, 13, 14]),
        "score": rng.choice([None, 0.0, 0.3, 0.9, 1.0]),
        "duration_seconds": rng.choice([None, 60, 400]),
    }


def some_events(rng: random.Random, accounts: tuple[str, ...], count: int) -> list[Told]:
    """Events in the order of their sequence; a third of them share a time with another one."""
    events = []
    for number in range(count):
        time = NOW - timedelta(days=2) + timedelta(hours=rng.randrange(2 * count // 3 + 1))
        told = Told(f"e{number}", rng.choice(accounts), {"timestamp": time, **some_content(rng)})
        while rng.random() < 0.3:
            told.steps.append(None if rng.random() < 0.4 else _some_change(rng))
        events.append(told)
    return events


def _some_change(rng: random.Random) -> dict[str, Any]:
    content = some_content(rng)
    return {name: content[name] for name in rng.sample(sorted(content), rng.randint(1, 3))}


def deliveries(rng: random.Random, events: list[Told]) -> Iterator[Told | tuple[Told, int]]:
    """The events in any order but that of ties, some twice, each correction after its event."""
    order = rng.sample(events, len(events))
    of_time: dict[Any, list[Told]] = {}
    for told in reversed(events):
        of_time.setdefault(told.first["timestamp"], []).append(told)
    waiting: list[tuple[Told, int]] = []
    for place in order:
        told = of_time[place.first["timestamp"]].pop()
        yield told
        if told.steps:
            waiting.append((told, 0))
        if rng.random() < 0.3:
            yield told
        while waiting and rng.random() < 0.5:
            yield from _next_step(rng, waiting)
    while waiting:
        yield from _next_step(rng, waiting)
    yield from rng.sample(events, min(3, len(events)))  # late repeats


def _next_step(rng: random.Random, waiting: list[tuple[Told, int]]) -> Iterator[tuple[Told, int]]:
    told, step = waiting.pop(rng.randrange(len(waiting)))
    yield told, step
    if rng.random() < 0.2:
        yield told, step  # a correction is sent twice
    if step + 1 < len(told.steps):
        waiting.append((told, step + 1))


def send(rng: random.Random, log: Log, folder: Path, batch: list[Told]) -> None:
    """Send events in one of the ways into the log."""
    rows = [{"event_id": t.event_id, "user_id": t.account, **t.first} for t in batch]
    way = rng.choice(["request", "table", "file"])
    if way == "request":
        log.append(rows, NOW)
        return
    texts = [row | {"timestamp": row["timestamp"].isoformat()} for row in rows]
    if way == "table":
        log.append_table(check_table(pa.Table.from_pylist(texts), rules.latest(NOW))[0], "table")
        return
    path = folder / f"{rng.random()}.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, texts)))
    import_files(log, [path], {})


@pytest.fixture
def log(log_url: str) -> Iterator[Log]:
    opened = open_log(log_url)
    yield opened
    opened.close()


@pytest.fixture
def model(planted_bundle: Path) -> Model:
    return Model.of(Bundle.load(planted_bundle, FOLD_VERSION))


def check_one(log: Log, folder: Path, model: Model, seed: int, count: int) -> None:
    rng = random.Random(seed)
    name, other, clean = f"messy-{seed}", f"other-{seed}", f"clean-{seed}"
    events = some_events(rng, (name, other) if rng.random() < 0.5 else (name,), count)
    learners = LearnerCache(lambda: log, lambda: 0.0)
    popularity = TopicPopularity()
    batch: list[Told] = []
    for delivery in deliveries(rng, events):
        if isinstance(delivery, Told):
            if batch and batch[0].account != delivery.account:  # a batch is stored by account
                send(rng, log, folder, batch)
                batch = []
            batch.append(delivery)
        if batch and (not isinstance(delivery, Told) or rng.random() < 0.4):
            send(rng, log, folder, batch)
            batch = []
        if not isinstance(delivery, Told):
            told, step = delivery
            correct(log.engine, [Correction(told.account, told.event_id, told.steps[step])])
        if rng.random() < 0.3:
            learners.read_blocking(name)
            popularity.read(log, 0, NOW_US)
    if batch:
        send(rng, log, folder, batch)
    if any(told.account == other for told in events):
        learners.read_blocking(other)
        log.append([{"user_id": name, "topic_id": 11, "interaction_type": KINDS[3],
                     "event_id": "exists"}], NOW - timedelta(days=9))  # fmt: skip
        correct(log.engine, [Correction(name, "exists")])
        merge_learners(log.engine, other, name)

    final = sorted(
        (told for told in events if told.truth is not None),
        key=lambda told: told.first["timestamp"],
    )
    log.append([{"event_id": t.event_id, "user_id": clean, **(t.truth or {})} for t in final], NOW)

    expected = [event[2:7] for event in log.read_learner(clean)]
    assert [event[2:7] for event in log.read_learner(name)] == expected
    assert preferences.kinds(log.engine, name) == preferences.kinds(log.engine, clean)
    if expected:
        assert_same_state(log, learners, model, name, clean)
        encoded = encode(log.read())
        first, second = (
            encoded.of_learners(encoded.user_ids == user_id) for user_id in (name, clean)
        )
        assert first.topic.tolist() == second.topic.tolist(), "training reads the same order"
    popularity.read(log, 0, NOW_US)
    fresh = TopicPopularity()
    fresh.read(log, 0, NOW_US)
    assert popularity._counts == fresh._counts


def assert_same_state(
    log: Log, learners: LearnerCache, model: Model, name: str, clean: str
) -> None:
    """The cached state after all arrivals equals a fold of the truth."""
    kept, folded = learners.read_blocking(name), learners.read_blocking(clean)
    assert kept is not None
    assert folded is not None
    assert kept.history.learner == folded.history.learner
    assert kept.history.ring == folded.history.ring
    assert kept.history.topics == folded.history.topics
    engine = Engine(LearnerCache(lambda: log, lambda: 0.0), model, Catalogue(), lambda: NOW_US)
    contexts = [engine.blocking_context_for(user_id) for user_id in (name, clean)]
    answers = [engine.recommend_next_topics(context, 4) for context in contexts]
    assert answers[0]["recommendations"] == answers[1]["recommendations"]


@pytest.mark.parametrize("seed", range(4))
def test_the_final_truth_in_order_is_what_counts(
    log: Log, tmp_path: Path, model: Model, seed: int
) -> None:
    check_one(log, tmp_path, model, seed, 12)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 200, 25))
def test_the_final_truth_in_order_is_what_counts_in_many_logs(
    log: Log, tmp_path: Path, model: Model, first: int
) -> None:
    for seed in range(first, first + 25):
        check_one(log, tmp_path, model, seed, seed % 40)
