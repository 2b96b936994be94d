"""Cooldown of alarms: a burst of alarms starts one run."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta


def due(
    events: Iterable[str], emitted: Mapping[str, str], now: datetime, cooldown_hours: int
) -> list[str]:
    """Select the events that may be emitted: never emitted, or not within the cooldown.

    Args:
        events: names of events.
        emitted: name -> time of the last emission, ISO 8601.
        now: end of the window that raised the alarm, so that the same data raises one alarm.
        cooldown_hours: hours between two emissions of one event.
    """
    since = now - timedelta(hours=cooldown_hours)
    return [
        name
        for name in events
        if name not in emitted or datetime.fromisoformat(emitted[name]) < since
    ]
