"""Tasks of the monitor: measure outcomes, compare, conclude, give the alarm."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.settings import get_current_settings

from features.corpus.catalogue_features import CatalogueFeatures
from features.corpus.statistics import Statistics
from features.history import FOLD_VERSION
from flows.presentation.monitoring_summary import findings_document, follows
from flows.tasks.drift_windows import ObservedLog
from flows.tasks.guard_readings import judge_guards
from flows.tasks.report_tasks import DriftComparison
from flows.tasks.training_tasks import IN_MEMORY, IO
from monitoring.ab_test_verdict import follow
from monitoring.alarms import Alarm, alarms, guard_alarms, hold_back
from monitoring.cooldown import due
from monitoring.drift.windows import window_end
from monitoring.guards import GuardVerdict
from monitoring.monitor import figures
from monitoring.outcomes import read_outcomes
from monitoring.skew import Skew, compare
from sensei import curriculum
from sensei.ab_test_state import current
from sensei.app_state import ALARMED, MONITORED
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import DAY
from sensei.errors import IncompatibleBundle
from sensei.events.aggregates import outside_catalogue
from sensei.events.log import open_log
from sensei.settings import Settings
from sensei.storage.tables import to_microseconds
from training.reports.document import to_markdown

HOUR = 3_600_000_000

WINDOWS_BEFORE = 4
"""Number of earlier windows that quality is compared with.

