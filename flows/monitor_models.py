"""Hourly flow: outcomes of the served answers, drift, skew, guards and alarms."""

from datetime import datetime
from typing import Any

from prefect import flow

from flows.tasks import monitor_tasks
from flows.tasks.champion_tasks import reconcile_champions
from flows.tasks.gate_task import serving_bundle
from flows.tasks.report_tasks import report_drift
from sensei.private_files import keep_files_private
from sensei.settings import Settings


@flow(name="monitor-models", description="Answers and outcomes -> figures, drift, skew -> alarms.")
def monitor_models(as_of: datetime | None = None) -> dict[str, Any]:
    """Measure recent answers, compare recent days with the champion's window, raise alarms.

    Args:
        as_of: End of the window, UTC; empty for now, or for the end of a log that ended earlier.

    Returns:
        Findings in the format of `GET /api/monitoring/metrics`.
    """
    keep_files_private()
    settings = Settings()
    reconcile_champions(settings)
    end = monitor_tasks.read_end(settings, as_of)
    answers = monitor_tasks.read_answers(settings, end)
    skew = monitor_tasks.compare_inputs(settings, answers, end)
    observed = monitor_tasks.observe(settings, end)
    drift = report_drift(settings, serving_bundle(settings), observed, end) if observed else None
    trial = monitor_tasks.follow_trial(settings, end)
    verdicts = monitor_tasks.judge(settings, as_of)
    concluded = monitor_tasks.conclude(settings, answers, drift, skew, trial, end, verdicts)
    return monitor_tasks.give_alarm(settings, concluded, end)
