"""Evidently's workspace: the monitor's reports and a dashboard over time."""

import os
from pathlib import Path
from typing import Any

PROJECT = "Cyber-Sensei"

VARYING = ("threshold", "per_column_threshold", "columns")
"""Parameters that differ between reports; if kept, each report would get its own line."""


def open_project(folder: Path) -> Any:
    """Open the workspace and its project; create the project and its dashboard if absent.

    Returns:
        Evidently's workspace and project.
    """
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently.ui.workspace import Workspace

    folder.mkdir(parents=True, exist_ok=True)
    workspace = Workspace.create(str(folder))
    projects = workspace.search_project(PROJECT)
    if projects:
        return workspace, projects[0]
    project = workspace.create_project(
        PROJECT, "Drift of recent data compared with the champion's training data"
    )
    workspace.save_dashboard(project.id, _dashboard())
    return workspace, project


def keep(folder: Path, snapshot: Any, kept: int) -> None:
    """Add a report to the project and remove all but the newest `kept` reports.

    Args:
        folder: folder of the workspace.
        snapshot: result of an Evidently report.
        kept: number of reports that remain, the new one included.
    """
    from evidently.legacy.core import new_id

    workspace, project = open_project(folder)
    model = snapshot.to_snapshot_model()
    for result in model.metric_results.values():
        for name in VARYING:
            result.metric_value_location.metric.params.pop(name, None)
    workspace.state.write_snapshot(project.id, new_id(), model)
    runs = sorted(workspace.list_runs(project.id), key=str, reverse=True)  # ids grow with time
    for old in runs[kept:]:
        workspace.delete_run(project.id, old)


def _dashboard() -> Any:
    from evidently.sdk.models import DashboardModel, DashboardTabModel, PanelMetric
    from evidently.sdk.panels import line_plot_panel, text_panel

    # No counter panels: for 0, the usual value, Evidently's page shows "no value".
    drifted = {
        kind: PanelMetric(
            legend=kind, metric="DriftedColumnsCount", metric_labels={"value_type": kind}
        )
        for kind in ("share", "count")
    }
    panels = [
        text_panel(
            "Drift",
            "Recent data compared with the champion's reference: inputs, answers, outcomes. "
            "An input drifts if its distance is both large enough to matter and beyond chance.",
        ),
        line_plot_panel("Drift score, 0 to 1", [drifted["share"]], size="half"),
        line_plot_panel("Inputs that drift", [drifted["count"]], size="half"),
        line_plot_panel(
            "Jensen-Shannon distance of each input, at most 0.83",
            [PanelMetric(legend="{{column}}", metric="ValueDrift")],
        ),
    ]
    tab = DashboardTabModel(title="Drift", panels=[panel.id for panel in panels])
    return DashboardModel(tabs=[tab], panels=panels)
