"""The tasks that report: how the last days differ from those before, and where reports remain."""

import numpy as np
import pandas as pd
from prefect import get_run_logger, task

from features.batch import Events, examples
from features.statistics import Statistics
from flows.release import Registered
from flows.steps import IO, Features, Moment, Validation
from monitoring.drift import Drift, drift_report
from sensei.contracts import DAY, KINDS, RECOMMENDATION_INPUTS
from sensei.settings import Settings
from training.registry import Registry

DRIFTING = tuple(
    i.name
    for i in RECOMMENDATION_INPUTS
    if not i.is_id
    and i.name not in ("log_events", "log_topics", "log_topic_seconds", "log_accepted")
)
"""Inputs whose distribution stays put while nothing changes: no ids, no totals that only grow."""


@task(name="drift report", **IO)
def report_drift(settings: Settings, moment: Moment, features: Features) -> Drift:
    """Compare the last days with the same number of days before, one row a learner."""
    get_run_logger().info("Drift: Evidently compares the last two windows")
    end = int(moment.as_of.timestamp() * 1e6)
    span = settings.drift_days * DAY
    current = _window(features, end - span, end)
    reference = _window(features, end - 2 * span, end - span)
    drift = drift_report(current, reference, settings.reports / "drift", settings.kept_reports)
    get_run_logger().info("Drift: score %.2f", drift.score)
    return drift


@task(name="keep reports", **IO)
def keep_reports(
    settings: Settings,
    registered: Registered,
    validation: Validation,
    features: Features,
    drift: Drift,
) -> dict[str, str]:
    """Hang the run's reports on its MLflow run, where they outlive the bounded folders.

    Returns:
        Title -> file.
    """
    reports = {
        "Data Docs": validation.docs,
        "feature docs": features.docs,
        "drift report": drift.html or drift.json,
    }
    registry = Registry(settings.tracking_uri, settings.artifacts)
    for path in reports.values():
        registry.client.log_artifact(registered.run_id, str(path), "reports")
    return {title: str(path) for title, path in reports.items()}


def _window(features: Features, start: int, end: int) -> pd.DataFrame:
    """Each learner's inputs before his last event of a window, that event's kind, and its score."""
    statistics = features.prepared.statistics
    return pd.concat(
        [_last_of_each(events, statistics, start, end) for events in features.prepared.log],
        ignore_index=True,
    )


def _last_of_each(events: Events, statistics: Statistics, start: int, end: int) -> pd.DataFrame:
    inside = (events.time >= start) & (events.time < end)
    rows = examples(events, statistics, inside)
    last = np.flatnonzero(np.append(rows.learner[1:] != rows.learner[:-1], True)[: len(rows)])
    names = [i.name for i in RECOMMENDATION_INPUTS]
    frame = pd.DataFrame(rows.recommendation[last], columns=names, dtype=float)[list(DRIFTING)]
    frame["interaction_type"] = [KINDS[k] for k in events.kind[rows.event[last]]]
    frame["score"] = events.score[rows.event[last]].astype(float)
    return frame
