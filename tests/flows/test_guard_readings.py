"""Guards on a real log: in the monitor's tasks, `sensei doctor`, `sensei status` and /metrics."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import insert, text
from starlette.testclient import TestClient

from flows.cli import doctor, status_commands
from flows.tasks import monitor_tasks
from flows.tasks.guard_readings import judge_guards
from flows.tasks.monitor_tasks import MonitorFindings
from flows.tasks.report_tasks import DriftComparison
from monitoring.alarms import DRIFT, TRAINING
from monitoring.drift.report import DriftReport
from monitoring.monitor import ModelMonitor
from monitoring.skew import Skew
from sensei.app_state import DEMO, MONITORED
from sensei.events.log import Log, open_log
from sensei.settings import Settings
from sensei.storage.database import upgrade, write_transaction
from sensei.storage.tables import Promotion, to_microseconds
from serving.app import application
from serving.storage.learner_data import LearnerData

DAILY, DAYS = 200, 63
ROOT = Path(__file__).parents[2]


def live(now: datetime, last_week: float, days_ago: int = 0) -> list[dict[str, Any]]:
    """Nine weeks of daily events, then one event a minute ago.

    Args:
        now: end of the world.
        last_week: share of the usual volume in the last week, whose scores are low if below 1.
        ended: days before now on which the feed ended.
    """
    rng, midnight = np.random.default_rng(0), now.replace(hour=0, minute=0, second=0, microsecond=0)
    events = []
    for ago in range(DAYS, days_ago, -1):
        is_odd = last_week < 1 and ago <= 7
        count = round(DAILY * last_week) if ago <= 7 else DAILY
        for n in range(count):
            events.append(
                {
                    "event_id": f"{ago}-{n}",
                    "user_id": f"learner {(ago * count + n) % DAILY}",
                    "interaction_type": "quiz_complete",
                    "topic_id": 1 + n % 5,
                    "score": float(rng.uniform(0, 0.3) if is_odd else rng.uniform(0.6, 1)),
                    "timestamp": midnight - timedelta(days=ago) + timedelta(minutes=n),
                }
            )
    newest = now - timedelta(days=days_ago, minutes=1)
    return [*events, events[-1] | {"event_id": "newest", "timestamp": newest}]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def opened(settings: Settings) -> Iterator[Log]:
    upgrade(settings.log_url)
    log = open_log(settings.log_url)
    yield log
    log.close()


def conclude(settings: Settings, log: Log, now: datetime) -> MonitorFindings:
    """Run the monitor's tasks on the drift that the log really has."""
    with disable_run_logger():
        drift = ModelMonitor(log, lambda: to_microseconds(now)).calculate_drift()
        answers = monitor_tasks.read_answers.fn(settings, now)
        compared = DriftComparison(drift, "the days before", DriftReport(None, Path("drift.json")))
        verdicts = monitor_tasks.judge.fn(settings, None)
        return monitor_tasks.conclude.fn(
            settings, answers, compared, Skew(0, 0), None, now, verdicts
        )


def test_drift_of_a_feed_at_a_tenth_starts_no_training_and_the_volume_is_the_alarm(
    settings, opened
):
    now = datetime.now(UTC)
    opened.append(live(now, last_week=0.1))
    concluded = conclude(settings, opened, now)
    assert concluded.findings["data_drift_score"] >= settings.drift_alarm
    assert [alarm.event for alarm in concluded.alarms] == ["sensei.volume.low"]
    assert TRAINING.isdisjoint(alarm.event for alarm in concluded.alarms)
    (held_back,) = concluded.findings["held_back"]
    assert held_back.startswith("Drift")
    assert "10% of the 600 usual" in concluded.findings["guards"]["volume"]["sentence"]


def test_the_same_drift_of_a_feed_at_its_usual_volume_still_starts_one(settings, opened):
    now = datetime.now(UTC)
    opened.append(live(now, last_week=0.99))
    concluded = conclude(settings, opened, now)
    assert [alarm.event for alarm in concluded.alarms] == [DRIFT]
    assert concluded.findings["held_back"] == []


def firing(settings: Settings, log: Log, now: datetime) -> set[str]:
    return {verdict.guard for verdict in judge_guards(settings, log, now) if verdict.fires}


def test_a_usual_log_fires_no_guard_and_one_without_events_since_is_stale(settings, opened):
    now = datetime.now(UTC)
    assert firing(settings, opened, now) == set(), "an empty log"
    opened.append(live(now, last_week=1))
    assert firing(settings, opened, now) == set()
    assert firing(settings, opened, now + timedelta(days=1.9)) == set()
    assert firing(settings, opened, now + timedelta(days=10)) == {"freshness"}
    opened.set_fact(DEMO, value=True)
    assert firing(settings, opened, now + timedelta(days=10)) == set(), "simulated learners"


def test_the_past_is_judged_as_of_its_end(settings, opened):
    now = datetime.now(UTC)
    opened.append(live(now, last_week=1, days_ago=20))
    verdicts = judge_guards(settings, opened, now, now - timedelta(days=20))
    assert not any(verdict.fires for verdict in verdicts)
    assert firing(settings, opened, now) == {"freshness"}


def promoted(log: Log, moment: datetime) -> None:
    row = {
        "model": "recommendation", "from_version": None, "to_version": "7", "bundle": "b" * 64,
        "status": "done", "decided_by": "gate", "reason": {}, "created_at": moment,
        "finished_at": moment,
    }  # fmt: skip
    with write_transaction(log.engine) as connection:
        connection.execute(insert(Promotion).values(row))


