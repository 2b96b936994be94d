"""Fixtures that every room may use: a log on each backend, a planted bundle, the real server."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from sqlalchemy import text

from sensei import database
from sensei.log import Log, open_log


def pytest_configure() -> None:
    """A runner in the background ignores Ctrl-C, and so would every process that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _postgres_binaries() -> Path | None:
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).parent if found else places[-1].parent if places else None


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


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A migrated SQLite database."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    database.upgrade(url)
    return url


@pytest.fixture
def empty_postgres_url(postgres_url: str) -> str:
    """The session's PostgreSQL, emptied and migrated."""
    engine = database.connect(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    database.upgrade(postgres_url)
    return postgres_url


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
def planted_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose answers are known: after topic 11 comes 12, ..., after 14 comes 11.

    Success at easy, medium and hard is sigmoid(proficiency + 2), sigmoid(proficiency + 1) and
    sigmoid(proficiency - 1). Topic 13 is the most popular, then 12, 11, 14; all are passed as
    often as failed.
    """
    from features.history import FOLD_VERSION
    from features.statistics import Statistics
    from sensei import bundle
    from training.export import import_tensorflow

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
        "recommendation": bundle.Network(_successor(width)),
        "difficulty": bundle.Network(_from_proficiency()),
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
    folder = tmp_path_factory.mktemp("bundles")
    return bundle.write(folder, manifest, models, dict.fromkeys(models, statistics))


def _successor(width: int) -> bytes:
    import keras

    after = np.full((width + 1, width), 0.1 / (width - 1), np.float32)
    after[0] = 1 / width
    for slot in range(1, width + 1):
        after[slot, slot % width] = 0.9
    inputs = keras.Input((20,), name="inputs")
    probability = keras.layers.Embedding(width + 1, width)(inputs[:, 0])
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

    from training.export import to_litert

    model = keras.Model({"inputs": inputs}, outputs)
    model.set_weights(weights)
    return to_litert(model)


class Server:
    """`bentoml serve` in a process of its own, on a free port."""

    def __init__(self, target: str, environment: dict[str, str], cwd: Path, output: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.output = output
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", target, "--port", str(port)],
            env=environment,
            cwd=cwd,
            stdout=output.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=60)

    def wait_until_ready(self) -> None:
        while self.process.poll() is None:
            try:
                if self.get("/readyz").status_code == 200:
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
            for each in family:
                each.kill()
            self.process.wait()


Serve = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Starts a server, waits until it is ready, and ends it at the end of the block."""

    @contextmanager
    def start(
        target: str = "serving.service:SenseiService", cwd: Path = ROOT, **environment: str
    ) -> Iterator[Server]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SENSEI_", "BENTO"))}
        output = tmp_path_factory.mktemp("server") / "output"
        server = Server(target, inherited | environment, cwd, output)
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.stop()

    return start
