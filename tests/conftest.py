"""Fixtures that every room may use: a log on each backend, a planted bundle, the real server."""

import fcntl
import gc
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from sqlalchemy import text

from sensei.events.log import Log, open_log
from sensei.storage import database


def pytest_configure() -> None:
    """A runner in the background ignores Ctrl-C, and so would every process that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


COSTLY = ("taught", "candidates")
"""Fixtures that train networks: all files that name one run on the same worker."""


@lru_cache
def _group_of(file: str) -> str:
    words = set(re.findall(r"\w+", Path(file).read_text()))
    return next((fixture for fixture in COSTLY if fixture in words), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file on one worker, and files of one costly fixture together."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group_of(nodeid.partition("::")[0])

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    """A `sensei` command without a process of its own: exit code and what was printed.

    It is called with a home, the arguments and further variables of the environment.
    """
    from flows.cli import command_line
    from flows.presentation import terminal

    before = dict(os.environ)
    clean = {k: v for k, v in before.items() if not k.startswith(("SENSEI_", "PREFECT_"))}

    def run(home: Path, *arguments: object, **variables: str) -> tuple[int, str]:
        values = clean | {"SENSEI_HOME": str(home), "COLUMNS": "200"} | variables
        os.environ.clear()
        os.environ.update(values)
        monkeypatch.setattr(terminal.console, "width", int(values["COLUMNS"]))
        monkeypatch.setattr(sys, "argv", ["sensei", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_error:
            command_line.main()
        gc.collect()  # the end of a process closes its connections
        return int(exit_error.value.code or 0), capsys.readouterr().out

    yield run
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder that all workers of one test run see."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Hold a lock on a folder; True while it is empty: this worker must fill it."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        yield not any(folder.iterdir())


def _postgres_binaries() -> Path | None:
    on_path = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(on_path).parent if on_path else installed[-1].parent if installed else None


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server on a socket of its own, for the session."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's binaries are not installed (Debian package postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path is at most 107 bytes
    owner = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **owner)

    data, options = str(folder / "data"), f"-k {folder} -c listen_addresses='' -F"
    run(str(binaries / "initdb"), "-A", "trust", "--no-sync", "-N", "-U", "postgres", "-D", data)
    control = [str(binaries / "pg_ctl"), "-w", "-D", data, "-l", str(folder / "server.log")]
    run(*control, "-o", options, "start")
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite database, to be copied: migrations run once per session."""
    file = tmp_path_factory.mktemp("migrated") / "log.db"
    database.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_file: Path) -> str:
    """A migrated, empty SQLite database."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path)}"


TO_0003 = (
    "DROP VIEW valid_interactions",
    "ALTER TABLE topics DROP COLUMN retired",
    "ALTER TABLE topics DROP COLUMN replaced_by",
    "DROP TABLE corrections",
    "DROP TABLE imports",
    "DROP TABLE merged_learners",
    "ALTER TABLE user_interactions DROP COLUMN import_id",
    "ALTER TABLE user_interactions DROP COLUMN arrival",
    "CREATE VIEW valid_interactions AS SELECT * FROM user_interactions WHERE NOT EXISTS "
    "(SELECT 1 FROM quarantine WHERE quarantine.interaction_id = user_interactions.id)",
    "DROP TABLE audit_log",
    "DROP TABLE erased",
    "ALTER TABLE learners ADD COLUMN tombstone VARCHAR",
    "UPDATE alembic_version SET version_num = '0003'",
)
"""Statements that take the newest schema back to migration 0003, the one before the tombstones."""


@pytest.fixture(scope="session")
def make_older() -> Callable[[str], None]:
    """Gives a database the schema of migration 0003."""

    def change(url: str) -> None:
        engine = database.connect(url)
        with engine.begin() as connection:
            for statement in TO_0003:
                connection.execute(text(statement))
        engine.dispose()

    return change


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_url: str) -> str:
    """A migrated, empty PostgreSQL database, the template of the one that a test writes."""
    _as_administrator(postgres_url, "CREATE DATABASE migrated")
    database.upgrade(url := postgres_url.replace("/postgres?", "/migrated?"))
    return url


def _as_administrator(url: str, *statements: str) -> None:
    engine = database.connect(url).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def empty_postgres_url(postgres_url: str, migrated_postgres_url: str) -> str:
    """A migrated, empty PostgreSQL database; the one of the test before is dropped."""
    _as_administrator(
        postgres_url,
        "DROP DATABASE IF EXISTS log WITH (FORCE)",
        "CREATE DATABASE log TEMPLATE migrated",
    )
    return migrated_postgres_url.replace("/migrated?", "/log?")


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database on each backend in turn."""
    name = "sqlite_url" if request.param == "sqlite" else "empty_postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def log(log_url: str) -> Iterator[Log]:
    """An empty log on each backend in turn."""
    opened = open_log(log_url)
    yield opened
    opened.close()


