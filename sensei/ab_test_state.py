"""The live trial: a challenger that answers a share of the learners until somebody decides.

It is a fact of the log, which every worker of the service reads each second. The monitor
compares the arms; nothing is promoted by a trial alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy.orm import Session

from sensei.app_state import TRIAL
from sensei.errors import InvalidInput
from sensei.events.log import Log
from sensei.privacy import audit_log
from sensei.storage import database
from sensei.storage.tables import AppStateRow


@dataclass(frozen=True)
class AbTest:
    """A challenger before a share of learners.

    Attributes:
        bundle: digest of what serves them.
        share: of all learners.
        model: `recommendation` or `difficulty`.
        version: of the challenger.
        against: version of the champion when it began; None where there was none.
        since: when it began, ISO 8601, UTC.
    """

    bundle: str
    share: float
    model: str
    version: str
    against: str | None
    since: str

    @property
    def name(self) -> str:
        """What is tried, in words."""
        return f"{self.model} {self.version}"


def current(log: Log) -> AbTest | None:
    """The trial that runs, if one does."""
    fact = log.get_fact(TRIAL)
    if not isinstance(fact, Mapping):
        return None
    known: dict[str, Any] = {"model": "a bundle", "version": "", "against": None, "since": ""}
    return AbTest(**{**known, **{k: v for k, v in fact.items() if k in _FIELDS}})


_FIELDS = {each.name for each in fields(AbTest)}


def put_before_learners(log: Log, trial: AbTest) -> None:
    """Begin a trial: workers follow within a second."""
    _set(log, asdict(trial), audit_log.TRIAL_STARTED, trial)


def stop(log: Log) -> AbTest:
    """End the trial: the champion answers its learners again within seconds.

    Raises:
        InvalidInput: none runs.
    """
    running = end(log)
    if running is None:
        raise InvalidInput("trial: expected one to run, got none; begin with `sensei trial start`")
    return running


def end(log: Log) -> AbTest | None:
    """End the trial if one runs, as a promotion and a rollback do: its bundle is out of date.

    Returns:
        The one that ended.
    """
    running = current(log)
    if running is not None:
        _set(log, None, audit_log.TRIAL_STOPPED, running)
    return running


def _set(log: Log, fact: dict[str, Any] | None, action: str, trial: AbTest) -> None:
    """Write the fact and its entry in the audit log in one transaction."""
    with database.write_transaction(log.engine) as connection, Session(connection) as session:
        session.merge(AppStateRow(name=TRIAL, value=fact))
        session.flush()
        audit_log.record(
            connection, action, model=trial.model, version=trial.version, share=trial.share
        )
