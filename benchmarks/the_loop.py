"""End-to-end run of the training loop with simulated learners and the real servers.

    python benchmarks/the_loop.py SEED HOME [PLOT.png] [--models reference] [--joining 25]

A cohort fills the log. After the first champion is trained, learners get the service's answers over
HTTP, and their events are sent back over HTTP. The deployment `monitor` runs every week. After some
calm weeks a new track of five domains becomes popular and every question becomes harder. The
monitor's event starts the deployment `on-drift` automatically, the gate decides, and the service
swaps the bundle. Some learners are always served by the first champion, as a comparison without
retraining.

It prints a timeline. HOME keeps all data, and `story.json` the results for a test.
"""

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from story_servers import Prefect, Servers, servers, until
from story_site import Clock, Site

from flows.cli.evaluate_command import names_of
from monitoring.alarms import DRIFT, QUALITY
from monitoring.measures import lift, summarise
from monitoring.outcomes import read_outcomes
from sensei import curriculum
from sensei.app_state import ALARMED, DEMO, MONITORED, TRIAL
from sensei.contracts import DAY
from sensei.events.log import Log, open_log
from sensei.events.rules_arrow import check_table
from sensei.simulation import Cohort, Shift
from sensei.storage import database

CATALOGUE = curriculum.load_file()
TOPICS = CATALOGUE.plain()
END = datetime(2026, 10, 5, tzinfo=UTC)
"""End of the simulation: a Monday in the past, so that no event is in the future."""

WEEK = timedelta(days=7)
ALONE, CALM, AFTER = 13, 5, 5
"""Weeks without a service, weeks with it before the shift, and weeks after the shift."""

START = END - (ALONE + CALM + AFTER) * WEEK
SHIFT_AT = START + (ALONE + CALM) * WEEK

STAY_DAYS = 84
FROZEN = 0.45
"""Share of learners who are always served by the first champion."""

TRACK = (
    "Digital forensics",
    "Offensive security",
    "Software exploitation",
    "Cloud and delivery",
    "Governance, risk and privacy",
)
APPEAL, HARDER = 4.0, 1.0
"""Appeal of the track, which is new to all learners, and added difficulty of questions (logits)."""

ARMS = {"champion": "retrained", "challenger": "first champion", "control": "counting"}


