"""Following the pointer: each test looks once, as the thread does every second."""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from features.history import FOLD_VERSION
from sensei import curriculum
from sensei.app_state import TRIAL
from sensei.bundle.bundle_format import Bundle, write
from sensei.errors import StorageUnavailable
from sensei.events.log import Log, open_log
from sensei.storage import database
from serving.bundle_follower import REFRESH_SECONDS, BundleFollower
from serving.engine.engine import Engine
from serving.state.arms import place
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache

Quiz = Callable[..., dict[str, Any]]


class Worker:
    """An engine and what keeps it current; time passes only when told."""

    def __init__(self, home: Path, packed: Path | None = None) -> None:
        self.home = home
        self.url = f"sqlite:///{home / 'sensei.db'}"
        self.seconds = 0.0
        self.down = False
        learners = LearnerCache(self.connect, lambda: self.seconds)
        self.engine = Engine(learners, None, Catalogue(), lambda: 1_800_000_000_000_000)
        self.follower = BundleFollower(
            self.engine,
            self.connect,
            home / "bundles",
            0.05,
            packed,
            lambda: 1_800_000_000_000_000,
            lambda: self.seconds,
        )

    def connect(self) -> Log:
        if self.down:
            raise StorageUnavailable("database: down")
        return open_log(self.url)

    def look(self, seconds: float = 1.0) -> str | None:
        """Let the seconds pass, look once, and return the version that answers."""
        self.seconds += seconds
        self.follower.look()
        return self.version

    @property
    def version(self) -> str | None:
        model = self.engine.state.model
        return model and model.source("recommendation")["version"]


@pytest.fixture
def worker(home: Path) -> Worker:
    return Worker(home)


def another(planted: Path, folder: Path, version: str, fold_version: int = FOLD_VERSION) -> str:
    """Digest of a bundle that differs from the planted one in its version."""
    bundle = Bundle.load(planted, FOLD_VERSION)
    entries = {
        name: entry.model_copy(update={"version": version})
        for name, entry in bundle.manifest.models.items()
    }
    manifest = bundle.manifest.model_copy(
        update={"models": entries, "fold_version": fold_version, "files": {}}
    )
    return write(folder, manifest, bundle.networks, bundle.statistics).name


def test_the_bundle_of_the_pointer_serves_and_its_predecessor_after_a_rollback(
    worker: Worker, log: Log, planted_bundle: Path
) -> None:
    assert worker.look() == "7"
    newer_digest = another(planted_bundle, worker.home / "bundles", "8")
    assert worker.look() == "7"
    log.set_pointer(newer_digest)
    assert worker.look() == "8"
    log.set_pointer(planted_bundle.name)
    assert worker.look() == "7"


def test_a_restart_serves_the_bundle_of_the_pointer(
    worker: Worker, log: Log, planted_bundle: Path
) -> None:
    log.set_pointer(another(planted_bundle, worker.home / "bundles", "8"))
    assert worker.look() == "8"
    assert Worker(worker.home).look() == "8"


