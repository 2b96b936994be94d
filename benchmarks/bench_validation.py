"""Benchmark of validating interactions, against pandas by hand and Great Expectations COMPLETE.

It measures CPU seconds, memory and growth. Each measurement runs in a separate process, one after
the other; imports are not counted.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sensei.contracts import KINDS, LEVELS

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = range(1, 61)


def interactions(n: int) -> pd.DataFrame:
    """Create n valid interactions, 150 per learner, with the dtypes of `sensei.events.frames`."""
    r = np.random.default_rng(0)
    learners = max(n // 150, 2)
    times = r.integers(1_700_000_000_000_000, 1_760_000_000_000_000, n)
    return pd.DataFrame(
        {
            "interaction_id": np.arange(n),
            "event_id": np.array([f"{i:032x}" for i in range(n)], dtype=object),
            "user_id": pd.Categorical.from_codes(
                r.integers(0, learners, n), [f"learner-{i}" for i in range(learners)]
            ),
            "interaction_type": pd.Categorical.from_codes(r.integers(0, 7, n), list(KINDS)),
            "topic_id": r.integers(1, 61, n),
            "score": np.where(r.random(n) < 0.4, np.nan, r.random(n)),
            "duration_seconds": r.integers(0, 900, n).astype(float),
            "timestamp": pd.Series(times.view("datetime64[us]")).dt.tz_localize("UTC"),
            "item_id": pd.Categorical.from_codes(
                r.integers(-1, 300, n), [str(i) for i in range(300)]
            ),
            "difficulty": pd.Categorical.from_codes(r.integers(-1, 3, n), list(LEVELS)),
        }
    )


def ours(frame: pd.DataFrame) -> bool:
    """Run `validate_interactions`, including its HTML page."""
    from expectations.validate import validate_interactions

    with tempfile.TemporaryDirectory() as folder:
        return validate_interactions(frame, TOPICS, None, AS_OF, Path(folder)).bad.empty


def gx_complete(frame: pd.DataFrame) -> bool:
    """Run the same rules as one suite with result format COMPLETE, on the unchanged frame."""
    from expectations.suites import load, run, with_roles
    from expectations.validate import _parameters

    rules = with_roles(load("interactions"), {"column", "row", "topics"})
    for rule in rules:
        if rule["kwargs"].get("column") == "user_id+event_id":
            rule["kwargs"]["column"] = "event_id"
        if rule["type"].endswith("be_unique"):
            rule["type"] = "expect_compound_columns_to_be_unique"
            rule["kwargs"] = {"column_list": ["user_id", "event_id"]}
    return all(r.success for r in run(rules, frame, _parameters(TOPICS, None, AS_OF), "COMPLETE"))


def by_hand(frame: pd.DataFrame) -> bool:
    """Run the same rules as pandas expressions: verdicts only, no reasons, no page."""
    f = frame
    latest = pd.Timestamp(AS_OF) + pd.Timedelta(minutes=5)
    return bool(
        f["user_id"].notna().all()
        and not f["user_id"].isin([""]).any()
        and f["event_id"].notna().all()
        and not f.duplicated(["user_id", "event_id"]).any()
        and f["interaction_type"].isin(KINDS).all()
        and f["topic_id"].isin(TOPICS).all()
        and (f["topic_id"] >= 0).all()
        and (f["score"].between(0, 1) | f["score"].isna()).all()
        and (f["duration_seconds"].between(0, 31_622_400) | f["duration_seconds"].isna()).all()
        and f["timestamp"].between(pd.Timestamp(0, tz="UTC"), latest).all()
        and (f["difficulty"].isin(LEVELS) | f["difficulty"].isna()).all()
    )


WAYS = {"ours": ours, "GX COMPLETE": gx_complete, "pandas by hand": by_hand}


def measure(way: str, n: int) -> dict[str, Any]:
    """Measure CPU seconds and peak memory (MB above the frame) of one way on n rows."""
    frame = interactions(n)
    assert WAYS[way](interactions(1_000))  # warm up: imports are not measured
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak memory
    start = time.process_time()
    assert WAYS[way](frame)
    seconds = time.process_time() - start
    return {"cpu": seconds, "mb": resident("VmHWM") - before}


def resident(which: str) -> float:
    """Return the memory of this process in MB: VmRSS now, VmHWM at its peak (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Measure every way in turn and print figures and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="add 10 M rows")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "N"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], int(arguments.one[1]))))
        return
    sizes = [100_000, 1_000_000] + [10_000_000] * arguments.large
    for n in sizes:
        figures_of = {}
        for way in WAYS:
            command = [sys.executable, __file__, "--one", way, str(n)]
            completed = subprocess.run(command, capture_output=True, text=True, check=True)
            figures_of[way] = json.loads(completed.stdout)
        for way, figures in figures_of.items():
            print(
                f"{n:>10,} rows  {way:<15} {figures['cpu']:6.2f} CPU s "
                f"({figures['cpu'] / figures_of['ours']['cpu']:4.2f} x ours), "
                f"{figures['mb']:5.0f} MB on top of the frame"
            )


if __name__ == "__main__":
    main()
