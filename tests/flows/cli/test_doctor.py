"""Each planted fault is found and named, together with its fix."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, text

from flows.cli import doctor as checkup
from flows.local.service_probe import ServerProbe
from sensei import curriculum
from sensei.access import key_store
from sensei.app_state import TRIAL
from sensei.events.log import Log, open_log
from sensei.privacy.erasure import erase
from sensei.privacy.reapply import reapply
from sensei.private_files import make_private
from sensei.settings import Settings
from sensei.storage.database import upgrade, write_transaction
from sensei.storage.tables import Promotion
from training.tracking.mlflow_status import newest_migration

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PROMOTED: dict[str, Any] = {
    "model": "recommendation",
    "from_version": None,
    "to_version": "7",
    "status": "done",
    "decided_by": "gate",
    "reason": {},
    "created_at": NOW,
    "finished_at": NOW,
}


def mlflow_store(folder: Path, version: str = "7", migration: str = "") -> str:
    """Create an MLflow database with a champion and the versions of its schema; return its URI."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    engine = create_engine(uri)
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER)",
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT)",
            "CREATE TABLE runs (name TEXT, status TEXT, start_time INTEGER, lifecycle_stage TEXT, "
            "experiment_id INTEGER)",
            "CREATE TABLE alembic_version (version_num TEXT)",
            f"INSERT INTO alembic_version VALUES ('{migration or newest_migration()}')",
            f"INSERT INTO registered_model_aliases VALUES "
            f"('recommendation', 'champion', {version})",
        ):
            connection.execute(text(statement))
    engine.dispose()
    return uri


def promoted(log: Log, bundle: str, **values: Any) -> None:
    with write_transaction(log.engine) as connection:
        connection.execute(insert(Promotion).values(PROMOTED | {"bundle": bundle} | values))
    log.set_pointer(bundle)


def test_an_installation_without_a_fault_is_well(tmp_path, planted_bundle, monkeypatch):
    settings = Settings(home=tmp_path)
    upgrade(settings.log_url)
    log = open_log(settings.log_url)
    curriculum.store(log.engine, curriculum.load_file(None))
    shutil.copytree(planted_bundle, settings.bundles / planted_bundle.name)
    promoted(log, planted_bundle.name)
    log.close()
    mlflow_store(tmp_path)
    make_private(tmp_path)
    probes = [ServerProbe("MLflow", "http://127.0.0.1:5001", "SENSEI_MLFLOW_PORT", "off")]
    findings = list(checkup.checkup(settings, {}, probes, NOW))
    assert not [finding for finding in findings if finding.fix]
    names = {"database", "ledger", "bundle", "clock", "keys", "files"}
    assert {finding.name for finding in findings} >= names


def test_events_on_topics_that_the_catalogue_lacks_are_counted_with_their_ids(tmp_path):
    settings = Settings(home=tmp_path)
    upgrade(settings.log_url)
    log = open_log(settings.log_url)
    curriculum.store(log.engine, curriculum.load_file(None))
    assert checkup.catalogue(log).fix == ""
    quiz = {"user_id": "ann", "interaction_type": "text_read", "timestamp": NOW}
    log.append([quiz | {"topic_id": topic, "event_id": str(topic)} for topic in range(80, 100)])
    finding = checkup.catalogue(log)
    log.close()
    assert "17 events on topics that the catalogue does not have (83, 84," in finding.said
    assert "92 and 7 more)" in finding.said
    assert "sensei curriculum load FILE" in finding.fix


def test_before_the_first_run_nothing_is_wrong_and_nothing_is_made(tmp_path):
    findings = list(checkup.checkup(Settings(home=tmp_path), {}, [], NOW))
    assert not [finding for finding in findings if finding.fix]
    assert "sensei run" in findings[-1].said
    assert list(tmp_path.iterdir()) == []


