"""The log of this installation: opened, never trained on empty, filled with a demo if asked."""

from collections.abc import Callable
from datetime import UTC, datetime

from sensei import curriculum
from sensei.app_state import DEMO
from sensei.errors import InvalidInput, NotEnoughData
from sensei.events import rules
from sensei.events.event_ids import Occurrences
from sensei.events.log import Log, open_log
from sensei.events.rules_arrow import check_table
from sensei.settings import Settings
from sensei.simulation import simulate
from sensei.storage import database

LEARNERS, DAYS = 300, 60
"""Enough to train on within the minutes that a first run may take."""


def open_own_log(settings: Settings) -> Log:
    """Open the log; our own file under `SENSEI_HOME` is made, or brought up to date, first.

    A database named by `SENSEI_DATABASE_URL` is somebody's: `sensei db upgrade` asks for it.
    """
    if not settings.database_url:
        database.upgrade(settings.log_url)
    return open_log(settings.log_url)


def refuse_empty(log: Log) -> None:
    """Stop before anything is started for nothing.

    Raises:
        NotEnoughData: the log holds no interaction.
    """
    if log.is_empty():
        raise NotEnoughData(
            "log: expected interactions to train on, got none; "
            "run `sensei import FILE` or `sensei simulate` first"
        )


def fill_empty_log(settings: Settings, say: Callable[[str], None]) -> None:
    """Simulate learners where the log is empty, and say so."""
    log = open_own_log(settings)
    if log.is_empty():
        say("The log is empty: simulating learners, as a demo")
        simulate_into(log, LEARNERS, DAYS, settings.seed, last_midnight(), say)


def last_midnight() -> datetime:
    """End of the simulated time: equal seeds give equal cohorts all day long."""
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
    log.set_fact(DEMO, True)
    topics = [topic.model_dump() for topic in catalogue.topics]
    table = simulate(learners, days, seed, topics, end)
    rows, _ = check_table(table, rules.latest(end), Occurrences())
    appended = log.append_table(rows, source="simulation")
    say(f"Simulated {appended.inserted:,} interactions of {learners} learners over {days} days")
