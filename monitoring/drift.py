"""How far learners' behaviour moved between two windows: Evidently's report and one number.

The score is the share of compared columns that drifted, in [0, 1]. A column drifts when the
Jensen-Shannon distance between its two distributions exceeds a threshold made of two parts: the
distance that matters, and the distance that two samples of this size show by chance alone. So
small windows are no alarm for being small, and below `FEWEST_ROWS` nothing is called drifted.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

METHOD = "jensenshannon"
"""Named, because Evidently's own choice changes with the number of rows."""

DISTANCE = 0.1
"""Distance (natural logarithm, at most sqrt(ln 2) = 0.83) that matters in large windows."""

FEWEST_ROWS = 100
"""Windows with fewer rows are small: reported, never alarming."""

MOST_ROWS = 10_000
"""Larger windows are sampled, with a fixed seed: the distances are known well enough by then."""

NEVER = 1.0
"""A threshold that no distance reaches: small windows are reported with it."""

FEW_VALUES = 20
"""A numeric column with at most so many values is compared value by value (Evidently's rule)."""

IDS = ("event_id", "user_id", "interaction_id", "row")
"""Columns that name learners or rows; they never enter a report."""


@dataclass(frozen=True)
class ColumnDrift:
    """What became of one column.

    Attributes:
        method: `jensenshannon`, or why the column was not compared.
        value: distance in [0, 0.83]; None where not compared.
        threshold: distance from which the column counts as drifted; None where not compared.
        drifted: whether it does; never in a small window.
    """

    method: str
    value: float | None
    threshold: float | None
    drifted: bool


@dataclass(frozen=True)
class Drift:
    """The outcome of comparing two windows.

    Attributes:
        score: share of compared columns that drifted, in [0, 1]; 0 for small windows.
        columns: outcome of every column given, ids left out.
        html: Evidently's page, readable offline; None where nothing could be compared.
        json: the same figures for programs.
        n_current: rows of the current window.
        n_reference: rows of the window before.
        small: whether a window has fewer than `FEWEST_ROWS` rows, so that nothing can alarm.
    """

    score: float
    columns: dict[str, ColumnDrift]
    html: Path | None
    json: Path
    n_current: int
    n_reference: int
    small: bool


def drift_report(
    current: pd.DataFrame, reference: pd.DataFrame, folder: Path, kept: int = 20
) -> Drift:
    """Compare two windows column by column and write Evidently's report.

    Args:
        current: the newer window, one row per learner or example. Float columns are compared as
            numbers, all others as categories. Never changed.
        reference: the window before, with the same columns.
        folder: where `drift-<moment>.html` and `.json` go; made where absent.
        kept: reports that remain, the new one included.

    Returns:
        Score, columns and files.
    """
    names = [c for c in current.columns.union(reference.columns, sort=False) if c not in IDS]
    unfit = {name: why for name in names if (why := _unfit(name, current, reference))}
    fit = [name for name in names if name not in unfit]
    small = min(len(current), len(reference)) < FEWEST_ROWS
    now, before = _window(current, fit), _window(reference, fit)
    thresholds = {name: NEVER if small else _threshold(now[name], before[name]) for name in fit}
    snapshot = _compare(now, before, thresholds) if fit else None
    columns = {name: ColumnDrift(why, None, None, False) for name, why in unfit.items()}
    for name, distance in _distances(snapshot).items():
        limit = thresholds[name]
        columns[name] = ColumnDrift(METHOD, distance, limit, distance >= limit)
    score = sum(column.drifted for column in columns.values()) / max(len(fit), 1)
    stem = _stem(folder)
    html = stem.with_suffix(".html") if snapshot else None
    drift = Drift(
        score, columns, html, stem.with_suffix(".json"), len(current), len(reference), small
    )
    if snapshot and html:
        snapshot.save_html(str(html))
        _head(html, drift)
    drift.json.write_text(json.dumps(asdict(drift), default=str, indent=1), "utf-8")
    _keep(folder, kept)
    return drift


