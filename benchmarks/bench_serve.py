"""Benchmark of the service: throughput and latency against two peers, growth, start, memory.

    python benchmarks/bench_serve.py [--rows 200000] [--grow 10000,200000] [--seconds 4]
        [--rounds 5] [--home FOLDER] [--only peers,growth,start,swap,learners] [--large]

`--large` is `--rows 5000000 --grow 10000,1000000,5000000`. Homes are filled once in `--home` and
used again. The servers run one after the other in each round, and the medians over rounds are
shown. On a busy machine compare the ratios and the CPU time per request. Our service runs through
`bentoml serve` with a key, limits, metrics, the log of answers and the learners' log.
"""

import argparse
import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psutil
from serving_home import SPECIAL, make, name_of
from serving_wrk import Figures, Server, missing, ours, peer, wrk

from features.history import FOLD_VERSION
from sensei.access import key_store
from sensei.bundle.bundle_format import Bundle, write
from sensei.events.log import open_log

HOT = "/api/user/learner-%07d/recommendations?count=3"
WARM = 1_000
"""Number of learners requested in turn if all must be in the cache."""

CAPACITY = 2_000
"""Number of learner states that a worker caches; twice as many in turn cause only misses."""


def key_of(home: Path) -> dict[str, str]:
    """Create a key for a home and return its header; from then on every request needs a key."""
    log = open_log(f"sqlite:///{home / 'sensei.db'}")
    _, key = key_store.create(log.engine, "operator")
    log.close()
    return {"Authorization": f"Bearer {key}"}


def median_figures(runs: list[Figures]) -> Figures:
    columns = zip(*(vars(figures).values() for figures in runs), strict=True)
    return Figures(*(median(column) for column in columns))


def print_figures(
    title: str, rows: list[tuple[str, Figures]], against: tuple[str, ...] = ()
) -> None:
    figures_of = dict(rows)
    ratios = "".join(f"  x {name:6}" for name in against)
    print(f"\n{title}\n{'':22}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{ratios}")
    for name, figures in rows:
        print(
            f"{name:22}{figures.rate:9.0f}{figures.p50:9.2f}{figures.p99:9.2f}{figures.cpu_us:9.0f}"
            + "".join(
                f"  {figures.rate / max(figures_of[peer_name].rate, 0.1):8.2f}"
                for peer_name in against
            )
            + (f"  {figures.bad:.0f} answers were none" if figures.bad else ""),
            flush=True,
        )


def against_peers(home: Path, learners: int, seconds: float, rounds: int) -> None:
    headers = key_of(home)
    warm = min(learners, WARM)
    runs_of: dict[str, list[Figures]] = {}
    servers: list[tuple[str, Callable[[], AbstractContextManager[Server]]]] = [
        ("sketch", lambda: peer("sketch")),
        ("bare", lambda: peer("bare")),
        ("ours", lambda: ours(home, headers)),
    ]
    for _ in range(rounds):
        for name, start in servers:
            with start() as server:
                slow = name == "sketch"  # a few answers per second: no warm-up, longer run
                if name == "ours":
                    settle(server, warm)
                else:
                    wrk(server, HOT, 1, warm)
                label = "ours, warm" if name == "ours" else name
                runs_of.setdefault(label, []).append(
                    wrk(server, HOT, seconds * (3 if slow else 1), warm)
                )
                if name == "ours" and learners > 2 * CAPACITY:
                    cold = wrk(server, HOT, seconds, learners, first=CAPACITY)
                    runs_of.setdefault("ours, cold", []).append(cold)
    rows = [(name, median_figures(runs)) for name, runs in runs_of.items()]
    print_figures(f"GET recommendations, 16 connections, {warm} learners", rows, ("sketch", "bare"))


def settle(server: Server, warm: int) -> None:
    """Wait until the recent popularity is complete, then request `warm` learners once each."""
    while json.loads(server.get("/healthz")[1])["refreshed_seconds"] is None:
        time.sleep(1)
    for number in range(warm):
        server.get(HOT % number)


def growth(homes: list[tuple[int, Path]], seconds: float) -> None:
    print("\nGrowth: one connection, milliseconds")
    print(f"{'rows':>10}{'learner of':>12}{'first':>9}{'p50':>9}{'p99':>9}{'after a write':>15}")
    for rows, home in homes:
        headers = key_of(home)
        log = open_log(f"sqlite:///{home / 'sensei.db'}")
        with ours(home, headers) as server:
            settle(server, 0)
            for events in SPECIAL:
                name = f"learner-{events}"
                path = f"/api/user/{name}/recommendations?count=3"
                _, _, first = server.get(path)
                figures = wrk(server, path, seconds, connections=1)
                after_write_ms = []
                for _ in range(5):
                    log.append([quiz(name)])
                    after_write_ms.append(server.get(path)[2])
                print(
                    f"{rows:10,}{events:12,}{first:9.2f}{figures.p50:9.2f}{figures.p99:9.2f}"
                    f"{median(after_write_ms):15.2f}",
                    flush=True,
                )
        log.close()


