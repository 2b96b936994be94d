"""Benchmark of import and extraction: rows per CPU second and peak memory, against usual ways.

python benchmarks/bench_log.py [--large]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from sqlalchemy.orm import Session

from sensei.contracts import KINDS
from sensei.events import frames
from sensei.events.importer import import_files, read_file
from sensei.events.log import Log, open_log
from sensei.events.rules_arrow import CANONICAL
from sensei.storage import database
from sensei.storage.tables import UserInteraction, to_datetime

SLICE = 20_000  # rows of the slow ORM way: enough to measure a rate


def make(path: Path, rows: int) -> None:
    """Write a Parquet file in the data contract: 300 events per learner, in time order."""
    random = np.random.default_rng(0)
    learner, level = random.integers(0, rows // 300, rows), random.integers(0, 3, rows)
    levels = np.array(["easy", "medium", "hard"])
    start = np.datetime64("2025-01-01", "us")
    table = {
        "user_id": [f"learner-{n:07d}" for n in learner],
        "interaction_type": np.array(KINDS)[random.integers(0, 5, rows)],
        "topic_id": random.integers(1, 80, rows),
        "score": pa.array(random.random(rows).round(3), mask=random.random(rows) < 0.4),
        "duration_seconds": random.integers(1, 3000, rows),
        "timestamp": pa.array(start + np.sort(random.integers(0, 60 * 86400 * 10**6, rows))),
        "metadata": [
            f'{{"difficulty":"{level_name}","item_id":"i{item}"}}'
            for level_name, item in zip(levels[level], random.integers(0, 600, rows), strict=True)
        ],
    }
    pa.parquet.write_table(pa.table(table), path)


def spent() -> float:
    """Return the CPU seconds of this process and of its children."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def way_import(log: Log, path: Path) -> int:
    return import_files(log, [path], {}).read


def way_extract(log: Log, _path: Path) -> int:
    return len(log.read())


def way_orm(log: Log, path: Path) -> int:
    rows = pa.parquet.read_table(path).slice(0, SLICE).to_pylist()
    events = [
        UserInteraction(
            **{name: row[name] for name in row if name not in ("metadata", "timestamp")},
            event_id=f"orm-{n}",
            timestamp=row["timestamp"].tz_localize("UTC")
            if isinstance(row["timestamp"], pd.Timestamp)
            else row["timestamp"].replace(tzinfo=to_datetime(0).tzinfo),
            received_at=to_datetime(0),
            event_metadata=row["metadata"],
        )
        for n, row in enumerate(rows)
    ]
    with database.write_transaction(log.engine) as connection, Session(connection) as session:
        session.add_all(events)
        session.flush()
        session.rollback()
    return len(rows)


def way_read_sql(log: Log, _path: Path) -> int:
    return len(pd.read_sql("SELECT * FROM valid_interactions", log.engine))


Rows = list[list[tuple[Any, ...]]]


def checked_rows(path: Path) -> Rows:
    """Read the rows of a file as batches of one transaction, sorted by learner for SQLite."""
    batches = []
    for batch in read_file(path, {}):
        time_column = CANONICAL.names.index("timestamp")
        table = batch.good.sort_by([("user_id", "ascending"), ("timestamp", "ascending")])
        times = table["timestamp"].cast(pa.int64())
        columns = table.set_column(time_column, "timestamp", times).columns
        batches.append(list(zip(*(column.to_pylist() for column in columns), strict=True)))
    return batches


def way_executemany(log: Log, batches: Rows) -> int:
    """Insert prepared rows: the cost of SQLite alone, with the same indexes and transactions."""
    names, signs = ", ".join(CANONICAL.names), ", ".join("?" * len(CANONICAL))
    statement = f"INSERT INTO user_interactions ({names}, received_at) VALUES ({signs}, 0)"
    for rows in batches:
        with database.write_transaction(log.engine) as connection:
            connection.connection.cursor().executemany(statement, rows)
    return sum(map(len, batches))


def way_connectorx(log: Log, _path: Path) -> int:
    """Read with connectorx alone, in this process; no other connection has the file open."""
    import connectorx

    log.close()
    url = database.arrow_url(log.engine.url)
    query = f"SELECT {', '.join(frames.COLUMNS)} FROM valid_interactions"
    return sum(len(batch) for batch in connectorx.read_sql(url, query, return_type="arrow_stream"))


WAYS: dict[str, Callable[[Log, Any], int]] = {
    "orm": way_orm,
    "executemany": way_executemany,
    "import": way_import,
    "read_sql": way_read_sql,
    "connectorx": way_connectorx,
    "extract": way_extract,
}
PEERS = {"import": ("orm", "executemany"), "extract": ("read_sql", "connectorx")}
"""Ways compared with each of ours: the usual way, and the lower bound of the cost."""


def run(*arguments: str) -> str:
    """Run this program in a separate process, so that its memory is measured separately."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(way: str, url: str, path: Path) -> None:
    log = open_log(url)
    log.read(columns=["id"])  # warm up: imports at first use are not measured
    source = checked_rows(path) if way == "executemany" else path
    base, before, wall = peak_mb(), spent(), time.perf_counter()
    rows = WAYS[way](log, source)
    cpu = spent() - before
    figures = {"rows": rows, "rate": rows / cpu, "wall": time.perf_counter() - wall}
    print(json.dumps(figures | {"peak_mb": peak_mb() - base}))


def compare(folder: Path, rows: int) -> None:
    """Measure all ways in turn on one file."""
    path, rates = folder / "events.parquet", {}
    # In a separate process: a child process starts with the peak memory of its parent.
    run("--make", "--rows", str(rows), "--path", str(path))
    for name in ("log", "floor"):
        database.upgrade(f"sqlite:///{folder}/{name}.db")
    for way in WAYS:
        url = f"sqlite:///{folder}/{'floor' if way == 'executemany' else 'log'}.db"
        figures = json.loads(run("--way", way, "--url", url, "--path", str(path)))
        rates[way] = figures["rate"]
        ratios = "".join(
            f"  {rates[way] / rates[peer]:.2f} x {peer}" for peer in PEERS.get(way, ())
        )
        print(
            f"{rows:>10,} {way:11} {figures['rate']:>11,.0f} rows/CPU s "
            f"{figures['wall']:7.1f} s wall {figures['peak_mb']:6.0f} MB more{ratios}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true", help="also 10 M rows")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        return make(options.path, *options.rows)
    if options.way:
        return measure(options.way, options.url, options.path)
    print(f"SQLite, {datetime.now():%Y-%m-%d}; CPU of children counted, start-up of ours not")
    for rows in [*options.rows, *([10_000_000] if options.large else [])]:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), rows)
    return None


if __name__ == "__main__":
    main()
