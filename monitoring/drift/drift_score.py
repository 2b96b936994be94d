"""Drift score of learners' behaviour between two windows; pure and fast.

`monitoring.drift.report` shows the same figures to people. The score is the share of compared
columns that drifted, in [0, 1]. A column drifts if the Jensen-Shannon distance between its two
distributions exceeds a threshold of two parts: the distance that matters, and the distance that
two samples of this size show by chance. So a small window alone raises no alarm, and below
`FEWEST_ROWS` no column counts as drifted.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

METHOD = "jensenshannon"
"""Distance; named because Evidently's default depends on the number of rows."""

DISTANCE = 0.1
"""Distance (natural logarithm, at most sqrt(ln 2) = 0.83) that matters in large windows."""

FEWEST_ROWS = 100
"""Minimum number of values; smaller windows and columns are reported but raise no alarm."""

MOST_ROWS = 10_000
"""Larger windows are sampled with a fixed seed; more rows hardly change the distances."""

UNREACHABLE = 1.0
"""Threshold above every distance, used for small columns."""

FEW_VALUES = 20
"""Numeric columns with at most 20 distinct values are compared by value (Evidently's rule)."""

IDS = ("event_id", "user_id", "interaction_id", "row")
"""Columns that identify learners or rows; they never enter a report."""


@dataclass(frozen=True)
class ColumnDrift:
    """Drift of one column.

    Attributes:
        method: `jensenshannon`, or the reason why the column was not compared.
        value: distance in [0, 0.83]; None if not compared.
        threshold: distance at which the column counts as drifted; None if not compared.
        drifted: True if the column drifted; never in a small window.
    """

    method: str
    value: float | None
    threshold: float | None
    drifted: bool


@dataclass(frozen=True)
class Drift:
    """Comparison of two windows.

    Attributes:
        score: share of compared columns that drifted, in [0, 1]; 0 for small windows.
        columns: result per column, ids left out.
        n_current: rows of the current window.
        n_reference: rows of the reference.
        small: True if a window has fewer than `FEWEST_ROWS` rows, so that no alarm is possible.
    """

    score: float
    columns: dict[str, ColumnDrift]
    n_current: int
    n_reference: int
    small: bool

    @property
    def drifted(self) -> list[str]:
        """Names of the columns that drifted, largest distance first."""
        values = {n: c.value for n, c in self.columns.items() if c.drifted and c.value is not None}
        return sorted(values, key=lambda name: -values[name])

    @property
    def compared(self) -> list[str]:
        """Names of the compared columns."""
        return [name for name, column in self.columns.items() if column.value is not None]


def measure_drift(current: pd.DataFrame, reference: pd.DataFrame) -> Drift:
    """Compare two windows column by column.

    Args:
        current: the newer window, one row per learner or example. Float columns are compared as
            numbers, all others as categories. Not modified.
        reference: the window to compare with, with the same columns.
    """
    names = [c for c in current.columns.union(reference.columns, sort=False) if c not in IDS]
    small = min(len(current), len(reference)) < FEWEST_ROWS
    columns, comparable_names = {}, []
    for name in names:
        if why := _unfit(name, current, reference):
            columns[name] = ColumnDrift(why, None, None, False)
        else:
            comparable_names.append(name)
    current_columns, reference_columns = (
        comparable(current, comparable_names),
        comparable(reference, comparable_names),
    )
    for name in comparable_names:
        current_values, reference_values = (
            current_columns[name].dropna(),
            reference_columns[name].dropna(),
        )
        few = min(len(current_values), len(reference_values)) < FEWEST_ROWS
        limit = UNREACHABLE if few else _threshold(current_values, reference_values)
        distance = _distance(current_values, reference_values)
        columns[name] = ColumnDrift(METHOD, distance, limit, distance >= limit)
    score = sum(column.drifted for column in columns.values()) / max(len(comparable_names), 1)
    return Drift(score, columns, len(current), len(reference), small)


def _unfit(name: str, current: pd.DataFrame, reference: pd.DataFrame) -> str:
    """Give the reason why a column cannot be compared; empty if it can."""
    for window, frame in (("current", current), ("reference", reference)):
        if name not in frame:
            return f"absent in the {window} window"
        if not _valid(frame[name]).any():
            return f"empty in the {window} window"
    if _is_number(current[name]) != _is_number(reference[name]):
        return "a number in one window, a category in the other"
    return ""


def _valid(values: "pd.Series[Any]") -> "pd.Series[bool]":
    """Mark the values that are neither null nor infinite."""
    return values.notna() & ~values.isin([np.inf, -np.inf])


def _is_number(values: "pd.Series[Any]") -> bool:
    """Tell if a column is compared as numbers; whole numbers are codes."""
    return pd.api.types.is_float_dtype(values)


def comparable(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Select the columns to compare, at most `MOST_ROWS` rows, categories as text.

    Every column is shuffled on its own, so that no row belongs to a learner.
    """
    sample = frame[list(names)].sample(min(len(frame), MOST_ROWS), random_state=0)
    return unlinked(
        pd.DataFrame(
            {
                name: values.astype(float).where(_valid(values))
                if _is_number(values)
                else values.astype(object).where(values.notna(), "absent").astype(str)
                for name, values in sample.items()
            }
        )
    )


def unlinked(frame: pd.DataFrame) -> pd.DataFrame:
    """Shuffle every column on its own: distributions stay, rows belong to no learner."""
    rng = np.random.default_rng()
    return pd.DataFrame(
        {name: values.take(rng.permutation(len(frame))).array for name, values in frame.items()}
    )


def _threshold(current: "pd.Series[Any]", reference: "pd.Series[Any]") -> float:
    """Compute the distance at which a column counts as drifted.

    For two samples of one distribution over k cells the Jensen-Shannon divergence is about
    (k - 1) (1/n + 1/m) / 8 on average (half of G / 4N for the pooled chi-square of k - 1 degrees
    of freedom). The square root of its value three standard deviations up is what chance
    explains; the distance that matters is added in squares.

    Source: Menendez et al. 1997, The Jensen-Shannon divergence, J. Franklin Institute 334(2).
    """
    n, m = len(current), len(reference)
    cells = len(set(reference.unique()) | set(current.unique()))
    if _is_number(reference) and reference.nunique() > FEW_VALUES:
        cells = int(np.log2(n + m)) + 2  # Sturges' rule, as Evidently bins numbers
    freedom = max(cells - 1, 1)
    chance = (freedom + 3 * np.sqrt(2 * freedom)) * (1 / n + 1 / m) / 8
    return float(np.sqrt(DISTANCE**2 + chance))


def _distance(current: "pd.Series[Any]", reference: "pd.Series[Any]") -> float:
    """Compute the Jensen-Shannon distance with Evidently's own function, without a report."""
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently.legacy.calculations.stattests import jensenshannon_stat_test
    from evidently.legacy.core import ColumnType

    kind = ColumnType.Numerical if _is_number(reference) else ColumnType.Categorical
    result = jensenshannon_stat_test(reference, current, kind, UNREACHABLE)
    return float(np.nan_to_num(result.drift_score))  # equal samples give the root of -1e-17