def test_a_variable_that_is_no_setting_is_named_with_the_nearest_one():
    environment = {
        "SENSEI_HOME": "x",
        "SENSEI_SERVICE_PROT": "1",
        "SENSEI_WEATHER_QXZ": "1",
        "HOME": "/",
    }
    typo, foreign = checkup.variables(environment)
    assert "SENSEI_SERVICE_PROT" in typo.said
    assert typo.fix == "set SENSEI_SERVICE_PORT instead"
    assert "SENSEI_WEATHER_QXZ" in foreign.said
    assert "unset it" in foreign.fix
    (finding,) = checkup.variables({"SENSEI_HOME": "x"})
    assert (finding.said, finding.fix) == ("SENSEI_HOME", "")


def test_a_home_that_cannot_be_made_is_wrong(tmp_path):
    (tmp_path / "file").write_text("")
    assert "choose another SENSEI_HOME" in checkup.home(tmp_path / "file" / "home").fix
    assert not checkup.home(tmp_path).fix


@pytest.mark.parametrize("state", ["another program", "silent"])
def test_a_port_that_is_held_is_named_with_its_setting(state):
    finding = checkup.port(
        ServerProbe("MLflow", "http://127.0.0.1:5001", "SENSEI_MLFLOW_PORT", state)
    )
    assert (finding.name, "set SENSEI_MLFLOW_PORT" in finding.fix) == ("port 5001", True)


def at_port(port: int, state: str = "answers") -> ServerProbe:
    return ServerProbe("Prefect", f"http://127.0.0.1:{port}", "SENSEI_PREFECT_PORT", state)