def trained(settings: Settings, moment: datetime, state: str = "FINISHED") -> None:
    """Create what MLflow's database tells of a run; a later failed run changes nothing."""
    from sqlalchemy import create_engine

    from training.tracking.mlflow_status import newest_migration

    engine = create_engine(settings.tracking_uri)
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER)",
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT)",
            "CREATE TABLE runs (name TEXT, status TEXT, start_time INTEGER, lifecycle_stage TEXT, "
            "experiment_id INTEGER)",
            "CREATE TABLE alembic_version (version_num TEXT)",
            f"INSERT INTO alembic_version VALUES ('{newest_migration()}')",
            "INSERT INTO experiments VALUES (1, 'cyber-sensei')",
            f"INSERT INTO runs VALUES ('a', '{state}', {to_microseconds(moment) // 1000}, "
            "'active', 1)",
            f"INSERT INTO runs VALUES ('b', 'FAILED', {to_microseconds(datetime.now(UTC)) // 1000},"
            " 'active', 1)",
        ):
            connection.execute(text(statement))
    engine.dispose()


def test_a_monitor_22_days_old_and_a_training_35_days_old_are_faults_of_doctor(settings, opened):
    now = datetime.now(UTC)
    promoted(opened, now - timedelta(days=40))
    trained(settings, now - timedelta(days=35))
    opened.set_fact(MONITORED, {"computed_at": (now - timedelta(days=22)).isoformat()})
    faults = {
        finding.name: finding for finding in doctor.guards(opened, settings, now) if finding.fix
    }
    assert set(faults) == {"nightly", "monitor"}
    assert "35 days ago" in faults["nightly"].said
    assert "22 days ago" in faults["monitor"].said
    assert "`sensei monitor`" in faults["monitor"].fix
    sentence = status_commands.guards(settings, opened, now)
    assert "22 days ago, expected at most 3 days - ALARM" in sentence
    alarms = conclude(settings, opened, now).alarms
    assert {alarm.event for alarm in alarms} == {"sensei.run.overdue"}


def test_runs_of_today_are_no_fault_and_a_monitor_that_never_ran_is_one_after_days(
    settings, opened
):
    now = datetime.now(UTC)
    trained(settings, now - timedelta(hours=9))
    opened.set_fact(MONITORED, {"computed_at": (now - timedelta(hours=1)).isoformat()})
    assert firing(settings, opened, now) == set()
    opened.set_fact(MONITORED, None)
    promoted(opened, now - timedelta(days=1))
    assert firing(settings, opened, now) == set()
    assert firing(settings, opened, now + timedelta(days=2.5)) == {"monitor"}


def scrape(settings: Settings) -> str:
    """Read /metrics of a service on the log."""
    app = application()
    records = LearnerData(lambda: open_log(settings.log_url), ())
    app.state.worker = SimpleNamespace(records=records)
    try:
        answer = TestClient(app).get("/metrics")
    finally:
        records.close()
    assert answer.status_code == 200
    return answer.text


def test_the_service_exports_the_guards_without_reading_the_log_as_a_whole(settings, opened):
    now = datetime.now(UTC)
    assert "sensei_guard_fires{" not in scrape(settings), "before the first run"
    opened.append(live(now, last_week=0.1))
    opened.set_fact(MONITORED, conclude(settings, opened, now).findings)
    lines = scrape(settings).splitlines()
    assert 'sensei_guard_fires{guard="volume"} 1.0' in lines
    assert 'sensei_guard_fires{guard="freshness"} 0.0' in lines
    assert 'sensei_guard_fires{guard="monitor"} 0.0' in lines
    assert "sensei_volume_share 0.1" in lines
    assert any(line.startswith("sensei_newest_event_age_seconds 6") for line in lines)
    assert any(
        line.startswith('sensei_last_good_run_age_seconds{deployment="monitor"}') for line in lines
    )
    plans = [
        row.detail
        for query in (
            "SELECT value FROM facts WHERE name = 'monitored'",
            "SELECT MAX(timestamp) FROM user_interactions WHERE timestamp < 9",
        )
        for row in _plan(opened, query)
    ]
    assert not [plan for plan in plans if plan.startswith("SCAN")], plans


def _plan(log: Log, query: str) -> list[Any]:
    with log.engine.connect() as connection:
        return list(connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))


def test_a_scrape_during_an_outage_shows_what_was_read_last(settings, opened, monkeypatch):
    records = LearnerData(lambda: open_log(settings.log_url), ())
    opened.set_fact(MONITORED, {"computed_at": "2026-03-01T00:00:00+00:00"})
    first = asyncio.run(records.guard_state())

    def fail(*_: Any) -> Any:
        from sensei.errors import StorageUnavailable

        raise StorageUnavailable("database: down")

    monkeypatch.setattr(Log, "get_fact", fail)
    assert asyncio.run(records.guard_state()) == first
    assert first[0]["computed_at"].startswith("2026-03-01")
    records.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_monitor_reports_a_feed_at_a_tenth_and_doctor_ends_with_1(settings, opened):
    opened.append(live(datetime.now(UTC), last_week=0.1))

    def sensei(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("sensei")), *arguments],
            env={"SENSEI_HOME": str(settings.home), "COLUMNS": "200", "PATH": "/usr/bin:/bin"},
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    monitored = sensei("monitor")
    assert monitored.returncode == 0, monitored.stdout + monitored.stderr
    assert "alarm: Volume:" in monitored.stdout
    assert "no reason to train while events are missing: Drift" in monitored.stdout
    findings = opened.get_fact(MONITORED)
    assert findings["guards"]["volume"]["fires"]
    assert len(findings["alarms"]) == 1
    completed = sensei("doctor")
    assert completed.returncode == 1
    assert "WRONG  volume:" in completed.stdout
    assert "ALARM" in sensei("status").stdout
