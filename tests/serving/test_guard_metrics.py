"""Guards in the metrics of the service: the stored verdicts, with ages of the scrape."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sensei.storage.tables import to_microseconds
from serving.guard_metrics import guard_exposition

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = 86_400.0
VERDICTS = {
    "volume": {"fires": True, "value": 0.1, "limit": 0.25},
    "freshness": {"fires": False, "value": 60.0, "limit": 2 * DAY},
    "refused": {"fires": False, "value": 0.01, "limit": 0.05},
    "nightly": {"fires": False, "value": 2 * DAY, "limit": 3 * DAY},
    "monitor": {"fires": False, "value": 3600.0, "limit": 3 * DAY},
}


def scraped(
    computed: datetime, newest: datetime | None, guards: Any = VERDICTS
) -> dict[Any, float]:
    findings = {"computed_at": computed.isoformat(), "guards": guards}
    newest_us = newest and to_microseconds(newest)
    text = guard_exposition(findings, newest_us, to_microseconds(NOW)).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_the_monitor_stored_an_hour_ago_is_shown_with_todays_ages():
    samples = scraped(NOW - timedelta(hours=1), NOW - timedelta(minutes=5))
    assert samples["sensei_volume_share",] == 0.1
    assert samples["sensei_refused_share",] == 0.01
    assert samples["sensei_newest_event_age_seconds",] == 300
    assert samples["sensei_last_good_run_age_seconds", "monitor"] == 3600
    assert samples["sensei_last_good_run_age_seconds", "nightly"] == 2 * DAY + 3600
    fires = {name: samples["sensei_guard_fires", name] for name in VERDICTS}
    assert fires == {"volume": 1, "freshness": 0, "refused": 0, "nightly": 0, "monitor": 0}


def test_ages_fire_without_another_run_of_the_monitor():
    samples = scraped(NOW - timedelta(days=22), NOW - timedelta(days=20))
    assert samples["sensei_last_good_run_age_seconds", "monitor"] == 22 * DAY
    assert [
        samples["sensei_guard_fires", name] for name in ("freshness", "nightly", "monitor")
    ] == [
        1,
        1,
        1,
    ]


def test_guards_without_a_verdict_do_not_fire_and_ages_are_absent_before_the_first_run():
    unknown = {name: {"fires": False, "value": None, "limit": None} for name in VERDICTS}
    samples = scraped(NOW, NOW - timedelta(days=400), unknown)
    assert {samples["sensei_guard_fires", name] for name in VERDICTS} == {0}
    assert ("sensei_volume_share",) not in samples
    assert ("sensei_last_good_run_age_seconds", "nightly") not in samples
    assert b"sensei_guard_fires{" not in guard_exposition({}, None, 0)
