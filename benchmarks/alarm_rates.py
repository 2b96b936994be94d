"""Benchmark of the monitor: false alarms in calm weeks, and detection delay of a real shift.

    python benchmarks/alarm_rates.py live FOLDER FIRST_SEED COUNT
    python benchmarks/alarm_rates.py table FOLDER

`live` simulates one world per seed: 13 weeks on a platform without models, 5 weeks under a first
champion, then `CALM` weeks under a second one that was trained under the first. Nothing changes in
the calm weeks, and new learners replace those who leave. At two moments the world is copied once
per entry of `SHIFTS`. In each copy a random domain becomes popular and every question becomes
harder. Each day the monitor compares the last seven days with the champion's reference. FOLDER
keeps the results and all outcomes; `table` decides on alarms and counts them. Worlds in FOLDER are
not simulated again.
"""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from monitored import HORIZON_US, WEEK, Champion, drifts, microseconds, outcomes, trained
from simulated_platform import Platform
from worlds import END, TOPICS, at_most

from flows.tasks.monitor_tasks import WINDOWS_BEFORE
from monitoring.alarms import DRIFT, QUALITY, alarms
from monitoring.drift.drift_score import ColumnDrift, Drift
from monitoring.outcomes import MEASURED
from sensei.contracts import DAY as DAY_US
from sensei.settings import Settings
from sensei.simulation import Cohort, Shift
from training.release.export import import_tensorflow

DAY = timedelta(days=1)
JOINING, STAY_DAYS = 20, 84
"""Learners who join per week, and the maximum days of their stay: about 180 are active per week."""

ALONE, FIRST, CALM = 13, 5, 50
"""Weeks without a model, weeks under the first champion, measured weeks under the second."""

SHIFTS = ((0.5, 0.25), (1.0, 0.5), (2.0, 1.0))
"""Sizes of a shift: gain in appeal of a domain, added difficulty of every question (logits)."""

BRANCHES = (4, 28)
"""Numbers of calm weeks after which the world is copied and the copies shift."""

AFTER = 4
"""Weeks that a shifted world is monitored."""

SORTS = {"drift": {DRIFT}, "quality": {QUALITY}, "any": {DRIFT, QUALITY}}
BEFORE = (1 + WINDOWS_BEFORE) * WEEK
"""Length of the period that monitoring reads."""


def live(seed: int, out: Path) -> None:
    """Simulate one world and its shifted copies; write the results to the folder `out`."""
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
        measured_drifts = []
        for number, after in enumerate(BRANCHES):
            measured_drifts += watch(platform, champion, after - since)
            since = after
            for size, shift in enumerate(SHIFTS):
                branch(platform, champion, Path(folder), (number, size), shift, out)
        measured_drifts += watch(platform, champion, CALM - since)
        save(out / "calm", measured_drifts, outcomes(platform, start - BEFORE))


def branch(platform, champion, folder, numbers, shift, out) -> None:
    number, size = numbers
    home = folder / f"{number}-{size}"
    home.mkdir()
    domains = sorted({topic["domain"] for topic in TOPICS})
    domain = domains[np.random.default_rng((platform.cohort.seed, number)).integers(len(domains))]
    start = platform.now
    copy = platform.branch(home, Shift(start, (domain,), *shift))
    measured_drifts = watch(copy, champion, AFTER)
    save(out / f"shift-{number}-{size}", measured_drifts, outcomes(copy, start - BEFORE))


def watch(platform: Platform, champion: Champion, weeks: int) -> list[dict[str, Any]]:
    """Simulate `weeks` weeks; return the drift at the end of each day."""
    measured_drifts = []
    for _ in range(weeks):
        moments = [platform.now + day * DAY for day in range(1, 8)]
        platform.live(moments[-1])
        drift_by_moment = zip(moments, drifts(platform, champion, moments), strict=True)
        measured_drifts += [
            {"at": moment.isoformat(), **asdict(drift)} for moment, drift in drift_by_moment
        ]
    return measured_drifts


