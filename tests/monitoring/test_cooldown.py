from datetime import UTC, datetime, timedelta

import pytest

from monitoring.cooldown import due

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours_ago", "expected"), [(None, ["a"]), (0, []), (24, []), (25, ["a"]), (-3, [])]
)
def test_an_event_is_suppressed_during_its_cooldown(hours_ago, expected):
    emitted = {} if hours_ago is None else {"a": (NOW - timedelta(hours=hours_ago)).isoformat()}
    assert due(["a"], emitted, NOW, 24) == expected


def test_each_event_has_a_cooldown_of_its_own():
    assert due(["a", "b"], {"a": NOW.isoformat()}, NOW, 24) == ["b"]


def test_without_a_cooldown_only_later_data_alarms_again():
    assert due(["a"], {"a": NOW.isoformat()}, NOW, 0) == []
    assert due(["a"], {"a": NOW.isoformat()}, NOW + timedelta(seconds=1), 0) == ["a"]