ROOT = Path(__file__).resolve().parents[1]
PLANTED_TOPICS = (11, 12, 13, 14)


@pytest.fixture(scope="session")
def planted_bundle(shared_folder: Path) -> Path:
    """A bundle whose answers are known: after topic 11 comes 12, ..., after 14 comes 11.

    Success at easy, medium and hard is sigmoid(proficiency + 2), sigmoid(proficiency + 1) and
    sigmoid(proficiency - 1). Topic 13 is the most popular, then 12, 11, 14; all are passed as
    often as failed.
    """
    folder = shared_folder / "planted"
    with made_once(folder) as is_first:
        return _plant(folder) if is_first else next(folder.iterdir())


def _plant(folder: Path) -> Path:
    from features.corpus.statistics import Statistics
    from features.history import FOLD_VERSION
    from sensei.bundle import bundle_format as bundle
    from training.release.export import import_tensorflow

    import_tensorflow()

    width = len(PLANTED_TOPICS)
    counts = dict.fromkeys(
        ("topic_attempts", "topic_passes", "plain_attempts", "plain_passes"), np.full(width, 10)
    )
    counts |= {name: np.full(width, 5) for name in ("topic_passes", "plain_passes")}
    statistics = Statistics(
        topic_ids=np.array(PLANTED_TOPICS, np.int64),
        topic_events=np.array([20, 30, 40, 10], np.int64),
        item_ids=np.array([], np.str_),
        item_attempts=np.array([], np.int64),
        item_passes=np.array([], np.int64),
        trained_until=np.array(0, np.int64),
        **counts,
    ).to_arrays()
    models = {
        "recommendation": bundle.LiteRtNetwork(_successor(width)),
        "difficulty": bundle.LiteRtNetwork(_from_proficiency()),
    }
    outputs = {"recommendation": {"probability": width}, "difficulty": {"success": 3}}
    entries = {
        name: bundle.ModelEntry(
            name=name,
            version="7",
            candidate="planted",
            inputs={"inputs": 20 if name == "recommendation" else 4},
            outputs=outputs[name],
            trained_until=datetime(2026, 1, 1, tzinfo=UTC),
            topic_ids=PLANTED_TOPICS,
        )
        for name in models
    }
    manifest = bundle.Manifest(
        fold_version=FOLD_VERSION, models=entries, created_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    return bundle.write(folder, manifest, models, dict.fromkeys(models, statistics))


def _successor(width: int) -> bytes:
    import keras

    from training.architectures import slots

    after = np.full((width + 1, width), 0.1 / (width - 1), np.float32)
    after[0] = 1 / width
    for slot in range(1, width + 1):
        after[slot, slot % width] = 0.9
    inputs = keras.Input((20,), name="inputs")
    probability = keras.layers.Embedding(width + 1, width)(slots(inputs[:, 0], width))
    return _litert(inputs, {"probability": probability}, [after])


def _from_proficiency() -> bytes:
    import keras

    kernel = np.zeros((4, 3), np.float32)
    kernel[0] = 1.0
    inputs = keras.Input((4,), name="inputs")
    success = keras.layers.Dense(3, activation="sigmoid")(inputs)
    return _litert(inputs, {"success": success}, [kernel, np.array([2, 1, -1], np.float32)])


def _litert(inputs: Any, outputs: dict[str, Any], weights: list[Any]) -> bytes:
    import keras

    from training.release.export import to_litert

    model = keras.Model({"inputs": inputs}, outputs)
    model.set_weights(weights)
    return to_litert(model)


MONDAY = datetime(2025, 3, 3, tzinfo=UTC)
NEWCOMERS = (99, 98)


@dataclass(frozen=True)
class Taught:
    """Small networks with hidden states, and the bundle they were exported into.

    Attributes:
        events: what the log held, in order of time: twelve days, topics 10..15 in a circle, and
            two topics that came after training.
        prepared: the targets, split by time.
        networks: model -> network, trained for one epoch.
        exported: model -> its LiteRT files.
        manifest: of the bundle, without its files.
        bundle: its folder.
    """

    events: list[dict[str, Any]]
    prepared: Any
    networks: dict[str, Any]
    exported: dict[str, Any]
    manifest: Any
    bundle: Path


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """A next-topic and a success network, both with a state, as training makes and exports them."""
    from features.batch import encode
    from features.history import FOLD_VERSION
    from sensei.bundle import bundle_format as bundle
    from training.architectures import sequence, success
    from training.data.batching import BatchFeed
    from training.data.dataset import prepare
    from training.data.time_split import split_by_time
    from training.fitting import learning_tasks
    from training.fitting.train_loop import Schedule, fit
    from training.release.export import export, import_tensorflow

    import_tensorflow()
    import keras

    folder = tmp_path_factory.mktemp("taught")
    url = f"sqlite:///{folder / 'log.db'}"
    database.upgrade(url)
    log = open_log(url)
    events = _twelve_days()
    log.append(events)
    encoded = encode(log.read())
    log.close()
    prepared = prepare(encoded, split_by_time(encoded))
    attempts, width = prepared.attempts, prepared.statistics.width
    keras.utils.set_random_seed(0)
    inputs, size = prepared.train.recommendation, sequence.SequenceSize(8, True, True, 16, 8, 8, 4)
    networks = {
        "recommendation": sequence.recommendation(inputs, prepared.topics, width, size, "sequence"),
        "difficulty": success.difficulty(
            attempts.train,
            attempts.topics,
            success.SuccessSize(topic=4, state=8, hidden=16, item_hidden=8),
            "tracing",
        ),
    }
    parts = {"recommendation": prepared, "difficulty": attempts}
    jobs = {
        "recommendation": learning_tasks.next_topic(prepared),
        "difficulty": learning_tasks.success(attempts),
    }
    for name, network in networks.items():
        fit(network, jobs[name], Schedule(epochs=1, cells=256), seed=0)
    exported = {
        n: export(network, BatchFeed(parts[n].test, n)).network for n, network in networks.items()
    }
    entries = {
        name: bundle.ModelEntry(
            name=name,
            version="1",
            candidate=network.read.name,
            inputs={key: int(x.shape[-1]) for key, x in network.read.input.items()},
            outputs={key: int(y.shape[-1]) for key, y in network.read.output.items()},
            trained_until=MONDAY,
            topic_ids=tuple(parts[name].statistics.topic_ids.tolist()),
            state=network.state,
        )
        for name, network in networks.items()
    }
    manifest = bundle.Manifest(fold_version=FOLD_VERSION, models=entries, created_at=MONDAY)
    statistics = {name: part.statistics.to_arrays() for name, part in parts.items()}
    path = bundle.write(folder / "bundles", manifest, exported, statistics)
    return Taught(events, prepared, networks, exported, manifest, path)


def _twelve_days() -> list[dict[str, Any]]:
    """24 learners, an event every twelve hours: some views, items, durations and responses."""
    rng = np.random.default_rng(0)
    events = []
    for learner in range(24):
        first = int(rng.integers(6))
        for at in range(24):
            topic = 10 + (first + at) % 6
            if at >= 20 and learner % 4 == 0:
                topic = NEWCOMERS[at % 2]
            event = {
                "event_id": f"{learner:03d}-{at:03d}",
                "user_id": f"learner {learner}",
                "interaction_type": "video_view" if at % 5 == 4 else "quiz_complete",
                "topic_id": topic,
                "score": None if at % 5 == 4 else float(rng.random() < 0.1 + 0.03 * topic % 0.8),
                "duration_seconds": 300 if at % 2 else None,
                "timestamp": MONDAY + timedelta(hours=12 * at, minutes=7 * learner),
                "metadata": {"item_id": f"item {topic}-{at % 2}"} if at % 3 == 0 else None,
            }
            events.append(event)
            if at % 7 == 6:
                response = {"interaction_type": "recommendation_accepted", "score": None}
                later = {"timestamp": event["timestamp"] + timedelta(minutes=1), "metadata": None}
                events.append(event | response | later | {"event_id": f"{learner:03d}-{at:03d}r"})
    return sorted(events, key=lambda event: (event["timestamp"], event["event_id"]))


class Server:
    """`bentoml serve` in a process of its own, on a free port."""

    def __init__(
        self, target: str, environment: dict[str, str], cwd: Path, output: Path, python: str
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.output = output
        self.process = subprocess.Popen(
            [python, "-m", "bentoml", "serve", target, "--port", str(port)],
            env=environment,
            cwd=cwd,
            stdout=output.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=60)

    def wait_until_ready(self, path: str = "/readyz") -> None:
        while self.process.poll() is None:
            try:
                if self.get(path).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError(f"the server ended: {self.output.read_text()}")

    def family(self) -> list[psutil.Process]:
        """The process and its workers."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def interrupt(self) -> int:
        """Ctrl-C, as a terminal sends it to the foreground; gives the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(60)

    def stop(self) -> None:
        """End what still runs, workers included."""
        if self.process.poll() is None:
            family = self.family()
            for member in family:
                member.kill()
            self.process.wait()


Serve = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Starts a server, waits until it is ready, and ends it at the end of the block."""

    @contextmanager
    def start(
        target: str = "serving.service:SenseiService",
        cwd: Path = ROOT,
        python: str = sys.executable,
        awaited: str = "/readyz",
        **environment: str,
    ) -> Iterator[Server]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SENSEI_", "BENTO"))}
        output = tmp_path_factory.mktemp("server") / "output"
        server = Server(target, inherited | environment, cwd, output, python)
        try:
            server.wait_until_ready(awaited)
            yield server
        finally:
            server.stop()

    return start
