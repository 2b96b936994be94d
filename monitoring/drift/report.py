"""Drift report: Evidently's page, the figures as JSON, and a dashboard over time."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from monitoring.drift.drift_score import FEWEST_ROWS, METHOD, Drift, comparable
from monitoring.drift.workspace import keep
from sensei.pruning import keep_newest


@dataclass(frozen=True)
class DriftReport:
    """Paths of the files of a drift report.

    Attributes:
        html: Evidently's page, readable offline; None if no column could be compared.
        json: the figures for programs.
    """

    html: Path | None
    json: Path


def write_report(
    drift: Drift,
    current: pd.DataFrame,
    reference: pd.DataFrame,
    as_of: datetime,
    folder: Path,
    workspace: Path,
    kept: int = 20,
) -> DriftReport:
    """Write Evidently's report of two compared windows and add it to the workspace.

    Args:
        drift: result of `measure_drift` for these windows.
        current: the newer window.
        reference: the window that it was compared with.
        as_of: end of the newer window; the report's time on the dashboard.
        folder: folder for `drift-<moment>.html` and `.json`; created if absent.
        workspace: folder of Evidently's workspace; created if absent.
        kept: number of reports that remain in each folder, the new one included.
    """
    stem = _stem(folder)
    report = DriftReport(None, stem.with_suffix(".json"))
    if names := drift.compared:
        html = stem.with_suffix(".html")
        snapshot = _run(drift, comparable(current, names), comparable(reference, names), as_of)
        snapshot.save_html(str(html))
        _head(html, drift)
        keep(workspace, snapshot, kept)
        report = DriftReport(html, report.json)
    report.json.write_text(json.dumps(asdict(drift), indent=1), "utf-8")
    _keep_reports(folder, kept)
    return report


def _run(drift: Drift, current: pd.DataFrame, reference: pd.DataFrame, as_of: datetime) -> Any:
    """Run Evidently with the method and the threshold of each column set explicitly."""
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount, ValueDrift

    thresholds = {name: drift.columns[name].threshold for name in drift.compared}
    numbers = [name for name in thresholds if pd.api.types.is_float_dtype(reference[name])]
    definition = DataDefinition(
        numerical_columns=numbers,
        categorical_columns=[name for name in thresholds if name not in numbers],
    )
    share = DriftedColumnsCount(
        columns=list(thresholds), method=METHOD, per_column_threshold=thresholds
    )
    column_metrics = [
        ValueDrift(column=n, method=METHOD, threshold=t) for n, t in thresholds.items()
    ]
    now, before = (Dataset.from_pandas(frame, definition) for frame in (current, reference))
    name = f"{drift.n_current:,} learners up to {as_of:%Y-%m-%d %H:%M}"
    run = Report([share, *column_metrics], include_tests=True).run
    return run(now, before, timestamp=as_of.astimezone(UTC).replace(tzinfo=None), name=name)


def _head(page: Path, drift: Drift) -> None:
    """Insert the score and the sizes of the windows at the top of Evidently's page."""
    small = f" Fewer than {FEWEST_ROWS} rows: no drift is reported." if drift.small else ""
    summary = (
        '<p style="font:16px/1.5 sans-serif;margin:1rem 2rem"><b>Drift score '
        f"{drift.score:.2f} of 1</b>: the share of compared columns whose change is both large "
        f"enough to matter and beyond chance. {drift.n_current:,} rows now, "
        f"{drift.n_reference:,} in the reference.{small}</p>"
    )
    text = page.read_text("utf-8")
    page.write_text(text.replace("<body>", f"<body>{summary}", 1), "utf-8")


def _stem(folder: Path) -> Path:
    """Return the path of a new report without suffix, named by the current time (UTC)."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"drift-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def _keep_reports(folder: Path, max_reports: int) -> None:
    """Remove all but the newest `max_reports` reports."""
    for suffix in ("html", "json"):
        keep_newest(folder.glob(f"drift-*.{suffix}"), max_reports)
