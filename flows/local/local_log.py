"""Log of this installation: opening, check for an empty log, and demo data."""

from collections.abc import Callable
from datetime import UTC, datetime

from sensei import curriculum
from sensei.app_state import DEMO
from sensei.errors import InvalidInput, NotEnoughData
from sensei.events import rules
from sensei.events.log import Log, open_log
from sensei.events.rules_arrow import check_table
from sensei.settings import Settings
from sensei.simulation import simulate
from sensei.storage import database

LEARNERS, DAYS = 300, 60
"""Size of the demo: learners, and days of simulated time.

They are enough to train on within the minutes that a first run may take.
"""


def open_own_log(settings: Settings) -> Log:
    """Open the log; first create or upgrade our own file under `SENSEI_HOME`.

    A database that `SENSEI_DATABASE_URL` names belongs to somebody else, so it is never upgraded
    here: that needs `sensei db upgrade`.
    """
    if not settings.database_url:
        database.upgrade(settings.log_url)
    return open_log(settings.log_url)


def refuse_empty(log: Log) -> None:
    """Raise an error for an empty log before a run starts.

    Raises:
        NotEnoughData: the log holds no interaction.
    """
    if log.is_empty():
        raise NotEnoughData(
            "log: expected interactions to train on, got none; "
            "run `sensei import FILE` or `sensei simulate` first"
        )


def fill_empty_log(settings: Settings, say: Callable[[str], None]) -> None:
    """Simulate learners if the log is empty, and report it."""
    log = open_own_log(settings)
    if log.is_empty():
        say("The log is empty: simulating learners, as a demo")
        simulate_into(log, LEARNERS, DAYS, settings.seed, last_midnight(), say)


def last_midnight() -> datetime:
    """Return the end of the simulated time: all day long, equal seeds give equal cohorts."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def simulate_into(
    log: Log, learners: int, days: int, seed: int, end: datetime, say: Callable[[str], None]
) -> None:
    """Fill an empty log with a simulated cohort and mark the database as a demo.

    Args:
        log: An empty log.
        learners: Size of the cohort.
        days: Length of the simulated time.
        seed: The same seed gives the same cohort.
        end: End of the simulated time.
        say: Shows a line of progress.

    Raises:
        InvalidInput: The log holds interactions.
    """
    if not log.is_empty():
        raise InvalidInput(
            f"log: expected an empty one to simulate into, got {log.count()} interactions; "
            "set SENSEI_HOME to another folder, or continue with `sensei run`"
        )
    catalogue = curriculum.load_file(None)
    curriculum.store(log.engine, catalogue)
    log.set_fact(DEMO, True)
    topics = [topic.model_dump() for topic in catalogue.topics]
    table = simulate(learners, days, seed, topics, end)
    rows, _ = check_table(table, rules.latest(end))
    appended = log.append_table(rows, source="simulation")
    say(f"Simulated {appended.inserted:,} interactions of {learners} learners over {days} days")
