"""Servers in separate processes, and the load generator wrk."""

import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
SCRIPT = """
local n = {first}
local headers = {{ {headers} }}
request = function()
  n = n + 1
  return wrk.format("GET", string.format("{path}", ({first} + n * {stride}) % {learners}), headers)
end
"""


@dataclass
class Server:
    """Running server, with its process, request headers and start time in seconds."""

    name: str
    port: int
    process: psutil.Popen
    headers: dict[str, str]
    started_seconds: float

    def family(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid), *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """Return the CPU seconds of all its processes."""
        return sum(sum(member.cpu_times()[:2]) for member in self.family())

    def worker_mb(self) -> float:
        """Return the resident memory of its largest process, in MB."""
        return max(member.memory_info().rss for member in self.family()) / 2**20

    def get(self, path: str) -> tuple[int, bytes, float]:
        """Send a GET request; return status, body and milliseconds."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.connect()
        started = time.perf_counter()
        connection.request("GET", path, headers=self.headers)
        response = connection.getresponse()
        body = response.read()
        milliseconds = 1e3 * (time.perf_counter() - started)
        connection.close()
        return response.status, body, milliseconds


@contextmanager
def serving(
    name: str, command: Sequence[str], ready: str, headers: dict[str, str] | None = None, **env: str
) -> Iterator[Server]:
    """Start a server, wait for its first successful answer, and stop it at the end.

    Args:
        name: name of the server in tables.
        command: command line; `{port}` is replaced by the port.
        ready: path of the first request; its first answer with status 200 ends the start.
        headers: headers of each request.
        env: additional environment variables.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Let Python write bytecode, as in normal use: otherwise each start compiles all modules again.
    dropped = ("SENSEI_", "BENTO", "PYTHONDONTWRITEBYTECODE")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    environment |= {
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}",
    } | env
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = psutil.Popen(
            [part.format(port=port) for part in command],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = Server(name, port, process, headers or {}, 0.0)
        try:
            _wait(server, ready, output)
            server.started_seconds = time.perf_counter() - started
            yield server
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(30)
                except psutil.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def _wait(server: Server, path: str, output) -> None:
    while server.process.poll() is None:
        try:
            status, _, _ = server.get(path)
        except OSError:
            time.sleep(0.05)
        else:
            if status == 200:
                return
            time.sleep(0.05)
    output.seek(0)
    raise SystemExit(f"{server.name} ended: {output.read()[-2000:]}")


def ours(home: Path, headers: dict[str, str], workers: int = 1):
    """Start `bentoml serve` on a home, with the command that a user would type."""
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:SenseiService"]
    command += ["--host", "127.0.0.1", "--port", "{port}"]
    ready = "/api/user/learner-0000000/recommendations?count=3"
    settings = {"SENSEI_HOME": str(home), "SENSEI_SERVICE_WORKERS": str(workers)}
    return serving("ours", command, ready, headers, **settings)


def peer(name: str):
    """Start one of the servers of `serving_peers`."""
    command = [sys.executable, "-m", "uvicorn", "--factory", f"serving_peers:{name}"]
    command += ["--port", "{port}", "--log-level", "warning", "--no-access-log"]
    return serving(name, command, "/api/user/learner-0000000/recommendations?count=3")


@dataclass(frozen=True)
class Figures:
    """Figures of a wrk run: rate and latencies, with the CPU time of the server."""

    rate: float  # requests per second
    p50: float  # milliseconds
    p99: float  # milliseconds
    cpu_us: float  # CPU microseconds per request
    bad: int  # responses other than 2xx and 3xx


def wrk(
    server: Server,
    path: str,
    seconds: float,
    learners: int = 1,
    connections: int = 16,
    first: int = 0,
    stride: int = 7,
) -> Figures:
    """Run wrk: each connection sends its next request after the previous answer.

    Args:
        server: server to measure.
        path: path of the requests, with `%07d` for the number of a learner if it names one.
        seconds: duration, rounded up to whole seconds.
        learners: number of ordinary learners; the requests go through them in turn.
        connections: number of parallel connections.
        first: offset of the first learner's number.
        stride: step from one learner's number to the next, modulo `learners`.
    """
    headers = ", ".join(f'["{k}"] = "{v}"' for k, v in server.headers.items())
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            SCRIPT.format(first=first, headers=headers, path=path, stride=stride, learners=learners)
        )
        script.flush()
        before = server.cpu()
        address = f"http://127.0.0.1:{server.port}"
        rate = ["-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout", "30s"]
        output = subprocess.run(
            ["wrk", *rate, "--latency", "-s", script.name, address],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        cpu = server.cpu() - before
    failures = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    requests = int(re.search(r"(\d+) requests in", output)[1])
    return Figures(
        float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]),
        _quantile(output, 50),
        _quantile(output, 99),
        1e6 * cpu / max(requests, 1),
        int(failures[1]) if failures else 0,
    )


def _quantile(output: str, percent: int) -> float:
    number, unit = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s|m)", output).groups()
    return float(number) * UNITS[unit]


def missing() -> str | None:
    """Return the reason why nothing can be measured here; None if wrk is installed."""
    if shutil.which("wrk") is None:
        return "wrk is not installed (Debian package wrk)"
    return None
