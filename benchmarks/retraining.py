"""Benchmark of retraining after a shift, over several worlds, in one process.

    python benchmarks/retraining.py SEED... [--model sequence] [--joining 60]

The worlds are those of `the_loop.py`: after some calm weeks a new track becomes popular and every
question becomes harder. Of the learners, `FROZEN` keep the first model, `CONTROL` are served by
counting, and the others get a model that is trained again at the end of each week. No gate decides,
so no result is selected. It prints acceptance by arm and week, and the lift of the retrained model
from the second week on.
"""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monitored import microseconds, outcomes, recent_dataset
from simulated_platform import Platform
from the_loop import AFTER, ALONE, CALM, FROZEN, SHIFT_AT, START, WEEK, world
from worlds import bundle_of

from monitoring.measures import lift, summarise
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import DAY
from sensei.model_name import ModelName
from training.candidates import train_candidates
from training.recipes import QUICK

CONTROL = 0.05
FIRST_DAYS, LATER_DAYS = 90, 30
"""Training windows in days, as in the deployments `manual` and `on-drift`."""


def trained(platform: Platform, home: Path, model: str, days: int) -> Bundle:
    """Train models quickly on the last days of a platform's log, without the gate."""
    prepared = recent_dataset(platform, days)
    candidates = train_candidates(prepared, 0, QUICK, {model, "reference"})
    models = {
        ModelName.RECOMMENDATION: candidates[ModelName.RECOMMENDATION][model],
        ModelName.DIFFICULTY: candidates[ModelName.DIFFICULTY]["reference"],
    }
    return bundle_of(prepared, models, home / "bundles", str(platform.now.date()))


def story(seed: int, model: str, joining: int, home: Path) -> dict[str, Any]:
    """Run one world; return acceptance by arm and week, and the lift of retraining.

    Week 1 is the first one after the shift; week 0 is all calm weeks together.
    """
    platform = Platform(home, world(seed, joining), CONTROL, FROZEN)
    platform.now = START
    platform.live(START + ALONE * WEEK)
    platform.serve(trained(platform, home, model, FIRST_DAYS))
    platform.live(SHIFT_AT)
    for week in range(1, AFTER + 1):
        for day in range(1, 8):  # recent popularity is refreshed each day
            platform.live(SHIFT_AT + (week - 1) * WEEK + day * WEEK / 7)
        if week < AFTER:
            platform.serve(trained(platform, home, model, LATER_DAYS))
    outcome_rows = outcomes(platform, SHIFT_AT - CALM * WEEK)
    outcome_rows = outcome_rows[outcome_rows["kind"] == "recommendation"]
    week = ((outcome_rows["time"] - microseconds(SHIFT_AT)) // (7 * DAY) + 1).clip(lower=0)
    accepted = {
        arm: [
            summarise(outcome_rows[(outcome_rows["arm"] == arm) & (week == number)], 0)[
                "recommendation_acceptance"
            ]["value"]
            for number in range(AFTER + 1)
        ]
        for arm in ("champion", "challenger", "control")
    }
    gained = lift(outcome_rows[week > 1], 0, "champion", "challenger")
    return {"seed": seed, "model": model, "accepted": accepted, "lift": gained and vars(gained)}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--model", default="sequence")
    parser.add_argument("--joining", type=int, default=60, help="learners a week")
    options = parser.parse_args()
    for seed in options.seeds:
        with TemporaryDirectory() as folder:
            result = story(seed, options.model, options.joining, Path(folder))
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