def save(path: Path, drifts: list[dict[str, Any]], outcome_rows: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    outcome_rows.to_parquet(path.with_suffix(".parquet"))
    path.with_suffix(".json").write_text(json.dumps(drifts))


def alarm_events(drifts: list[dict[str, Any]], outcome_rows: pd.DataFrame) -> list[set[str]]:
    """Return the names of the alarm events of each monitored day."""
    days = []
    for saved_drift in drifts:
        columns = {name: ColumnDrift(**column) for name, column in saved_drift["columns"].items()}
        drift = Drift(**{k: v for k, v in saved_drift.items() if k != "at"} | {"columns": columns})
        end = microseconds(datetime.fromisoformat(saved_drift["at"]))
        middle, start = end - 7 * DAY_US, end - BEFORE // timedelta(microseconds=1)
        current, before = (
            outcomes_of_period(outcome_rows, middle, end),
            outcomes_of_period(outcome_rows, start, middle),
        )
        raised_alarms = alarms(current, before, drift, None, 0, Settings().drift_alarm)
        days.append({alarm.event for alarm in raised_alarms})
    return days


def outcomes_of_period(outcome_rows: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """Select the outcomes of a period as `read_outcomes` returns them at its end."""
    period_rows = outcome_rows[
        (outcome_rows["time"] >= start) & (outcome_rows["time"] < end)
    ].copy()
    period_rows.loc[period_rows["time"] + HORIZON_US > end, list(MEASURED)] = np.nan
    return period_rows


def cached_alarm_events(path: Path) -> list[set[str]]:
    """Return the alarm events of saved results; they are cached next to the results."""
    cache = path.with_suffix(".alarms")
    if not cache.exists():
        drifts, outcome_rows = (
            json.loads(path.read_text()),
            pd.read_parquet(path.with_suffix(".parquet")),
        )
        cache.write_text(
            json.dumps([sorted(events) for events in alarm_events(drifts, outcome_rows)])
        )
    return [set(events) for events in json.loads(cache.read_text())]


def table(folder: Path) -> str:
    """Format both tables as Markdown."""
    calm = [cached_alarm_events(path) for path in sorted(folder.glob("*/calm.json"))]
    weeks = [set.union(*days[at : at + 7]) for days in calm for at in range(0, len(days), 7)]
    lines = ["| alarm | calm weeks | with an alarm | 95 % upper bound |", "|---|---|---|---|"]
    for name, events in SORTS.items():
        count = sum(bool(week & events) for week in weeks)
        bound = at_most(count, len(weeks))
        lines.append(
            f"| {name} | {len(weeks)} | {count} ({count / len(weeks):.1%}) | {bound:.1%} |"
        )
    lines += ["", "| shift: appeal, harder | alarm | worlds | median days | in 1 week | 2 | 4 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for size, (appeal, harder) in enumerate(SHIFTS):
        runs = [cached_alarm_events(path) for path in sorted(folder.glob(f"*/shift-*-{size}.json"))]
        for name, events in SORTS.items():
            lines.append(f"| {appeal:g}, {harder:g} | {name} | {delays(runs, events)} |")
    return "\n".join(lines)


def delays(runs: list[list[set[str]]], events: set[str]) -> str:
    """Format the delay until the first of the events: worlds, median days, shares in time."""
    first = [next((at for at, day in enumerate(days, 1) if day & events), 99) for days in runs]
    median = float(np.median(first))
    shares = " | ".join(f"{np.mean(np.array(first) <= 7 * weeks):.0%}" for weeks in (1, 2, 4))
    return f"{len(runs)} | {median:g} | {shares}".replace(" 99 ", " never ")


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("live", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("first_seed", type=int, nargs="?", default=100)
    parser.add_argument("count", type=int, nargs="?", default=10)
    options = parser.parse_args()
    if options.what == "table":
        print(table(options.folder))
        return
    import_tensorflow()
    for seed in range(options.first_seed, options.first_seed + options.count):
        if not (options.folder / str(seed) / "calm.json").exists():
            live(seed, options.folder / str(seed))
            print(seed, flush=True)


if __name__ == "__main__":
    main()