def quiz(user_id: str) -> dict[str, object]:
    return {
        "user_id": user_id,
        "interaction_type": "quiz_complete",
        "topic_id": 1,
        "score": 1.0,
        "timestamp": datetime.now(UTC),
    }


def start_and_memory(home: Path, rounds: int) -> None:
    headers = key_of(home)
    print("\nStart to the first answer, and resident memory of a worker after it")
    for name, start in (
        ("sketch", lambda: peer("sketch")),
        ("bare", lambda: peer("bare")),
        ("ours", lambda: ours(home, headers)),
    ):
        seconds, memory = [], []
        for _ in range(rounds):
            with start() as server:
                seconds.append(server.started_seconds)
                memory.append(server.worker_mb())
        print(f"{name:22}{median(seconds):9.2f} s{median(memory):9.0f} MB", flush=True)


def swaps(home: Path, rounds: int, workers: int = 2) -> None:
    headers = key_of(home)
    log = open_log(f"sqlite:///{home / 'sensei.db'}")
    bundles, older = home / "bundles", log.pointer()
    newer = copy_bundle(bundles / older)
    durations = []
    with ours(home, headers, workers) as server, ThreadPoolExecutor(8) as pool:
        for digest in [newer, older] * rounds:
            log.set_pointer(digest)
            started, serving = time.perf_counter(), {}
            while len(serving) < workers or set(serving.values()) != {digest}:
                for _, body, _ in pool.map(server.get, ["/healthz"] * 8):
                    health = json.loads(body)
                    serving[health["worker"]] = health["champion"]["bundle"]
            durations.append(time.perf_counter() - started)
    log.close()
    print(
        f"\nFrom the pointer to the last of {workers} workers, {len(durations)} swaps: "
        f"median {median(durations):.2f} s, longest {max(durations):.2f} s"
    )


def copy_bundle(folder: Path) -> str:
    """Write the same bundle with another version number and return its digest."""
    bundle = Bundle.load(folder, FOLD_VERSION)
    entries = {
        name: entry.model_copy(update={"version": "2"})
        for name, entry in bundle.manifest.models.items()
    }
    manifest = bundle.manifest.model_copy(update={"models": entries, "files": {}})
    return write(folder.parent, manifest, bundle.networks, bundle.statistics).name


def many_learners(home: Path, learners: int, count: int = 10_000) -> None:
    headers = key_of(home)
    with ours(home, headers) as server:
        wrk(server, HOT, 2, min(learners, WARM))
        rows = []
        for title, first in (("before", 0), ("after", 0), ("after twice as many", count)):
            if title != "before":
                for number in range(first, first + count):
                    server.get(f"/api/user/{name_of(number)}/recommendations?count=3")
            status, body, _ = server.get("/metrics")
            series = len(re.findall(rb"^\w", body, re.MULTILINE))
            rows.append((title, status, len(body), series, server.worker_mb()))
    print(f"\n{count:,} different learners, then as many others: /metrics and memory of the worker")
    for title, status, size, series, memory in rows:
        print(f"{title:22}{status:6}{size / 1e3:9.1f} kB{series:7} series{memory:8.0f} MB")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--grow", default="10000,200000")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--only", default="peers,growth,start,swap,learners")
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    if arguments.large:
        arguments.rows, arguments.grow = 5_000_000, "10000,1000000,5000000"
    return arguments


def main() -> None:
    arguments, reason = options(), missing()
    if reason:
        print(f"not measured: {reason}")
        return
    wanted = arguments.only.split(",")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server keeps running
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.home or Path(temporary)

        def home_of(rows: int) -> tuple[Path, int]:
            home = folder / f"rows-{rows}"
            home.mkdir(parents=True, exist_ok=True)
            return home, make(home, rows)

        home, learners = home_of(arguments.rows)
        print(f"log of {arguments.rows:,} rows, load {psutil.getloadavg()[0]:.1f} at the start")
        if "peers" in wanted:
            against_peers(home, learners, arguments.seconds, arguments.rounds)
        if "growth" in wanted:
            sizes = [int(size) for size in arguments.grow.split(",")]
            growth([(rows, home_of(rows)[0]) for rows in sizes], arguments.seconds / 2)
        if "start" in wanted:
            start_and_memory(home, arguments.rounds)
        if "swap" in wanted:
            swaps(home, arguments.rounds)
        if "learners" in wanted:
            many_learners(home, learners)


if __name__ == "__main__":
    main()