def world(seed: int, joining: int) -> Cohort:
    """Create the cohort, with `joining` new learners per week, and its shift."""
    shift = Shift(SHIFT_AT, TRACK, APPEAL, HARDER, new=True)
    days = (END - START).days
    return Cohort(joining * days // 7, days, seed, TOPICS, END, STAY_DAYS, shift)


@dataclass
class Story:
    """Record of the run, week by week.

    Attributes:
        weeks: one entry per week: `week` (the first one after the shift is 1), the stored
            monitoring figures and alarms, and the result of a retraining if there was one.
        lines: printed lines.
    """

    weeks: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def tell(self, when: str, message: str) -> None:
        """Print one line of the timeline."""
        self.lines.append(f"{when:>9}  {message}")
        print(self.lines[-1], flush=True)


class Loop:
    """Driver of the run: connects the cohort, the site, the servers and the log."""

    def __init__(self, options: Namespace, home: Path) -> None:
        self.home, self.story = home, Story()
        self.models = names_of(options.models)
        cohort = world(options.seed, options.joining)
        self.clock = Clock(home / "clock")
        self.clock.show(START.timestamp())
        self.site = Site(cohort, TOPICS, self.clock)
        self.log = self._filled()

    def _filled(self) -> Log:
        """Fill a log with the weeks without a service, as `sensei simulate` does."""
        url = f"sqlite:///{self.home / 'sensei.db'}"
        database.upgrade(url)
        log = open_log(url)
        curriculum.store(log.engine, CATALOGUE)
        log.set_fact(DEMO, True)
        until = START + ALONE * WEEK
        table, rejected = check_table(self.site.live_alone(until), END)
        assert not rejected
        added = log.append_table(table, "simulation", now=until).inserted
        self.story.tell(f"week {-CALM - ALONE + 1}..{-CALM}", f"{added:,} events, no service yet")
        return log

    def play(self, running: Servers) -> None:
        """Run everything after the weeks without a service."""
        self.site.client.base_url = running.service
        prefect = running.prefect
        prefect.shorten("on-drift", 1.0)
        prefect.give("on-drift", models=self.models)
        self._train_first(prefect)
        for number in range(1 - CALM, AFTER + 1):
            self._week(prefect, number)

    def _train_first(self, prefect: Prefect) -> None:
        run = prefect.run("manual", models=self.models)
        first = self.log.pointer()
        assert run["state_type"] == "COMPLETED", run["state"]["message"]
        assert first is not None
        self.frozen = {"bundle": first, "share": FROZEN}
        self.log.set_fact(TRIAL, self.frozen)
        self._wait_for(first)
        self.story.tell(f"week {-CALM}", f"first champion trained, bundle {first[:8]} serves")

    def _wait_for(self, digest: str) -> None:
        """Wait until the service answers with a bundle."""

        def serves() -> bool:
            champion = self.site.client.get("/healthz").json()["champion"]
            return champion is not None and champion["bundle"] == digest

        until(serves, f"bundle {digest}")

    def _week(self, prefect: Prefect, number: int) -> None:
        """Simulate one week, run the monitor, and wait for the run that it starts."""
        begin = SHIFT_AT + (number - 1) * WEEK
        events = self.site.live(begin, begin + WEEK)
        run_count, before = len(prefect.runs("on-drift")), self.log.pointer()
        emitted = self._emitted()
        monitor_run = prefect.run("monitor", as_of=(begin + WEEK).isoformat())
        assert monitor_run["state_type"] == "COMPLETED", monitor_run["state"]
        monitored = self.log.get_fact(MONITORED)
        self.story.tell(
            f"week {number}",
            f"{events:,} events; acceptance {monitored['recommendation_acceptance']:.3f}, "
            f"drift {monitored['data_drift_score']:.2f}",
        )
        for sentence in monitored["alarms"]:
            self.story.tell("", sentence)
        self.story.weeks.append({"week": number, **monitored})
        if self._emitted() != emitted:
            self._retrain(prefect, run_count, before)

    def _emitted(self) -> dict[str, str]:
        """Return the time of the last emission of each event that starts training."""
        alarmed = self.log.get_fact(ALARMED) or {}
        return {name: alarmed[name] for name in (DRIFT, QUALITY) if name in alarmed}

    def _retrain(self, prefect: Prefect, run_count: int, before: str | None) -> None:
        """Wait for the run that the event starts, for the gate, and for the swap."""
        runs = until(lambda: prefect.runs("on-drift")[run_count:], "a run by trigger")
        run = prefect.ended(runs[-1]["id"])
        serving = self.log.pointer()
        verdict = "the gate keeps the champion"
        if serving is not None and serving != before:
            self.log.set_fact(TRIAL, self.frozen)  # a promotion ends every A/B test
            self._wait_for(serving)
            verdict = f"the gate promotes, bundle {serving[:8]} serves"
        self.story.tell("", f"on-drift started by itself, {run['state_type']}: {verdict}")
        swapped = serving != before
        self.story.weeks[-1] |= {"retrained": run["state_type"], "swapped": swapped}

    def conclude(self) -> dict[str, Any]:
        """Compute acceptance by arm and week, and the lift of retraining after the first swap."""
        stop, start = _us(END), _us(SHIFT_AT - CALM * WEEK)
        outcomes = read_outcomes(self.log.engine, start, stop, DAY)
        outcomes = outcomes[outcomes["kind"] == "recommendation"]
        week = (outcomes["time"] - _us(SHIFT_AT)) // (7 * DAY) + 1
        rows = [
            {"week": int(number), "arm": arm}
            | summarise(arm_outcomes, 0)["recommendation_acceptance"]
            for (number, arm), arm_outcomes in outcomes.groupby([week, "arm"], observed=True)
        ]
        swapped = [entry["week"] for entry in self.story.weeks if entry.get("swapped")]
        later_outcomes = outcomes[week > min(swapped, default=AFTER)]
        gained = lift(later_outcomes, 0, "champion", "challenger")
        return {
            "acceptance": rows,
            "lift": gained and vars(gained),
            "weeks": self.story.weeks,
            "lines": self.story.lines,
        }


def _us(moment: datetime) -> int:
    return round(1e6 * moment.timestamp())


def draw(results: dict[str, Any], path: Path) -> None:
    """Plot acceptance by week and arm: retrained, first champion and counting."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.4), dpi=110, layout="constrained")
    rows = pd.DataFrame(results["acceptance"])
    for arm, name in ARMS.items():
        arm_rows = rows[rows["arm"] == arm].sort_values("week")
        axes.plot(arm_rows["week"], arm_rows["value"], marker="o", label=name)
        axes.fill_between(arm_rows["week"], arm_rows["low"], arm_rows["high"], alpha=0.15)
    axes.axvline(0.5, color="black", linestyle=":", label="the world shifts")
    for week in results["weeks"]:
        if week.get("swapped"):
            axes.axvline(week["week"] + 0.5, color="tab:blue", linestyle="--", alpha=0.6)
    axes.set(xlabel="week, the first one after the shift is 1", ylabel="acceptance", ylim=(0, 1))
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(path)


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int)
    parser.add_argument("home", type=Path)
    parser.add_argument("plot", type=Path, nargs="?")
    parser.add_argument("--models", help="that compete, by default all of a quick run")
    parser.add_argument("--joining", type=int, default=25, help="learners a week")
    options = parser.parse_args()
    home = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    loop = Loop(options, home)
    with servers(home, loop.clock.path) as running:
        loop.play(running)
    results = loop.conclude()
    (home / "story.json").write_text(json.dumps(results, indent=1))
    if options.plot:
        draw(results, options.plot)


if __name__ == "__main__":
    main()
