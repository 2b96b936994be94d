"""The monitor: the figures of a stretch of time, as they are stored and shown."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from monitoring.measures import by_day, lift, summarise
from sensei.tables import to_datetime

SHOWN = (
    "accuracy",
    "recommendation_acceptance",
    "user_satisfaction",
    "hit_rate_at_k",
    "log_loss",
    "calibration_error",
    "catalogue_coverage",
    "fallback_share",
)
"""Figures that stand for themselves in what is stored; all stand under `figures`."""


def figures(outcomes: pd.DataFrame, start_us: int, end_us: int, seed: int) -> dict[str, Any]:
    """What the outcomes of a window say, fit for JSON; drift, skew and alarms are not of it.

    Args:
        outcomes: of `monitoring.outcomes.read_outcomes` for the window.
        start_us: microseconds since 1970.
        end_us: the same, not included.
        seed: seed of the resampling.

    Returns:
        `window`; each of `SHOWN` as a number or None; `figures` with counts and intervals, see
        `monitoring.measures.summarise`; `lift` over the control arm or None; `measures`, a row
        for each version, arm and day.
    """
    found = summarise(outcomes, seed)
    gained = lift(outcomes, seed)
    return {
        "window": {"start": _iso(start_us), "end": _iso(end_us)},
        **{name: found[name]["value"] for name in SHOWN},
        "figures": found,
        "lift": gained and asdict(gained),
        "measures": by_day(outcomes, seed),
    }


def _iso(moment_us: int) -> str:
    return to_datetime(moment_us).isoformat()
