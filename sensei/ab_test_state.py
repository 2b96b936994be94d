"""State of the A/B test: a challenger serves a share of the learners until a person decides.

The state is a fact in the database, which every worker of the service reads each second. The
monitor compares the arms; the A/B test itself never promotes a model.
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
    """Running A/B test of a challenger.

    Attributes:
        bundle: digest of the challenger's bundle.
        share: share of all learners that it serves.
        model: `recommendation` or `difficulty`.
        version: version of the challenger.
        against: version of the champion at the start; None if there was none.
        since: time of the start, ISO 8601, UTC.
    """

    bundle: str
    share: float
    model: str
    version: str
    against: str | None
    since: str

    @property
    def name(self) -> str:
        """Display name of the challenger: model and version."""
        return f"{self.model} {self.version}"


def current(log: Log) -> AbTest | None:
    """Return the running A/B test; None if there is none."""
    fact = log.get_fact(TRIAL)
    if not isinstance(fact, Mapping):
        return None
    defaults: dict[str, Any] = {"model": "a bundle", "version": "", "against": None, "since": ""}
    return AbTest(**{**defaults, **{k: v for k, v in fact.items() if k in _FIELDS}})


_FIELDS = {field.name for field in fields(AbTest)}


def put_before_learners(log: Log, trial: AbTest) -> None:
    """Start an A/B test; workers apply it within a second."""
    _set(log, asdict(trial), audit_log.TRIAL_STARTED, trial)


def stop(log: Log) -> AbTest:
    """End the A/B test: the champion serves all learners again within seconds.

    Raises:
        InvalidInput: no A/B test runs.
    """
    running = end(log)
    if running is None:
        raise InvalidInput(
            "trial: expected a running one, got none; start one with `sensei trial start`"
        )
    return running


def end(log: Log) -> AbTest | None:
    """End the A/B test if one runs; promotion and rollback call this, as its bundle is outdated.

    Returns:
        The test that ended; None if none ran.
    """
    running = current(log)
    if running is not None:
        _set(log, None, audit_log.TRIAL_STOPPED, running)
    return running


def _set(log: Log, fact: dict[str, Any] | None, action: str, trial: AbTest) -> None:
    """Write the fact and its audit log entry in one transaction."""
    with database.write_transaction(log.engine) as connection, Session(connection) as session:
        session.merge(AppStateRow(name=TRIAL, value=fact))
        session.flush()
        audit_log.record(
            connection, action, model=trial.model, version=trial.version, share=trial.share
        )
