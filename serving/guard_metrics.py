"""Metrics of the guards: the monitor's verdicts, with ages computed at the scrape.

They are the same for all workers, so they are not part of the metrics that are added up.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

_SHARES = (
    (
        "volume",
        "sensei_volume_share",
        "Events of the last days over those usual for their weekdays",
    ),
    ("refused", "sensei_refused_share", "Refused rows over all rows of the last days of arrivals"),
)


def guard_exposition(monitored: Mapping[str, Any], newest_us: int | None, now_us: int) -> bytes:
    """Return the metrics of the guards in the Prometheus exposition format.

    Args:
        monitored: value of the fact `MONITORED`; empty before the monitor's first run.
        newest_us: time of the newest event, microseconds since 1970; None for an empty log.
        now_us: current time, microseconds since 1970.
    """
    registry = CollectorRegistry()
    guards: Mapping[str, Mapping[str, Any]] = monitored.get("guards") or {}
    for guard, name, help_text in _SHARES:
        if (value := guards.get(guard, {}).get("value")) is not None:
            Gauge(name, help_text, registry=registry).set(value)
    ages = dict(_ages(monitored, guards, newest_us, now_us))
    if "freshness" in ages:
        Gauge("sensei_newest_event_age_seconds", "Age of the newest event", registry=registry).set(
            ages["freshness"]
        )
    runs = Gauge(
        "sensei_last_good_run_age_seconds",
        "Time since the last good run of a deployment",
        ("deployment",),
        registry=registry,
    )
    for deployment in ("nightly", "monitor"):
        if deployment in ages:
            runs.labels(deployment).set(ages[deployment])
    fires = Gauge("sensei_guard_fires", "1 if a person must act", ("guard",), registry=registry)
    for guard, verdict in guards.items():
        limit = verdict.get("limit")
        fires.labels(guard).set(
            limit is not None and ages[guard] > limit if guard in ages else verdict["fires"]
        )
    return generate_latest(registry)


def _ages(
    monitored: Mapping[str, Any],
    guards: Mapping[str, Mapping[str, Any]],
    newest_us: int | None,
    now_us: int,
) -> Iterator[tuple[str, float]]:
    """Yield guards that judge an age, with that age now in seconds."""
    if newest_us is not None:
        yield "freshness", (now_us - newest_us) / 1e6
    if monitored.get("computed_at"):
        since = now_us / 1e6 - datetime.fromisoformat(monitored["computed_at"]).timestamp()
        yield "monitor", since
        if (age := guards.get("nightly", {}).get("value")) is not None:
            yield "nightly", age + since
