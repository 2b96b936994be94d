"""Tasks for reports: drift from the champion's training window, and storage of reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from prefect import get_run_logger, task

from flows.tasks.drift_windows import ObservedLog, references, windows
from flows.tasks.release_tasks import Registered, trained_until
from flows.tasks.training_tasks import IN_MEMORY, IO, Features, Validation
from monitoring.drift.drift_score import Drift, measure_drift, unlinked
from monitoring.drift.report import DriftReport, write_report
from sensei.bundle.bundle_format import Bundle
from sensei.model_name import ModelName
from sensei.settings import Settings
from training.candidates import Candidate
from training.tracking.drift_reference import store_reference
from training.tracking.registry import Registry


@dataclass(frozen=True)
class DriftComparison:
    """Drift of the last days, a description of its reference, and the report's location."""

    drift: Drift
    against: str
    report: DriftReport


@task(name="keep references", **IO, **IN_MEMORY)
def keep_references(
    settings: Settings,
    features: Features,
    candidates: Mapping[ModelName, Candidate],
    registered: Registered,
) -> None:
    """Store with each version the distribution of its inputs and answers at training time."""
    observed = ObservedLog.prepared(features.prepared)
    trained = {
        model_name.value: (
            features.parts(model_name).statistics,
            candidate.predict,
            trained_until(features, model_name),
        )
        for model_name, candidate in candidates.items()
    }
    registry = Registry(settings.tracking_uri, settings.artifacts)
    for model_name, window in references(observed, trained, settings.drift_days).items():
        version = registered.versions[model_name]
        store_reference(registry, registered.run_id, model_name, version, unlinked(window))
        get_run_logger().info("Reference: %s %s: %d learners", model_name, version, len(window))


@task(name="drift report", **IO, **IN_MEMORY)
def report_drift(
    settings: Settings, champion: Bundle | None, observed: ObservedLog, end: datetime
) -> DriftComparison:
    """Compare the last days with the champion's training window, one row per learner.

    Args:
        settings: locations of the reports.
        champion: the bundle that served these days; None if there was none.
        observed: the log.
        end: of the last days.
    """
    get_run_logger().info(
        "Drift: the last %d days compared with the champion's", settings.drift_days
    )
    registry = Registry(settings.tracking_uri, settings.artifacts)
    compared = windows(observed, champion, registry, end, settings.drift_days)
    drift = measure_drift(compared.current, compared.reference)
    report = write_report(
        drift,
        compared.current,
        compared.reference,
        end,
        settings.reports / "drift",
        settings.evidently,
        settings.kept_reports,
    )
    get_run_logger().info("Drift: score %.2f against %s", drift.score, compared.against)
    return DriftComparison(drift, compared.against, report)


@task(name="keep reports", **IO, **IN_MEMORY)
def keep_reports(
    settings: Settings,
    registered: Registered,
    validation: Validation,
    features: Features,
    drift: DriftReport,
) -> dict[str, str]:
    """Attach the run's reports to its MLflow run, where they outlive the bounded folders.

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
