"""Simulated learners for a log that is empty, so that a newcomer sees everything work."""

from collections.abc import Callable
from datetime import UTC, datetime

from sensei import curriculum
from sensei.errors import InvalidInput
from sensei.log import Log, open_log, upgrade
from sensei.settings import Settings
from sensei.simulation import simulate

LEARNERS, DAYS = 300, 60
"""Enough to train on within the minutes that a first run may take."""


def fill_empty_log(settings: Settings, say: Callable[[str], None]) -> None:
    """Make the database where it is missing; simulate learners where the log is empty."""
    upgrade(settings.log_url)
    log = open_log(settings.log_url)
    if log.is_empty():
        say("The log is empty: simulating learners (a demo; import your own log to replace it)")
        simulate_into(log, LEARNERS, DAYS, settings.seed, datetime.now(UTC), say)


def simulate_into(
    log: Log, learners: int, days: int, seed: int, end: datetime, say: Callable[[str], None]
) -> None:
    """Fill an empty log with a simulated cohort and mark the database as a demo.

    Args:
        log: An empty log.
        learners: Size of the cohort.
        days: Length of the simulated time.
        seed: The same seed gives the same cohort.
        end: The moment at which the simulated time ends.
        say: Shows a line of progress.

    Raises:
        InvalidInput: The log holds interactions.
    """
    if not log.is_empty():
        raise InvalidInput(
            f"log: expected an empty one to simulate into, got {log.count()} interactions; "
            "set SENSEI_HOME to another folder, or go on with `sensei run`"
        )
    catalogue = curriculum.load_file(None)
    curriculum.store(log.engine, catalogue)
    log.set_fact("demo", True)
    table = simulate(learners, days, seed, catalogue, end)
    appended = log.append_table(table, source="simulation")
    say(f"Simulated {appended.inserted:,} interactions of {learners} learners over {days} days")
