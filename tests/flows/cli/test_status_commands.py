"""One screen says what runs and how it does, and what is not known."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from flows.cli.status_commands import champions, last_run, retraining, servers, status
from flows.local.service_probe import ServerProbe
from sensei.app_state import MONITORED, TRIAL
from sensei.events.log import open_log
from sensei.settings import Settings
from sensei.storage.database import upgrade
from training.release.ledger import LedgerEntry

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of its own, no server at any port, a wide terminal."""
    for name in [name for name in os.environ if name.startswith(("SENSEI_", "PREFECT_API"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SENSEI_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("SERVICE", "PREFECT", "MLFLOW", "EVIDENTLY"):
        monkeypatch.setenv(f"SENSEI_{name}_PORT", "9")
    return Settings()


def line(version: str, days: int, by: str, status: str = "done") -> LedgerEntry:
    moment = NOW - timedelta(days=days)
    return LedgerEntry(1, "recommendation", None, version, "b" * 64, status, by, {}, moment, moment)


def test_before_the_first_run_it_says_how_to_begin(home, capsys):
    status()
    output = capsys.readouterr().out
    assert "service 9 off, Prefect 9 off, MLflow 9 off, Evidently 9 off" in output
    assert "none yet: `sensei run`" in output


def test_an_empty_log_is_reported_as_empty(home, capsys):
    upgrade(home.log_url)
    status()
    rows = {row.split("  ")[0]: row for row in capsys.readouterr().out.splitlines()}
    assert "0 interactions" in rows["Log"]
    assert "none yet" in rows["Champions"]
    assert "answers follow the curriculum" in rows["Bundle"]
    assert "no challenger" in rows["Waiting"]
    assert "none yet" in rows["Last run"]
    assert "never ran" in rows["Monitor"]
    assert "none" in rows["Trial"]


def test_what_the_monitor_found_and_the_trial_are_shown(home, capsys):
    upgrade(home.log_url)
    log, now = open_log(home.log_url), datetime.now(UTC)
    findings = {"computed_at": now.isoformat(), "recommendation_acceptance": 0.5, "alarms": ["Oh."]}
    log.set_fact(MONITORED, findings | {"trial": {"said": "Enough: it is better."}})
    log.set_fact(TRIAL, {"bundle": "b", "share": 0.2, "model": "recommendation", "version": "4"})
    log.set_pointer("c" * 64)
    log.close()
    status()
    output = capsys.readouterr().out
    assert "acceptance 50 %" in output
    assert "Oh." in output
    assert "recommendation 4 answers 20 % of learners" in output
    assert "Enough: it is better." in output
    assert "cccccccccccc, NOT in" in output


def test_a_log_that_does_not_answer_is_one_sentence(home, capsys, monkeypatch):
    (home.root / "sensei.db").write_text("a text that is longer than the head of a database")
    status()
    assert "it is not an SQLite file" in capsys.readouterr().out


def test_champions_are_the_newest_of_each_model():
    sentence = champions([line("1", 9, "gate"), line("2", 2, "ann", "pending")], NOW)
    assert sentence == "recommendation 2 since 2026-04-29 12:00 (2 days ago), by ann, PENDING"


def test_another_program_at_a_port_is_not_reported_as_the_server():
    probes = [
        ServerProbe("service", "http://127.0.0.1:8000", "X", "answers", "log: gone"),
        ServerProbe("MLflow", "http://127.0.0.1:5001", "X", "another program"),
    ]
    assert servers(probes) == "service 8000 answers (log: gone), MLflow 5001 another program"


def mlflow_run(home: Settings, start: datetime) -> None:
    engine = create_engine(home.tracking_uri)
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER)",
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT)",
            "CREATE TABLE runs (name TEXT, status TEXT, start_time INTEGER, lifecycle_stage TEXT, "
            "experiment_id INTEGER)",
            "INSERT INTO experiments VALUES (1, 'cyber-sensei')",
            "INSERT INTO runs VALUES ('train 2026-04-30', 'FINISHED', "
            f"{int(start.timestamp() * 1000)}, 'active', 1)",
        ):
            connection.execute(text(statement))
    engine.dispose()


def test_the_last_run_is_the_newest_that_prefect_or_mlflow_knows(home, listening, monkeypatch):
    start = (NOW - timedelta(hours=3)).isoformat()
    run = {"name": "calm-otter", "state_name": "Failed", "start_time": start}
    port = listening({"/api/flow_runs/filter": [run]})
    assert last_run(home, [], NOW) == "none yet"
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    assert last_run(home, [], NOW) == "calm-otter, failed, started 3 h ago (Prefect)"
    mlflow_run(home, NOW - timedelta(hours=2))
    newer_run = "train 2026-04-30, finished, started 2 h ago (MLflow)"
    assert last_run(home, [], NOW) == newer_run
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert last_run(home, [], NOW) == newer_run
    monkeypatch.setenv("SENSEI_MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert last_run(Settings(), [], NOW).startswith("unknown")


def test_retraining_is_due_only_for_what_serves():
    due_fact = {"bundle": "b", "since": "2026-04-30", "reason": "a learner was erased"}
    assert "a learner was erased; `sensei train`" in retraining(due_fact, "b")
    assert retraining(due_fact, "c") == retraining(None, "b") == "not due"