def test_a_bundle_that_is_not_there_is_refused_until_it_is(
    worker: Worker, log: Log, planted_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker.look()
    elsewhere = worker.home / "elsewhere"
    digest = another(planted_bundle, elsewhere, "8")
    log.set_pointer(digest)
    with caplog.at_level(logging.WARNING):
        assert [worker.look() for _ in range(5)] == ["7"] * 5
    assert len(caplog.records) == 1, "said once"
    assert digest in str(worker.follower.status().refused)
    shutil.copytree(elsewhere / digest, worker.home / "bundles" / digest)
    worker.look(REFRESH_SECONDS)
    assert worker.look() == "8"
    assert worker.follower.status().refused is None


def test_a_bundle_of_another_fold_is_refused(
    worker: Worker, log: Log, planted_bundle: Path
) -> None:
    worker.look()
    log.set_pointer(another(planted_bundle, worker.home / "bundles", "8", FOLD_VERSION + 1))
    assert worker.look() == "7"
    assert "fold version" in str(worker.follower.status().refused)
    log.set_pointer(planted_bundle.name)
    assert worker.look() == "7"
    assert worker.follower.status().refused is None


@pytest.mark.parametrize("damage", [b"", b"broken", None])
def test_a_damaged_bundle_is_refused(
    worker: Worker, log: Log, planted_bundle: Path, damage: bytes | None
) -> None:
    worker.look()
    digest = another(planted_bundle, worker.home / "bundles", "8")
    file = worker.home / "bundles" / digest / "recommendation.tflite"
    if damage is None:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(bytes(content))
    else:
        file.write_bytes(damage)
    log.set_pointer(digest)
    assert worker.look() == "7"
    assert worker.follower.status().refused


def test_a_folder_that_is_not_named_by_its_digest_is_refused(worker: Worker, log: Log) -> None:
    worker.look()
    bundles = worker.home / "bundles"
    (folder,) = bundles.iterdir()
    shutil.copytree(folder, bundles / "by-hand")
    log.set_pointer("by-hand")
    assert worker.look() == "7"
    assert "by-hand" in str(worker.follower.status().refused)


def test_without_the_log_what_is_served_stays_and_is_followed_again_afterwards(
    worker: Worker, log: Log, planted_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker.look()
    newer_digest = another(planted_bundle, worker.home / "bundles", "8")
    log.set_pointer(newer_digest)
    worker.down = True
    worker.follower._log.close()  # type: ignore[union-attr]
    worker.follower._log = None
    with caplog.at_level(logging.WARNING):
        assert [worker.look() for _ in range(3)] == ["7"] * 3
    assert len(caplog.records) == 1, "said once an outage"
    assert not worker.follower.status().log
    worker.down = False
    assert worker.look() == "8"
    assert worker.follower.status().log


def test_an_update_that_fails_permanently_is_reported_and_logged_once(
    worker: Worker, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    assert worker.look() == "7"
    curriculum.store(log.engine, curriculum.load_file())
    change = "UPDATE topics SET prerequisites = '{}' WHERE topic_id = 11"
    with database.write_transaction(log.engine) as connection:
        connection.execute(text(change.format("{broken")))
    with caplog.at_level(logging.ERROR):
        assert [worker.look(REFRESH_SECONDS) for _ in range(3)] == ["7"] * 3
    assert len(caplog.records) == 1
    assert worker.follower.status().failed
    with database.write_transaction(log.engine) as connection:
        connection.execute(text(change.format("[]")))
    worker.look(REFRESH_SECONDS)
    assert worker.follower.status().failed is None


def test_what_a_bento_was_packed_with_serves_until_the_pointer_names_another(
    worker: Worker, log: Log, planted_bundle: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "models"
    another(planted_bundle, packed, "6")
    offline = Worker(tmp_path / "nothing", packed)
    offline.down = True
    offline.follower.start()
    assert offline.version == "6"
    offline.follower.close()
    pointed = Worker(worker.home, packed)
    pointed.follower.start()
    assert pointed.version == "7"
    pointed.follower.close()


def test_a_pointer_to_what_a_bento_was_packed_with_needs_no_other_folder(
    worker: Worker, log: Log, planted_bundle: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "models"
    log.set_pointer(another(planted_bundle, packed, "6"))
    pointed = Worker(worker.home, packed)
    assert pointed.look() == "6"
    assert pointed.follower.status().refused is None


def test_a_pointer_that_cannot_be_served_at_the_start_falls_back_to_the_packed_bundle(
    worker: Worker, log: Log, planted_bundle: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "models"
    another(planted_bundle, packed, "6")
    log.set_pointer("0" * 64)
    started = Worker(worker.home, packed)
    started.follower.start()
    assert started.version == "6"
    assert started.follower.status().refused
    started.follower.close()


def foreign(planted: Path, folder: Path) -> str:
    """Digest of a whole bundle whose statistics are those of other software."""
    bundle = Bundle.load(planted, FOLD_VERSION)
    manifest = bundle.manifest.model_copy(update={"files": {}})
    statistics = {name: {"other": np.arange(3)} for name in bundle.statistics}
    return write(folder, manifest, bundle.networks, statistics).name


@pytest.mark.parametrize("is_pointed_at", [False, True], ids=["packed", "pointed at"])
def test_foreign_statistics_are_refused_and_a_worker_starts_without_them(
    worker: Worker, log: Log, planted_bundle: Path, tmp_path: Path, is_pointed_at: bool
) -> None:
    packed = tmp_path / "models"
    digest = foreign(planted_bundle, worker.home / "bundles" if is_pointed_at else packed)
    log.set_pointer(digest)
    started = Worker(worker.home if is_pointed_at else tmp_path / "nothing", packed)
    started.down = not is_pointed_at
    started.follower.start()
    assert started.engine.recommend_next_topics(started.engine.blocking_context_for("mia"))[
        "fallback"
    ]
    assert started.follower.status().refused
    if not is_pointed_at:
        another(planted_bundle, packed, "6")
        again = Worker(tmp_path / "nothing", packed)
        again.down = True
        again.follower.start()
        assert (again.version, again.follower.status().refused) == ("6", None)
        again.follower.close()
    started.follower.close()


def test_a_trial_has_a_challenger_and_its_share_and_ends_without_a_trace(
    worker: Worker, log: Log, planted_bundle: Path
) -> None:
    worker.look()
    assert worker.engine.state.challenger is None
    log.set_fact(TRIAL, {"bundle": another(planted_bundle, worker.home / "bundles", "8")} | SHARE)
    assert worker.look() == "7"
    assert worker.engine.state.challenger is not None
    assert worker.engine.state.challenger.source("recommendation")["version"] == "8"
    assert (worker.engine.state.arms.control, worker.engine.state.arms.challenger) == (0.05, 0.25)
    log.set_fact(TRIAL, None)
    worker.look()
    assert worker.engine.state.challenger is None
    assert worker.engine.state.arms.challenger == 0.0


SHARE = {"share": 0.25}


@pytest.mark.parametrize(
    "fact", ["on", {"share": 0.1}, {"bundle": "0" * 64, "share": 0.1}, {"bundle": 3, "share": 9}]
)
def test_a_trial_without_a_bundle_that_serves_has_no_share(
    worker: Worker, log: Log, fact: Any
) -> None:
    log.set_fact(TRIAL, fact)
    assert worker.look() == "7"
    assert worker.engine.state.challenger is None
    assert worker.engine.state.arms.challenger == 0.0


def test_recent_popularity_is_read_again_and_a_new_model_has_it_from_the_start(
    worker: Worker, log: Log, quiz: Quiz, planted_bundle: Path
) -> None:
    worker.look()
    log.append([quiz("mia", 11, 0)])

    def event_count() -> float:
        assert worker.engine.state.model is not None
        return float(worker.engine.state.model.corpora["recommendation"].recency.counts.sum())

    worker.look()
    assert event_count() == 0
    worker.follower._clock = lambda: int(quiz("mia", 11, 1)["timestamp"].timestamp() * 1e6)
    worker.look(REFRESH_SECONDS)
    assert event_count() == 1
    log.set_pointer(another(planted_bundle, worker.home / "bundles", "8"))
    assert worker.look() == "8"
    assert event_count() == 1


def test_a_catalogue_that_is_loaded_later_is_known_within_a_minute_and_never_forgotten(
    worker: Worker, log: Log, quiz: Quiz
) -> None:
    log.append([quiz("mia", 11, 0)])

    def title() -> str:
        first = worker.engine.recommend_next_topics(worker.engine.blocking_context_for("mia"), 1)[
            "recommendations"
        ][0]
        return f"{first['topic_id']} {first['title']}"

    worker.look()
    assert title() == "12 Topic 12"
    loaded = curriculum.load_file()
    curriculum.store(log.engine, loaded)
    worker.look(REFRESH_SECONDS)
    assert title() == f"12 {loaded.topics[11].title}"
    with database.write_transaction(log.engine) as connection:
        connection.exec_driver_sql("DELETE FROM resources")
        connection.exec_driver_sql("DELETE FROM topics")
    worker.look(REFRESH_SECONDS)
    assert title() == f"12 {loaded.topics[11].title}"


@contextmanager
def between_any_two_steps(read: Callable[[], object]) -> Iterator[None]:
    """Read before every bytecode instruction of the modules that swap, as another thread might."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_globals.get("__name__") not in (
            "serving.bundle_follower",
            "serving.engine.engine",
        ):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            read()
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)


def test_no_answer_is_made_from_half_of_a_swap(
    worker: Worker, log: Log, planted_bundle: Path
) -> None:
    """Arm and version of two learners, one in the trial, while a trial starts and ends."""
    bundles = worker.home / "bundles"
    eighth, ninth = (another(planted_bundle, bundles, version) for version in "89")
    users = [f"user {number}" for number in range(50)]
    in_trial = next(user for user in users if place(user) > 0.9)
    outside = next(user for user in users if 0.2 < place(user) < 0.6)
    answers_of: dict[str, list[tuple[str, str]]] = {in_trial: [], outside: []}

    def answer() -> None:
        for user, answers in answers_of.items():
            context = worker.engine.blocking_context_for(user)
            assert context.model is not None
            version = context.model.source("recommendation")["version"]
            if (context.arm, version) not in answers[-1:]:
                answers.append((context.arm, version))

    worker.look()
    steps = [
        (planted_bundle.name, {"bundle": eighth} | SHARE),  # a trial starts
        (planted_bundle.name, None),  # it ends without a winner
        (planted_bundle.name, {"bundle": eighth} | SHARE),
        (ninth, {"bundle": eighth} | SHARE),  # the champion changes meanwhile
        (eighth, None),  # the challenger wins
    ]
    for pointer, trial in steps:
        log.set_pointer(pointer)
        log.set_fact(TRIAL, trial)
        with between_any_two_steps(answer):
            worker.look()
    assert answers_of[in_trial] == [
        ("champion", "7"),
        ("challenger", "8"),
        ("champion", "7"),
        ("challenger", "8"),
        ("champion", "8"),
    ]
    assert answers_of[outside] == [("champion", "7"), ("champion", "9"), ("champion", "8")]


def test_models_and_the_catalogue_that_their_inputs_are_read_with_are_replaced_together(
    worker: Worker, log: Log
) -> None:
    combinations: set[tuple[bool, bool]] = set()

    def answer() -> None:
        context = worker.engine.blocking_context_for("mia")
        assert context.model is not None
        domains = context.model.corpora["recommendation"].outline.domains
        combinations.add((bool(context.catalogue.topics), bool(len(domains))))

    worker.look()
    curriculum.store(log.engine, curriculum.load_file())
    with between_any_two_steps(answer):
        worker.look(REFRESH_SECONDS)
    assert combinations == {(False, False), (True, True)}


def test_the_thread_swaps_by_itself(worker: Worker, log: Log, planted_bundle: Path) -> None:
    worker.follower.start()
    try:
        assert worker.version == "7"
        log.set_pointer(another(planted_bundle, worker.home / "bundles", "8"))
        deadline = time.monotonic() + 60
        while worker.version != "8" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert worker.version == "8"
    finally:
        worker.follower.close()
