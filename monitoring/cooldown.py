"""What keeps a storm of alarms from starting more than one run."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta


def due(
    events: Iterable[str], emitted: Mapping[str, str], now: datetime, cooldown_hours: int
) -> list[str]:
    """Events that may be emitted: not emitted before, or long enough ago.

    Args:
        events: names.
        emitted: name -> when it was last emitted, ISO 8601.
        now: of the data that alarms: the end of its window. The same data alarms once.
        cooldown_hours: how long an event is kept back.
    """
    since = now - timedelta(hours=cooldown_hours)
    return [
        name
        for name in events
        if name not in emitted or datetime.fromisoformat(emitted[name]) < since
    ]
