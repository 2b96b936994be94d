"""What retraining is worth after a shift, over several worlds, in one process.

    python benchmarks/retraining.py SEED... [--model sequence] [--joining 60]

The worlds are those of `the_loop.py`: after some calm weeks a new track becomes popular and every
question harder. Half of the learners get a model that is trained anew at the end of each week, the
others the first one for ever. No gate: a better figure is not picked, nor a worse one kept back.
Printed: acceptance of both by week, and what the retrained model adds from the second week on.
"""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monitored import lately, microseconds, outcomes
from simulated_platform import Platform
from the_loop import AFTER, ALONE, CALM, FROZEN, SHIFT_AT, START, WEEK, world
from worlds import bundle_of

from monitoring.measures import lift, summarise
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import DAY
from training.candidates import train_candidates
from training.recipes import QUICK

CONTROL = 0.05
FIRST_DAYS, LATER_DAYS = 90, 30
"""Windows of the deployments `manual` and `on-drift`."""


def trained(platform: Platform, home: Path, model: str, days: int) -> Bundle:
    """A quick run on the last days of a platform's log, without the gate."""
    prepared = lately(platform, days)
    made = train_candidates(prepared, 0, QUICK, {model, "reference"})
    chosen = {
        "recommendation": made.recommendation[model],
        "difficulty": made.difficulty["reference"],
    }
    return bundle_of(prepared, chosen, home / "bundles", str(platform.now.date()))


def story(seed: int, model: str, joining: int, home: Path) -> dict[str, Any]:
    """One world; acceptance by arm and week from the shift, and the lift of retraining."""
    platform = Platform(home, world(seed, joining), CONTROL, FROZEN)
    platform.now = START
    platform.live(START + ALONE * WEEK)
    platform.serve(trained(platform, home, model, FIRST_DAYS))
    platform.live(SHIFT_AT)
    for week in range(1, AFTER + 1):
        for day in range(1, 8):  # what all did lately is read anew each day
            platform.live(SHIFT_AT + (week - 1) * WEEK + day * WEEK / 7)
        if week < AFTER:
            platform.serve(trained(platform, home, model, LATER_DAYS))
    found = outcomes(platform, SHIFT_AT - CALM * WEEK)
    found = found[found["kind"] == "recommendation"]
    week = ((found["time"] - microseconds(SHIFT_AT)) // (7 * DAY) + 1).clip(lower=0)
    accepted = {
        arm: [
            summarise(found[(found["arm"] == arm) & (week == number)], 0)[
                "recommendation_acceptance"
            ]["value"]
            for number in range(AFTER + 1)
        ]
        for arm in ("champion", "challenger", "control")
    }
    gained = lift(found[week > 1], 0, "champion", "challenger")
    return {"seed": seed, "model": model, "accepted": accepted, "lift": gained and vars(gained)}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--model", default="sequence")
    parser.add_argument("--joining", type=int, default=60, help="learners a week")
    asked = parser.parse_args()
    for seed in asked.seeds:
        with TemporaryDirectory() as folder:
            found = story(seed, asked.model, asked.joining, Path(folder))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