They are enough for a precise figure, and few enough to follow slow changes.
"""

RESOURCE = {"prefect.resource.id": "sensei.models", "prefect.resource.name": "models"}
"""Prefect resource of the emitted events; `prefect.yaml` waits for events about it."""


@task(name="read the end", **IO)
def read_end(settings: Settings, as_of: datetime | None) -> datetime:
    """Return the end of the newest window, UTC."""
    last_event = open_log(settings.log_url).last_event()
    return (as_of or window_end(datetime.now(UTC), last_event, settings.drift_days)).astimezone(UTC)


@dataclass(frozen=True)
class AnswerOutcomes:
    """Outcomes of the answers of the last days, and of the windows before.

    `outside` has the number of events on each topic that the catalogue does not have.
    """

    current: pd.DataFrame
    before: pd.DataFrame
    outside: dict[int, int]


@task(name="read outcomes", **IO)
def read_answers(settings: Settings, end: datetime) -> AnswerOutcomes:
    """Read the answers of the last days and of the windows before, with their outcomes."""
    span = settings.drift_days * DAY
    stop = to_microseconds(end)
    start = stop - span
    horizon = settings.acceptance_hours * HOUR
    engine = open_log(settings.log_url).engine
    current = read_outcomes(engine, start, stop, horizon)
    previous = read_outcomes(engine, start - WINDOWS_BEFORE * span, start, horizon)
    get_run_logger().info(
        "Outcomes: of %s answers, and of %s before", f"{len(current):,}", f"{len(previous):,}"
    )
    outside = outside_catalogue(engine)
    if outside:
        get_run_logger().warning("Catalogue: %s", curriculum.describe_outside(outside))
    return AnswerOutcomes(current, previous, outside)


@task(name="compare inputs", **IO, **IN_MEMORY)
def compare_inputs(settings: Settings, answers: AnswerOutcomes, end: datetime) -> Skew:
    """Compare the inputs that serving read with those of training for the same moments."""
    engine = open_log(settings.log_url).engine
    replaced = CatalogueFeatures.of(curriculum.read(engine).topics).replaced
    tables = {}
    for digest in answers.current["bundle"].dropna().unique():
        try:
            served_bundle = Bundle.load(settings.bundles / digest, FOLD_VERSION)
        except IncompatibleBundle as error:
            get_run_logger().warning("Skew: answers of a bundle are left out: %s", error)
            continue
        tables[digest] = {
            model: Statistics.from_arrays(dict(arrays)).renamed(replaced)
            for model, arrays in served_bundle.statistics.items()
        }
    stop = to_microseconds(end)
    skew = compare(engine, tables, stop - settings.drift_days * DAY, stop)
    get_run_logger().info("Skew: %d of %d answers", skew.different, skew.compared)
    return skew


@task(name="observe the log", **IO)
def observe(settings: Settings, end: datetime) -> ObservedLog | None:
    """Read all events before a moment; None if there is none."""
    log = open_log(settings.log_url)
    if log.is_empty():
        get_run_logger().info("Drift: the log is empty")
        return None
    return ObservedLog.until(log, end)


@task(name="follow the trial", **IO)
def follow_trial(settings: Settings, end: datetime) -> dict[str, Any] | None:
    """Compute the current verdict of the running A/B test; None if none runs."""
    log = open_log(settings.log_url)
    trial = current(log)
    if trial is None:
        return None
    horizon = settings.acceptance_hours * HOUR
    verdict = follow(log.engine, trial, to_microseconds(end), horizon, settings.seed)
    get_run_logger().info("Trial: %s: %s", trial.name, verdict["said"])
    return verdict


@task(name="judge the guards", **IO)
def judge(settings: Settings, as_of: datetime | None) -> list[GuardVerdict]:
    """Judge volume, freshness, refused rows, and the ages of the last good runs."""
    verdicts = judge_guards(settings, open_log(settings.log_url), datetime.now(UTC), as_of)
    for verdict in verdicts:
        get_run_logger().info("Guard: %s: %s", verdict.guard, verdict.sentence)
    return verdicts


@dataclass(frozen=True)
class MonitorFindings:
    """Findings as they are stored and shown, and their alarms."""

    findings: dict[str, Any]
    alarms: list[Alarm]


@task(name="conclude", **IN_MEMORY)
def conclude(
    settings: Settings,
    answers: AnswerOutcomes,
    drift: DriftComparison | None,
    skew: Skew,
    trial: dict[str, Any] | None,
    end: datetime,
    verdicts: Sequence[GuardVerdict] = (),
) -> MonitorFindings:
    """Compute the figures and the alarms from all results.

    While the guards find that events are missing, alarms that start a training are held back.
    """
    stop = to_microseconds(end)
    findings = figures(answers.current, stop - settings.drift_days * DAY, stop, settings.seed)
    raised_alarms = alarms(
        answers.current,
        answers.before,
        drift.drift if drift else None,
        skew,
        settings.seed,
        settings.drift_alarm,
    )
    released, held_back = hold_back(raised_alarms, verdicts)
    alarming = [*guard_alarms(verdicts), *released]
    for alarm in alarming:
        get_run_logger().warning("Alarm: %s", alarm.sentence)
    findings |= {
        "computed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data_drift_score": drift and drift.drift.score,
        "drift": drift and _drift(drift),
        "skew": asdict(skew),
        "trial": trial,
        "guards": {verdict.guard: asdict(verdict) for verdict in verdicts},
        "held_back": [alarm.sentence for alarm in held_back],
        "alarms": [alarm.sentence for alarm in alarming],
    }
    return MonitorFindings(findings, alarming)


def _drift(compared: DriftComparison) -> dict[str, Any]:
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


@task(name="give the alarm", **IO)
def give_alarm(settings: Settings, concluded: MonitorFindings, end: datetime) -> dict[str, Any]:
    """Store and show the findings, and emit the events that are due.

    Without a server nothing receives an event, so none is emitted and none counts as emitted.

    Returns:
        The findings; `emitted`: names of the events, None without a server; `follows`: the next
        step, in words.
    """
    log, cooldown_hours = open_log(settings.log_url), settings.alarm_cooldown_hours
    by_event: dict[str, list[Alarm]] = {}
    for alarm in concluded.alarms:
        by_event.setdefault(alarm.event, []).append(alarm)
    emitted_before, events = log.get_fact(ALARMED) or {}, None
    if get_current_settings().api.url is not None:
        events = due(by_event, emitted_before, end, cooldown_hours)
    findings = concluded.findings | {
        "emitted": events,
        "follows": follows([*by_event], events, cooldown_hours),
    }
    json.dumps(findings, allow_nan=False)  # it is sent over HTTP as JSON, which has no NaN
    log.set_fact(MONITORED, findings)
    create_markdown_artifact(
        key="monitoring",
        markdown=to_markdown(findings_document(findings)),
        description="Outcomes of the answers",
    )
    for event in events or []:
        payload = {
            "window": findings["window"],
            "alarms": [asdict(alarm) for alarm in by_event[event]],
        }
        emit_event(event, resource=RESOURCE, payload=payload)
    if events:
        log.set_fact(ALARMED, emitted_before | dict.fromkeys(events, end.isoformat()))
    return findings
