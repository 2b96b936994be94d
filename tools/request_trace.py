"""In-process trace of our own function calls while the service answers one request.

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
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple

import yaml

from tools.source_tree import installed_packages, project

Message = MutableMapping[str, Any]
App = Callable[[Message, Any, Any], Awaitable[None]]

WARM_UP = 5
"""Number of requests of each kind before the traced one: they load imports and caches."""

SETTINGS = {"SENSEI_LOG_LEVEL": "WARNING", "SENSEI_CONTROL_SHARE": "0"}
"""Settings of the traced service: no log line per request, and no control arm."""

COHORT = (("simulate", "--learners", "60", "--days", "40"), ("train", "--models", "reference"))
"""Commands that fill an empty SENSEI_HOME if the caller names none."""


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
    """Trace a quiz of a known learner and two recommendation requests that no cache can serve.

    Args:
        root: the checkout to trace; its packages must not be imported yet.
        home: a SENSEI_HOME in which `sensei train` ran, which is copied; by default one is made,
            which takes minutes. Figures depend on its models: compare figures of one home.

    Returns:
        Request -> its trace.
    """
    sys.path.insert(0, str(root))
    with TemporaryDirectory(prefix="sensei-trace-") as folder:
        copy = Path(folder, "home")
        if home is None:
            _fill(root, copy)
        else:
            shutil.copytree(home, copy, ignore=shutil.ignore_patterns("prefect", "bentoml"))
        os.environ |= {"SENSEI_HOME": str(copy), **SETTINGS}
        os.environ.pop("SENSEI_DATABASE_URL", None)
        return asyncio.run(_traced(root, _topics(copy)))


async def _traced(root: Path, topics: list[int]) -> dict[str, Trace]:
    packages = [root / name for name in installed_packages(root)]
    traces = {}
    async with _started(_application(root)) as app:
        for number in range(WARM_UP + 1):
            for name, request in _requests(topics[number % len(topics)], number).items():
                with _recorded(packages) as files:
                    status = await _status(app, request)
                if status not in (200, 201):
                    raise RuntimeError(f"{name}: expected status 200, got {status}")
                traces[name] = _summary(files)
    return traces


class Request(NamedTuple):
    """An HTTP request to the service."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""


def _requests(topic_id: int, number: int) -> dict[str, Request]:
    """Build one round: a new quiz, the request after it, and another without new events.

    The two requests differ in their count, so no cached answer of that minute is repeated.
    """
    quiz = {"topic_id": topic_id, "score": 0.8, "duration": 240, "difficulty": "hard"}
    body = json.dumps(quiz | {"event_id": f"traced-{number}"}).encode()
    question = Request("GET", "/api/user/traced/recommendations", "count=5")
    return {
        "POST submit-quiz": Request("POST", "/api/learning/traced/submit-quiz", body=body),
        "GET recommendations after a quiz": question,
        "GET recommendations": question._replace(query="count=3"),
    }


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


async def _status(app: App, request: Request) -> int:
    status: list[int] = []
    waiting = [{"type": "http.request", "body": request.body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app(_scope(request), receive, send)
    return status[0]


def _scope(request: Request) -> Message:
    headers = [(b"host", b"127.0.0.1")]
    if request.body:
        length = (b"content-length", str(len(request.body)).encode())
        headers += [(b"content-type", b"application/json"), length]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": request.query.encode(),
        "headers": headers,
        "client": None,  # as on a Unix socket: no TCP connection whose owner the kernel knows
        "server": None,
        "state": {},
    }


def _topics(home: Path) -> list[int]:
    """Return the three topics with most events in the log; fixed topics if it has none."""
    with closing(sqlite3.connect(home / "sensei.db")) as database:
        rows = database.execute(
            "SELECT topic_id FROM user_interactions GROUP BY topic_id "
            "ORDER BY count(*) DESC, topic_id LIMIT 3"
        ).fetchall()
    return [int(row[0]) for row in rows] or [1, 2, 3]


def _fill(root: Path, home: Path) -> None:
    """Simulate learners and train on them, with the commands that users have."""
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
