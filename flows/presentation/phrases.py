"""Phrases for the monitor's findings, A/B tests and elapsed time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sensei.ab_test_state import AbTest

UNITS = (("day", 86_400), ("h", 3_600), ("min", 60))

Monitored = Mapping[str, Any]
"""Value of the fact `MONITORED`."""


def ago(moment: datetime, now: datetime) -> str:
    """Describe the time since a moment: `5 min ago`, `2 days ago`."""
    elapsed = now - moment
    if elapsed < timedelta(0):
        return f"{_length(-elapsed)} in the FUTURE"
    return "just now" if elapsed.total_seconds() < 60 else f"{_length(elapsed)} ago"


def _length(elapsed: timedelta) -> str:
    seconds = elapsed.total_seconds()
    for unit, length in UNITS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{seconds:.0f} s"


def monitored_at(monitored: Monitored | None) -> datetime | None:
    """Return the time of the monitor's last run; None if it never ran."""
    computed_at = (monitored or {}).get("computed_at")
    return datetime.fromisoformat(computed_at) if computed_at else None


def figures_in_words(monitored: Monitored) -> str:
    """Describe acceptance, lift, satisfaction and drift; `unknown` for missing values."""
    acceptance = _percent(monitored.get("recommendation_acceptance"))
    rating = monitored.get("user_satisfaction")
    satisfaction = "unknown" if rating is None else f"{rating:.1f} of 5"
    return (
        f"acceptance {acceptance}, lift over counting {_lift(monitored.get('lift'))}, "
        f"satisfaction {satisfaction}, drift {_drift(monitored)}"
    )


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.0f} %"


def _lift(lift: Mapping[str, Any] | None) -> str:
    if not lift or lift.get("value") is None:
        return "unknown"
    points = f"{100 * lift['value']:+.1f} points"
    if lift.get("low") is None:
        return points
    return f"{points} ({100 * lift['low']:+.1f} to {100 * lift['high']:+.1f})"


def _drift(monitored: Monitored) -> str:
    score, drift = monitored.get("data_drift_score"), monitored.get("drift") or {}
    if drift.get("small"):
        return "not judged, too few learners"
    if score is None:
        return "unknown"
    columns = ", ".join(drift.get("drifted") or [])
    return f"{score:.2f} of 1" + (f" ({columns})" if columns else "")


def trial_in_words(trial: "AbTest", now: datetime) -> str:
    """Describe an A/B test: its version, its share of learners, its opponent, its start."""
    start_text = f", started {ago(datetime.fromisoformat(trial.since), now)}" if trial.since else ""
    return (
        f"{trial.name} answers {100 * trial.share:g} % of learners, against "
        f"{trial.model} {trial.against or 'none'}{start_text}"
    )


def verdict_in_words(monitored: Monitored | None, trial: "AbTest", now: datetime) -> str:
    """Describe the monitor's verdict on an A/B test."""
    moment = monitored_at(monitored)
    if monitored is None or moment is None:
        return "The monitor has not run yet: `sensei monitor`."
    if trial.since and moment < datetime.fromisoformat(trial.since):
        return (
            f"The monitor last ran before the trial started, {ago(moment, now)}: `sensei monitor`."
        )
    verdict = monitored.get("trial") or {}
    return str(verdict.get("said") or "The monitor found nothing to compare yet.")
