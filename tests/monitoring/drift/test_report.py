"""Reports as people read them, made by Evidently itself."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring.drift.drift_score import FEWEST_ROWS, Drift, measure_drift
from monitoring.drift.report import DriftReport, write_report
from monitoring.drift.workspace import PROJECT, open_project

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def window(n: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    r = np.random.default_rng(seed)
    return pd.DataFrame(
        {"user_id": [f"canary-{i}" for i in range(n)], "event_id": "canary"}
        | {f"number_{i}": r.normal(shift, 1, n) for i in range(3)}
        | {"topic": r.integers(0, 9, n)}
    )


def write(
    folder: Path, current: pd.DataFrame, reference: pd.DataFrame, at=NOW, kept=20
) -> tuple[Drift, DriftReport]:
    drift = measure_drift(current, reference)
    folders = folder / "drift", folder / "evidently"
    return drift, write_report(drift, current, reference, at, *folders, kept)


@pytest.fixture(scope="module")
def report_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    current, reference = window(300, 1, 1.0), window(300, 2)
    return folder, current, *write(folder, current, reference)


def test_evidently_reports_the_measured_figures(report_files):
    folder, _, drift, _ = report_files
    workspace, project = open_project(folder / "evidently")
    (run,) = workspace.list_runs(project.id)
    results = workspace.get_run(project.id, run).metric_results.values()
    distances = {}
    for result in results:
        metric = result.metric_value_location.metric.params
        if metric["type"].endswith("ValueDrift"):
            distances[metric["column"]] = result.value
        else:
            assert result.share.value == drift.score == 0.75
    assert distances == pytest.approx({name: drift.columns[name].value for name in drift.compared})


def test_json_equals_the_returned_drift(report_files):
    _, _, drift, report = report_files
    content = json.loads(report.json.read_text())
    assert content["score"] == drift.score
    assert content["columns"]["number_0"]["value"] == drift.columns["number_0"].value
    assert (content["n_current"], content["n_reference"]) == (300, 300)


def test_no_file_names_a_learner_or_holds_rows(report_files):
    folder, current, drift, _ = report_files
    assert "user_id" not in drift.columns
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 5
    for path in files:
        text = path.read_text()
        assert "canary" not in text
        counts = [sum(repr(v) in text for v in current[f"number_{i}"]) for i in range(3)]
        assert max(counts) <= 2  # the ends of a histogram, at most


def test_the_page_reads_offline(report_files):
    page = report_files[3].html.read_text()
    assert "<link" not in page
    assert "<script src" not in page
    assert "Drift score 0.75 of 1" in page


def test_the_dashboard_plots_the_share_of_drifted_columns_and_each_column(report_files):
    workspace, project = open_project(report_files[0] / "evidently")
    assert project.name == PROJECT
    dashboard = workspace.get_dashboard(project.id)
    (tab,) = dashboard.tabs
    assert tab.panels == [panel.id for panel in dashboard.panels]
    metrics = {value.metric.split(":")[-1] for panel in dashboard.panels for value in panel.values}
    assert metrics == {"DriftedColumnsCount", "ValueDrift"}


def test_reports_of_different_sizes_continue_the_same_dashboard_lines(tmp_path):
    for size in (200, 300):
        write(tmp_path, window(size, size), window(300, 2))
    workspace, project = open_project(tmp_path / "evidently")
    lines = [
        {
            str(sorted(result.metric_value_location.metric.params.items()))
            for result in workspace.get_run(project.id, run).metric_results.values()
        }
        for run in workspace.list_runs(project.id)
    ]
    assert len(lines) == 2
    assert lines[0] == lines[1]


def test_the_project_is_created_once(tmp_path):
    first, second = (open_project(tmp_path)[1].id for _ in range(2))
    assert first == second


def test_the_page_says_if_a_window_is_small(tmp_path):
    drift, report = write(tmp_path, window(FEWEST_ROWS - 1, 1, 5.0), window(300, 2))
    assert drift.score == 0
    page = report.html.read_text()
    assert "no drift is reported" in page
    assert "Data drift detected" not in page


def test_nothing_to_compare_is_written_without_a_page(tmp_path):
    _, report = write(tmp_path, window(0, 1), window(0, 2))
    assert report.html is None
    assert json.loads(report.json.read_text())["score"] == 0


def test_only_the_newest_reports_are_kept_in_folder_and_workspace(tmp_path):
    times = [NOW + timedelta(hours=hour) for hour in range(3)]
    reports = [write(tmp_path, window(120, at.hour), window(120, 9), at, kept=2)[1] for at in times]
    assert set((tmp_path / "drift").iterdir()) == {p for r in reports[1:] for p in (r.html, r.json)}
    workspace, project = open_project(tmp_path / "evidently")
    timestamps = {
        workspace.get_run(project.id, run).timestamp for run in workspace.list_runs(project.id)
    }
    assert timestamps == {time.replace(tzinfo=None) for time in times[1:]}
