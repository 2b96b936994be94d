"""How far learners' behaviour moved between two windows, in one number; pure and fast.

`monitoring.drift_report` shows the same figures to people. The score is the share of compared
columns that drifted, in [0, 1]. A column drifts when the Jensen-Shannon distance between its two
distributions exceeds a threshold made of two parts: the distance that matters, and the distance
that two samples of this size show by chance alone. So small windows are no alarm for being small,
and below `FEWEST_ROWS` nothing is called drifted.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

METHOD = "jensenshannon"
"""Named, because Evidently's own choice changes with the number of rows."""

DISTANCE = 0.1
"""Distance (natural logarithm, at most sqrt(ln 2) = 0.83) that matters in large windows."""

FEWEST_ROWS = 100
"""Windows and columns with fewer known values are small: reported, never alarming."""

MOST_ROWS = 10_000
"""Larger windows are sampled, with a fixed seed: the distances are known well enough by then."""

NEVER = 1.0
"""A threshold that no distance reaches: what is small is reported with it."""

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
        n_current: rows of the current window.
        n_reference: rows of the reference.
        small: whether a window has fewer than `FEWEST_ROWS` rows, so that nothing can alarm.
    """

    score: float
    columns: dict[str, ColumnDrift]
    n_current: int
    n_reference: int
    small: bool

    @property
    def drifted(self) -> list[str]:
        """Names of the columns that drifted, the furthest first."""
        found = {n: c.value for n, c in self.columns.items() if c.drifted and c.value is not None}
        return sorted(found, key=lambda name: -found[name])

    @property
    def compared(self) -> list[str]:
        """Names of the columns that could be compared."""
        return [name for name, column in self.columns.items() if column.value is not None]


def measure_drift(current: pd.DataFrame, reference: pd.DataFrame) -> Drift:
    """Compare two windows column by column.

    Args:
        current: the newer window, one row per learner or example. Float columns are compared as
            numbers, all others as categories. Never changed.
        reference: what it is compared with, with the same columns.

    Returns:
        Score and columns.
    """
    names = [c for c in current.columns.union(reference.columns, sort=False) if c not in IDS]
    small = min(len(current), len(reference)) < FEWEST_ROWS
    columns, fit = {}, []
    for name in names:
        if why := _unfit(name, current, reference):
            columns[name] = ColumnDrift(why, None, None, False)
        else:
            fit.append(name)
    now, before = comparable(current, fit), comparable(reference, fit)
    for name in fit:
        one, other = now[name].dropna(), before[name].dropna()
        few = min(len(one), len(other)) < FEWEST_ROWS
        limit = NEVER if few else _threshold(one, other)
        distance = _distance(one, other)
        columns[name] = ColumnDrift(METHOD, distance, limit, distance >= limit)
    score = sum(column.drifted for column in columns.values()) / max(len(fit), 1)
    return Drift(score, columns, len(current), len(reference), small)


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


def comparable(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Take the columns to compare, at most `MOST_ROWS` rows, categories as text.

    Every column is in an order of its own: what is drawn or kept of the rows is nobody's.
    """
    taken = frame[list(names)].sample(min(len(frame), MOST_ROWS), random_state=0)
    return unlinked(
        pd.DataFrame(
            {
                name: values.astype(float).where(_known(values))
                if _is_number(values)
                else values.astype(object).where(values.notna(), "absent").astype(str)
                for name, values in taken.items()
            }
        )
    )


def unlinked(frame: pd.DataFrame) -> pd.DataFrame:
    """Every column in a random order of its own: each distribution stays, no row is a learner's."""
    rng = np.random.default_rng()
    return pd.DataFrame(
        {name: values.take(rng.permutation(len(frame))).array for name, values in frame.items()}
    )


def _threshold(current: "pd.Series[Any]", reference: "pd.Series[Any]") -> float:
    """Distance from which a column counts as drifted.

    For two samples of one distribution over k cells the Jensen-Shannon divergence is about
    (k - 1) (1/n + 1/m) / 8 on average (half of G / 4N for the pooled chi-square of k - 1 degrees
    of freedom); its square root, three standard deviations up, is what chance explains. The
    distance that matters is added in squares.

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
    """Jensen-Shannon distance as Evidently computes it, without the report around it."""
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently.legacy.calculations.stattests import jensenshannon_stat_test
    from evidently.legacy.core import ColumnType

    kind = ColumnType.Numerical if _is_number(reference) else ColumnType.Categorical
    found = jensenshannon_stat_test(reference, current, kind, NEVER)
    return float(np.nan_to_num(found.drift_score))  # the root of -1e-17 where nothing differs