def test_a_prefect_server_that_does_not_answer_or_knows_nothing_is_wrong(listening):
    for probes in ([], [at_port(9, "off")]):
        (none,) = checkup.prefect({}, probes)
        assert (none.said, none.fix) == ("no server: each run starts one for itself", "")
    (unreachable,) = checkup.prefect({"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert "unset PREFECT_API_URL" in unreachable.fix
    port = listening({"/api/deployments/filter": []})
    for findings in (
        checkup.prefect({"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}),
        checkup.prefect({}, [at_port(port)]),
    ):
        (empty,) = findings
        assert "make deploy" in empty.fix


@pytest.mark.parametrize(
    ("workers", "fix"),
    [([], "make worker"), ([{"status": "OFFLINE"}], "make worker"), ([{"status": "ONLINE"}], "")],
)
def test_a_server_without_a_worker_that_polls_is_wrong(listening, workers, fix):
    answers = {
        "/api/deployments/filter": [{"name": "nightly"}],
        "/api/work_pools/sensei/workers/filter": workers,
    }
    server, worker = checkup.prefect({}, [at_port(listening(answers))])
    assert "with 1 deployments" in server.said
    assert not server.fix
    assert worker.name == "worker"
    assert fix in worker.fix
    assert bool(worker.fix) == bool(fix)


def test_an_older_mlflow_store_is_to_be_upgraded(tmp_path):
    finding = checkup.mlflow(mlflow_store(tmp_path, migration="0a8213491aaa"))
    assert "0a8213491aaa" in finding.said
    assert "`mlflow db upgrade sqlite" in finding.fix


def test_a_store_that_a_newer_mlflow_wrote_is_not_to_be_upgraded(tmp_path):
    finding = checkup.mlflow(mlflow_store(tmp_path, migration="ffff00001111"))
    assert f"expected a store at migration {newest_migration()} or older" in finding.said
    assert "got ffff00001111, which a newer MLflow wrote" in finding.said
    assert finding.fix.startswith("install that version of MLflow")
    assert "upgrade" not in finding.fix
    (tmp_path / "again").mkdir()
    healthy = checkup.mlflow(mlflow_store(tmp_path / "again"))
    assert not healthy.fix


def prefect_store(folder: Path, migration: str) -> dict[str, str]:
    engine = create_engine(f"sqlite:///{folder / 'prefect.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text(f"INSERT INTO alembic_version VALUES ('{migration}')"))
    engine.dispose()
    return {"PREFECT_HOME": str(folder)}


def test_a_store_that_a_newer_prefect_wrote_is_wrong_and_an_older_one_is_not(tmp_path):
    (newer_store,) = checkup.prefect(prefect_store(tmp_path, "ffff00001111"))
    assert "got ffff00001111, which a newer Prefect wrote" in newer_store.said
    assert newer_store.fix.startswith("install that version of Prefect")
    (tmp_path / "older").mkdir()
    (older_store,) = checkup.prefect(prefect_store(tmp_path / "older", "14806cb26270"))
    assert not older_store.fix  # its server upgrades it


def test_a_database_older_than_the_recorded_erasures_is_wrong_until_they_are_applied(tmp_path):
    settings = Settings(home=tmp_path)
    upgrade(settings.log_url)
    log = open_log(settings.log_url)
    event = {"user_id": "ann", "interaction_type": "quiz_complete", "topic_id": 1}
    log.append([event | {"timestamp": NOW}], NOW)
    key, _ = key_store.create(log.engine, "operator")
    log.close()
    shutil.copy(tmp_path / "sensei.db", tmp_path / "yesterday")
    log = open_log(settings.log_url)
    assert not checkup.suppressed(log, settings.suppression).fix
    erase(log.engine, "ann", (), settings.suppression)
    key_store.revoke(log.engine, key.key_id, suppression=settings.suppression)
    assert not checkup.suppressed(log, settings.suppression).fix
    log.close()
    shutil.copy(tmp_path / "yesterday", tmp_path / "sensei.db")  # by hand
    log = open_log(settings.log_url)
    finding = checkup.suppressed(log, settings.suppression)
    assert "1 erased learners are in the database again" in finding.said
    assert f"the revoked key {key.key_id} is valid again" in finding.said
    assert finding.fix == "`sensei db reapply`"
    assert finding in list(checkup.checkup(settings, {}, [], NOW))
    reapply(log.engine, settings.suppression, ())
    assert not checkup.suppressed(log, settings.suppression).fix
    log.close()


def test_an_mlflow_server_of_another_version_or_none_is_wrong(listening):
    finding = checkup.mlflow(f"http://127.0.0.1:{listening({'/version': '1.0.0'})}")
    assert "got 1.0.0" in finding.said
    assert finding.fix
    assert "make mlflow" in checkup.mlflow("http://127.0.0.1:9").fix


def test_a_database_that_was_never_upgraded_names_the_command(tmp_path):
    settings = Settings(home=tmp_path, database_url=f"sqlite:///{tmp_path / 'other.db'}")
    findings = list(checkup.checkup(settings, {}, [], NOW))
    assert (findings[-1].name, findings[-1].fix) == ("database", "run `sensei db upgrade`")


def test_an_empty_catalogue_is_to_be_loaded(log):
    assert "curriculum load" in checkup.catalogue(log).fix
    curriculum.store(log.engine, curriculum.load_file(None))
    assert not checkup.catalogue(log).fix


def test_off_loopback_a_key_is_needed(log):
    assert not checkup.keys(log, "127.0.0.1").fix
    assert "keys create" in checkup.keys(log, "10.0.0.7").fix
    key, _ = key_store.create(log.engine, "platform")
    assert not checkup.keys(log, "10.0.0.7").fix
    key_store.revoke(log.engine, key.key_id)
    assert "keys create" in checkup.keys(log, "10.0.0.7").fix


def test_interactions_of_the_future_mean_a_wrong_clock(log):
    event = {"user_id": "ann", "interaction_type": "text_read", "topic_id": 1, "timestamp": NOW}
    log.append([event])
    assert not checkup.clock(log, datetime.now(UTC)).fix
    finding = checkup.clock(log, NOW - timedelta(days=1))
    assert finding.said.startswith("1 interactions are later than 2026-04-30")
    assert "clock" in finding.fix


def test_a_bundle_that_is_absent_or_damaged_is_wrong(log, planted_bundle, tmp_path):
    assert not checkup.bundle(log, tmp_path).fix
    log.set_pointer(planted_bundle.name)
    assert "sensei rollback" in checkup.bundle(log, tmp_path).fix
    copied = Path(shutil.copytree(planted_bundle, tmp_path / planted_bundle.name))
    assert not checkup.bundle(log, tmp_path).fix
    with (copied / "recommendation.tflite").open("ab") as file:
        file.write(b"x")
    finding = checkup.bundle(log, tmp_path)
    assert "digest of recommendation.tflite" in finding.said
    assert "sensei train" in finding.fix


def test_a_trial_whose_bundle_is_gone_is_to_be_stopped(log, tmp_path):
    assert not checkup.trial(log, tmp_path).fix
    log.set_fact(TRIAL, {"bundle": "b" * 64, "share": 0.1})
    assert "sensei trial stop" in checkup.trial(log, tmp_path).fix
    (tmp_path / ("b" * 64)).mkdir()
    assert not checkup.trial(log, tmp_path).fix


def cut_off(log: Log) -> None:
    promoted(log, "b", status="pending", finished_at=None)


def pointed_elsewhere(log: Log) -> None:
    promoted(log, "b")
    log.set_pointer("c")


def another_version(log: Log) -> None:
    promoted(log, "b", to_version="8")


@pytest.mark.parametrize("fault", [cut_off, pointed_elsewhere, another_version])
def test_ledger_pointer_and_alias_that_differ_are_to_be_reconciled(
    log: Log, tmp_path: Path, fault: Callable[[Log], None]
):
    uri = mlflow_store(tmp_path)
    fault(log)
    assert checkup.agreement(log, uri).fix == "`sensei reconcile`"


def test_an_alias_without_a_champion_is_to_be_reconciled_too(log, tmp_path):
    uri = mlflow_store(tmp_path)
    assert checkup.agreement(log, uri).fix == "`sensei reconcile`"
    promoted(log, "b")
    assert not checkup.agreement(log, uri).fix
    assert "make mlflow" in checkup.agreement(log, "http://127.0.0.1:9").fix


def test_files_that_others_may_read_are_counted_and_closed_on_demand(tmp_path, monkeypatch, capsys):
    from flows.cli import status_commands

    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    for path in (home, home / "logs"):
        path.chmod(0o755)
    (home / "logs" / "service.log").write_text("x")
    (home / "logs" / "service.log").chmod(0o644)
    finding = checkup.privacy(home)
    assert "3 files and folders" in finding.said
    assert finding.fix == "`sensei doctor --repair`"
    monkeypatch.setattr(status_commands, "checkup", lambda *_: [checkup.privacy(home)])
    monkeypatch.setenv("SENSEI_HOME", str(home))
    status_commands.doctor(repair=True)
    output = capsys.readouterr().out
    assert "Made private: 3 files and folders" in output
    assert "No problems found." in output
    assert not checkup.privacy(home).fix


@pytest.mark.parametrize("fault", [True, False])
def test_the_command_ends_with_one_where_something_is_wrong(tmp_path, monkeypatch, capsys, fault):
    import typer

    from flows.cli import status_commands

    for name in [name for name in os.environ if name.startswith(("SENSEI_", "PREFECT_API"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SENSEI_HOME", str(tmp_path))
    for name in ("SERVICE", "PREFECT", "MLFLOW", "EVIDENTLY"):
        monkeypatch.setenv(f"SENSEI_{name}_PORT", "9")
    if not fault:
        status_commands.doctor()
        assert capsys.readouterr().out.endswith("No problems found.\n")
        return
    monkeypatch.setenv("SENSEI_HOEM", "x")
    with pytest.raises(typer.Exit) as exit_error:
        status_commands.doctor()
    assert exit_error.value.exit_code == 1
    output = capsys.readouterr().out
    assert "fix: set SENSEI_HOME instead" in output
    assert "1 to fix." in output
