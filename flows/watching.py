"""The tasks of the monitor: measure what the answers led to, compare, conclude, give the alarm."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.settings import get_current_settings

from flows.monitored import markdown
from flows.reports import Compared
from flows.steps import IO
from flows.windows import Observed
from monitoring.cooldown import due
from monitoring.drift import ALARMING
from monitoring.monitor import figures
from monitoring.outcomes import read_outcomes
from monitoring.windows import window_end
from sensei.facts import ALARMED, MONITORED
from sensei.log import open_log
from sensei.settings import Settings
from sensei.tables import to_microseconds

DRIFT, QUALITY, SKEW = "sensei.drift.detected", "sensei.quality.degraded", "sensei.skew.detected"
RESOURCE = {"prefect.resource.id": "sensei.models", "prefect.resource.name": "models"}
"""What the events are about; `prefect.yaml` waits for events about it."""


@task(name="read the end", **IO)
def read_end(settings: Settings, as_of: datetime | None) -> datetime:
    """Where the newest window ends."""
    last = open_log(settings.log_url).last_event()
    return (as_of or window_end(datetime.now(UTC), last, settings.drift_days)).astimezone(UTC)


@task(name="measure outcomes", **IO)
def measure_outcomes(settings: Settings, end: datetime) -> dict[str, Any]:
    """Figures of the answers of the last days, with what the learners then did."""
    start = to_microseconds(end - timedelta(days=settings.drift_days))
    horizon = settings.acceptance_hours * 3_600_000_000
    log = open_log(settings.log_url)
    outcomes = read_outcomes(log.engine, start, to_microseconds(end), horizon)
    get_run_logger().info("Outcomes: of %s answers", f"{len(outcomes):,}")
    return figures(outcomes, start, to_microseconds(end), settings.seed)


@task(name="observe the log", **IO)
def observe(settings: Settings, end: datetime) -> Observed | None:
    """All events before a moment; None where there is none."""
    log = open_log(settings.log_url)
    if log.is_empty():
        get_run_logger().info("Drift: the log is empty")
        return None
    return Observed.until(log, end)


@task(name="conclude")
def conclude(figures: dict[str, Any], drift: Compared | None) -> dict[str, Any]:
    """All that was found, as it is stored and shown."""
    found = figures | {
        "computed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data_drift_score": drift and drift.drift.score,
        "drift": drift and _drift(drift),
        "skew": None,
    }
    found["alarms"] = list(alarms_of(found).values())
    return found


def _drift(compared: Compared) -> dict[str, Any]:
    drift, report = compared.drift, compared.report
    return {
        "score": drift.score,
        "small": drift.small,
        "drifted": drift.drifted,
        "against": compared.against,
        "n_current": drift.n_current,
        "n_reference": drift.n_reference,
        "columns": {name: asdict(column) for name, column in drift.columns.items()},
        "report": str(report.html) if report.html else None,
    }


def alarms_of(found: dict[str, Any]) -> dict[str, str]:
    """Event -> the sentence that says what is wrong."""
    drift = found["drift"]
    if drift and drift["score"] >= ALARMING:
        moved = ", ".join(drift["drifted"])
        return {DRIFT: f"Drift {drift['score']:.2f} of 1 against {drift['against']}: {moved}"}
    return {}


@task(name="give the alarm", **IO)
def give_alarm(settings: Settings, found: dict[str, Any], end: datetime) -> list[str]:
    """Store what was found, show it, and emit the events that are due.

    Without a server nobody would hear an event, so none is emitted and none counts as emitted.

    Returns:
        Names of the events emitted.
    """
    log = open_log(settings.log_url)
    json.dumps(found, allow_nan=False)  # what is stored is answered over HTTP
    log.set_fact(MONITORED, found)
    create_markdown_artifact(
        key="monitoring", markdown=markdown(found), description="What became of the answers"
    )
    sentences = alarms_of(found)
    for sentence in sentences.values():
        get_run_logger().warning("Alarm: %s", sentence)
    if get_current_settings().api.url is None:
        return []
    emitted = log.get_fact(ALARMED) or {}
    events = due(sentences, emitted, end, settings.alarm_cooldown_hours)
    payload = {key: value for key, value in found.items() if key != "measures"}
    for event in events:
        emit_event(event, resource=RESOURCE, payload=payload | {"reason": sentences[event]})
    if events:
        log.set_fact(ALARMED, emitted | dict.fromkeys(events, end.isoformat()))
    return events
