"""Calls of our own functions while the service answers one request, traced in process.

The whole ASGI application of `bentofile.yaml` runs on a copy of a trained SENSEI_HOME: a real
engine, a real SQLite log. Threads other than the event loop's are not counted.
"""

import asyncio
import importlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple

import yaml

from tools.source_tree import installed_packages, project

Message = MutableMapping[str, Any]
App = Callable[[Message, Any, Any], Awaitable[None]]

WARM_UP = 5
"""Requests of each kind before the traced one: imports and caches are filled by then."""

COHORT = (("simulate", "--learners", "60", "--days", "40"), ("train", "--models", "reference"))
"""Commands that fill an empty SENSEI_HOME where the caller names none."""


class Trace(NamedTuple):
    """Function calls of one request.

    Attributes:
        calls: calls of functions of the installed packages; a resumed coroutine or generator
            counts as one more.
        modules: distinct modules that these belong to.
        switches: calls whose module is not that of the call before; the first one counts.
    """

    calls: int
    modules: int
    switches: int


def trace_requests(root: Path, home: Path | None = None) -> dict[str, Trace]:
    """Trace POST submit-quiz and the GET recommendations that follows it.

    Args:
        root: the checkout to trace; its packages must not be imported yet.
        home: a SENSEI_HOME in which `sensei train` ran; by default one is made, in a minute.

    Returns:
        Request line -> its trace.
    """
    sys.path.insert(0, str(root))
    with TemporaryDirectory(prefix="sensei-trace-") as folder:
        copy = Path(folder, "home")
        if home is None:
            _fill(root, copy)
        else:
            shutil.copytree(home, copy, ignore=shutil.ignore_patterns("prefect", "bentoml"))
        os.environ |= {"SENSEI_HOME": str(copy), "SENSEI_LOG_LEVEL": "WARNING"}
        os.environ.pop("SENSEI_DATABASE_URL", None)
        return asyncio.run(_traced(root, *_learner(copy)))


async def _traced(root: Path, username: str, topic_id: int) -> dict[str, Trace]:
    packages = [root / name for name in installed_packages(root)]
    traces = {}
    async with _started(_application(root)) as app:
        for number in range(WARM_UP + 1):
            for method, path, body in _requests(username, topic_id, number):
                with _recorded(packages) as files:
                    status = await _status(app, method, path, body)
                if status not in (200, 201):
                    raise RuntimeError(f"{method} {path}: expected status 200, got {status}")
                traces[f"{method} {path.rpartition('/')[2]}"] = _summary(files)
    return traces


def _requests(username: str, topic_id: int, number: int) -> list[tuple[str, str, bytes]]:
    """Build a new quiz and the question after it, which no cached answer can serve."""
    quiz = {"topic_id": topic_id, "score": 0.8, "duration": 240, "difficulty": "hard"}
    body = json.dumps(quiz | {"event_id": f"traced-{number}"}).encode()
    return [
        ("POST", f"/api/learning/{username}/submit-quiz", body),
        ("GET", f"/api/user/{username}/recommendations", b""),
    ]


def _summary(files: list[str]) -> Trace:
    switches = sum(file != before for before, file in zip(["", *files], files, strict=False))
    return Trace(len(files), len(set(files)), switches)


@contextmanager
def _recorded(packages: list[Path]) -> Iterator[list[str]]:
    """Collect the source file of each call below `packages` in this thread."""
    files: list[str] = []
    prefixes = tuple(f"{folder}{os.sep}" for folder in packages)

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(prefixes):
            files.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)


def _application(root: Path) -> App:
    """Load the service that bentofile.yaml names, as a worker of BentoML runs it."""
    target = yaml.safe_load((root / "bentofile.yaml").read_text())["service"]
    module, _, name = target.partition(":")
    app: App = getattr(importlib.import_module(module), name).to_asgi()
    return app


@asynccontextmanager
async def _started(app: App) -> Any:
    """Run the lifespan of an ASGI application around the block."""
    sent: asyncio.Queue[Message] = asyncio.Queue()
    received: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, received.get, sent.put))
    for step in ("startup", "shutdown"):
        await received.put({"type": f"lifespan.{step}"})
        answer = await sent.get()
        if not answer["type"].endswith(".complete"):
            raise RuntimeError(f"{step}: expected to complete, got {answer}")
        if step == "startup":
            yield app
    await task


async def _status(app: App, method: str, path: str, body: bytes) -> int:
    status: list[int] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app(_scope(method, path, body), receive, send)
    return status[0]


def _scope(method: str, path: str, body: bytes) -> Message:
    headers = [(b"host", b"127.0.0.1")]
    if body:
        length = (b"content-length", str(len(body)).encode())
        headers += [(b"content-type", b"application/json"), length]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


def _learner(home: Path) -> tuple[str, int]:
    """Choose the learner with most events, and the topic of their last event."""
    with sqlite3.connect(home / "sensei.db") as database:
        row = database.execute(
            "SELECT user_id, topic_id, count(*) AS events, max(timestamp) FROM user_interactions "
            "GROUP BY user_id ORDER BY events DESC, user_id LIMIT 1"
        ).fetchone()
    return str(row[0]), int(row[1])


def _fill(root: Path, home: Path) -> None:
    """Simulate learners and train on them, by the commands that users have."""
    module, _, function = project(root)["project"]["scripts"]["sensei"].partition(":")
    run = f"import sys; sys.path.insert(0, {str(root)!r}); from {module} import {function} as run"
    for command in COHORT:
        subprocess.run(  # noqa: S603 - our own interpreter and arguments
            [sys.executable, "-c", f"{run}; sys.exit(run())", *command],
            cwd=root,
            env=os.environ | {"SENSEI_HOME": str(home)},
            check=True,
            stdout=sys.stderr,
        )
