"""Import and extract: rows per CPU second and peak memory, beside the usual ways, run in turn.

python benchmarks/bench_log.py [--large]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from sqlalchemy.orm import Session

from sensei import database
from sensei.contracts import KINDS
from sensei.importing import import_files
from sensei.log import Log, open_log
from sensei.tables import UserInteraction, to_datetime

SLICE = 20_000  # rows of the slow ways: enough for a rate


def make(path: Path, rows: int) -> None:
    """A Parquet file in the data contract: 300 events a learner, in order of time."""
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
            f'{{"difficulty":"{each}","item_id":"i{item}"}}'
            for each, item in zip(levels[level], random.integers(0, 600, rows), strict=True)
        ],
    }
    pa.parquet.write_table(pa.table(table), path)


def spent() -> float:
    """CPU seconds of this process and of those it started."""
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
    with database.writing(log.engine) as connection, Session(connection) as session:
        session.add_all(events)
        session.flush()
        session.rollback()
    return len(rows)


def way_read_sql(log: Log, _path: Path) -> int:
    return len(pd.read_sql("SELECT * FROM valid_interactions", log.engine))


WAYS = {"import": way_import, "orm": way_orm, "extract": way_extract, "read_sql": way_read_sql}


def run(way: str, url: str, path: Path) -> dict[str, float]:
    """One way in a process of its own: its memory is its own too."""
    command = [sys.executable, __file__, "--way", way, "--url", url, "--path", str(path)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def measure(way: str, url: str, path: Path) -> None:
    log = open_log(url)
    log.read(columns=["id"])  # libraries that are imported at first use are not what is measured
    base, before, wall = peak_mb(), spent(), time.perf_counter()
    rows = WAYS[way](log, path)
    cpu = spent() - before
    found = {"rows": rows, "rate": rows / cpu, "wall": time.perf_counter() - wall}
    print(json.dumps(found | {"peak_mb": peak_mb() - base}))


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--large", action="store_true", help="also 10 M rows")
    options.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--way")
    options.add_argument("--url")
    options.add_argument("--path", type=Path)
    chosen = options.parse_args()
    if chosen.way:
        return measure(chosen.way, chosen.url, chosen.path)
    print(f"SQLite, {datetime.now():%Y-%m-%d}; CPU of child processes counted, start-up not")
    for rows in [*chosen.rows, *([10_000_000] if chosen.large else [])]:
        with tempfile.TemporaryDirectory() as folder:
            path, url = Path(folder) / "events.parquet", f"sqlite:///{folder}/log.db"
            make(path, rows)
            database.upgrade(url)
            for way in WAYS:
                found = run(way, url, path)
                print(
                    f"{rows:>10,} {way:9} {found['rate']:>11,.0f} rows/CPU s "
                    f"{found['wall']:7.1f} s wall {found['peak_mb']:7.0f} MB more",
                    flush=True,
                )
    return None


if __name__ == "__main__":
    main()
