"""False alarms of the monitor in calm weeks, and how long a real shift goes unseen.

    python benchmarks/alarms.py live FOLDER FIRST_SEED COUNT
    python benchmarks/alarms.py table FOLDER

`live` lives one world a seed: 13 weeks on a platform without models, 5 under a first champion,
then `CALM` weeks under a second one, trained under the first. Nothing changes in them, and new
learners replace those who leave. At two moments the world is copied, and each copy shifts, by one
of `SHIFTS`, a domain of chance becoming popular and every question harder. Each day the monitor
compares the last seven days with the champion's reference. What it found is kept in FOLDER, with
all outcomes; `table` decides on alarms and counts. Worlds that are there are not lived again.
"""

import json
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from monitored import WEEK, Champion, drift_at, outcomes, trained
from simulated_platform import Platform
from worlds import END, TOPICS

from flows.watching import WINDOWS_BEFORE
from sensei.simulation import Cohort, Shift
from training.export import import_tensorflow

DAY = timedelta(days=1)
JOINING, STAY_DAYS = 20, 84
"""Learners who join in a week; days that they stay at most: 180 are active in a week."""

ALONE, FIRST, CALM = 13, 5, 50
"""Weeks without a model, under the first champion, and measured under the second."""

SHIFTS = ((0.5, 0.25), (1.0, 0.5), (2.0, 1.0))
"""Logits of appeal that a domain gains, and by which every question becomes harder."""

BRANCHES = (4, 28)
"""Calm weeks after which a copy of the world shifts."""

AFTER = 4
"""Weeks that a shifted world is watched."""

BEFORE = (1 + WINDOWS_BEFORE) * WEEK
"""What monitoring looks back on."""


def live(seed: int, out: Path) -> None:
    """One world and its shifted copies; what was found goes into a folder of its own."""
    weeks = ALONE + FIRST + CALM
    with TemporaryDirectory() as folder:
        home = Path(folder)
        cohort = Cohort(JOINING * weeks, 7 * weeks, seed, TOPICS, END, STAY_DAYS)
        platform = Platform(home, cohort)
        platform.live(platform.now + ALONE * WEEK)
        platform.serve(trained(platform, home / "bundles", 2 * seed).bundle)
        platform.live(platform.now + FIRST * WEEK)
        champion = trained(platform, home / "bundles", 2 * seed + 1)
        platform.serve(champion.bundle)
        start, since = platform.now, 0
        found = []
        for number, after in enumerate(BRANCHES):
            found += watch(platform, champion, after - since)
            since = after
            for size, shift in enumerate(SHIFTS):
                branch(platform, champion, Path(folder), (number, size), shift, out)
        found += watch(platform, champion, CALM - since)
        save(out / "calm", found, outcomes(platform, start - BEFORE))


def branch(platform, champion, folder, numbers, shift, out) -> None:
    number, size = numbers
    home = folder / f"{number}-{size}"
    home.mkdir()
    domains = sorted({topic["domain"] for topic in TOPICS})
    domain = domains[np.random.default_rng((platform.cohort.seed, number)).integers(len(domains))]
    start = platform.now
    copy = platform.branch(home, Shift(start, domain, *shift))
    found = watch(copy, champion, AFTER)
    save(out / f"shift-{number}-{size}", found, outcomes(copy, start - BEFORE))


def watch(platform: Platform, champion: Champion, weeks: int) -> list[dict[str, Any]]:
    """Live so many weeks and look at the end of each day."""
    found = []
    for _ in range(weeks):
        begin = platform.now
        platform.live(begin + WEEK)
        for day in range(1, 8):
            moment = begin + day * DAY
            drift = drift_at(platform, champion, moment)
            found.append({"at": moment.isoformat(), **asdict(drift)})
    return found


def save(path: Path, drifts: list[dict[str, Any]], became: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    became.to_parquet(path.with_suffix(".parquet"))
    path.with_suffix(".json").write_text(json.dumps(drifts))


def main() -> None:
    what, folder, *which = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
    if what == "live":
        import_tensorflow()
        for seed in range(which[0], which[0] + which[1]):
            if not (folder / str(seed) / "calm.json").exists():
                live(seed, folder / str(seed))
                print(seed, flush=True)


if __name__ == "__main__":
    main()
