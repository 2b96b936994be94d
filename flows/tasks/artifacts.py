"""Artifacts of a training run in the Prefect UI: figures, decisions and links."""

from pathlib import Path

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from flows.presentation.run_summary import (
    LAST_RESULTS,
    RunSummary,
    results_document,
    stored_document,
)
from monitoring.drift.drift_score import Drift
from sensei.events.log import open_log
from sensei.model_name import ModelName
from sensei.settings import Settings
from training.reports.document import to_markdown
from training.reports.metric_tables import metric_tables


def publish(settings: Settings, run: RunSummary) -> None:
    """Store the results of a training run for `sensei results`, and create its artifacts."""
    page = results_document(run)
    open_log(settings.log_url).set_fact(LAST_RESULTS, stored_document(page))
    create_markdown_artifact(
        key="run", markdown=to_markdown(page), description="Results of this run"
    )
    for model in ModelName:
        for metric_table in metric_tables(run.result, model):
            rows = [
                dict(zip(metric_table.table.columns, row, strict=True))
                for row in metric_table.table.rows
            ]
            create_table_artifact(
                key=metric_table.key,
                table=rows,
                description=f"{metric_table.title} on the test part",
            )
    pages = {
        title: f"{run.page}/artifacts/reports/{Path(file).name}"
        for title, file in run.reports.items()
    }
    for title, address in {"MLflow run": run.page, **pages}.items():
        key = title.lower().replace(" ", "-")
        create_link_artifact(key=key, link=address, link_text=title, description=title)


def drift_in_words(drift: Drift, days: int, against: str) -> str:
    """Describe the drift of the last days, and its reference, in one sentence."""
    windows = f"the last {days} days ({drift.n_current:,} learners) against {against}"
    if drift.small:
        return f"not judged: {windows} ({drift.n_reference:,}) are too few learners"
    drifted_columns = ", ".join(drift.drifted) or "no drift"
    return f"{drift.score:.2f} of 1, {windows}: {drifted_columns}"