def _head(page: Path, drift: Drift) -> None:
    """Put the score and the sizes of the windows on top of Evidently's page."""
    small = f" Fewer than {FEWEST_ROWS} rows: nothing is called drifted." if drift.small else ""
    said = (
        '<p style="font:16px/1.5 sans-serif;margin:1rem 2rem"><b>Drift score '
        f"{drift.score:.2f} of 1</b>: the share of compared columns that moved further than "
        f"matters and than chance explains. {drift.n_current:,} rows now, "
        f"{drift.n_reference:,} in the window before.{small}</p>"
    )
    text = page.read_text("utf-8")
    page.write_text(text.replace("<body>", f"<body>{said}", 1), "utf-8")


def _unfit(name: str, current: pd.DataFrame, reference: pd.DataFrame) -> str:
    """Say why a column cannot be compared; empty where it can."""
    for which, frame in (("current", current), ("reference", reference)):
        if name not in frame:
            return f"absent in the {which} window"
        if not _known(frame[name]).any():
            return f"empty in the {which} window"
    if _is_number(current[name]) != _is_number(reference[name]):
        return "a number in one window, a category in the other"
    return ""


def _known(values: "pd.Series[Any]") -> "pd.Series[bool]":
    """Mark the values that say something: neither null nor infinite."""
    return values.notna() & ~values.isin([np.inf, -np.inf])


def _is_number(values: "pd.Series[Any]") -> bool:
    """Whether a column is compared as numbers; whole numbers are codes."""
    return pd.api.types.is_float_dtype(values)


def _window(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Take the columns to compare, at most `MOST_ROWS` rows, categories as text."""
    # Always in another order: Evidently draws values by position, and no point may be somebody.
    taken = frame[list(names)].sample(min(len(frame), MOST_ROWS), random_state=0)
    return pd.DataFrame(
        {
            name: values.astype(float).where(_known(values))
            if _is_number(values)
            else values.astype(object).where(values.notna(), "absent").astype(str)
            for name, values in taken.items()
        }
    )


def _threshold(current: "pd.Series[Any]", reference: "pd.Series[Any]") -> float:
    """Distance from which a column counts as drifted.

    For two samples of one distribution over k cells the Jensen-Shannon divergence is about
    (k - 1) (1/n + 1/m) / 8 on average (half of G / 4N for the pooled chi-square of k - 1 degrees
    of freedom); its square root, three standard deviations up, is what chance explains. The
    distance that matters is added in squares.

    Source: Menendez et al. 1997, The Jensen-Shannon divergence, J. Franklin Institute 334(2).
    """
    n, m = current.count(), reference.count()
    cells = len(set(reference.dropna().unique()) | set(current.dropna().unique()))
    if _is_number(reference) and reference.nunique() > FEW_VALUES:
        cells = int(np.log2(n + m)) + 2  # Sturges' rule, as Evidently bins numbers
    freedom = max(cells - 1, 1)
    chance = (freedom + 3 * np.sqrt(2 * freedom)) * (1 / n + 1 / m) / 8
    return float(np.sqrt(DISTANCE**2 + chance))


def _compare(current: pd.DataFrame, reference: pd.DataFrame, thresholds: dict[str, float]) -> Any:
    """Run Evidently, the method and threshold of every column named."""
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    numbers = [name for name in thresholds if _is_number(reference[name])]
    definition = DataDefinition(
        numerical_columns=numbers,
        categorical_columns=[name for name in thresholds if name not in numbers],
    )
    metrics = [
        ValueDrift(column=name, method=METHOD, threshold=limit)
        for name, limit in thresholds.items()
    ]
    now, before = (Dataset.from_pandas(frame, definition) for frame in (current, reference))
    return Report(metrics, include_tests=True).run(now, before)


def _distances(snapshot: Any) -> dict[str, float]:
    """Read each column's distance from Evidently's result; none without a result."""
    metrics = snapshot.dict()["metrics"] if snapshot else []
    return {metric["config"]["column"]: float(metric["value"]) for metric in metrics}


def _stem(folder: Path) -> Path:
    """Name a new report by the moment it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"drift-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def _keep(folder: Path, kept: int) -> None:
    """Remove all but the newest `kept` reports."""
    for suffix in ("html", "json"):
        for old in sorted(folder.glob(f"drift-*.{suffix}"), reverse=True)[kept:]:
            old.unlink()
