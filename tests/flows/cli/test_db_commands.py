"""`sensei db`: the commands on a real home, and every command of the page about backups."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sensei import curriculum
from sensei.events.log import open_log
from sensei.settings import Settings
from sensei.storage.database import upgrade
from training.tracking.mlflow_status import newest_migration

Command = Callable[..., str]
ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "backup.md"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
EVENT = {"user_id": "ann", "interaction_type": "quiz_complete", "topic_id": 1, "timestamp": NOW}
FREE = {f"SENSEI_{name}_PORT": "9" for name in ("SERVICE", "PREFECT", "MLFLOW", "EVIDENTLY")}


def environment(home: Path, **variables: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SENSEI_", "PREFECT_"))}
    return clean | {"SENSEI_HOME": str(home), "COLUMNS": "200"} | FREE | variables


@pytest.fixture
def command(typed: Callable[..., tuple[int, str]]) -> Command:
    """A `sensei` command on free ports; gives what was printed."""

    def run(home: Path, *arguments: str, ok: bool = True, **variables: str) -> str:
        code, output = typed(home, *arguments, **FREE | variables)
        assert (not code) == ok, output
        return " ".join(output.split())

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose log holds two learners."""
    settings = Settings(home=tmp_path / "home")
    upgrade(settings.log_url)
    with closing(open_log(settings.log_url)) as log:
        log.append([EVENT, EVENT | {"user_id": "bob"}], NOW)
    return settings.root


def learners(home: Path) -> set[str]:
    with closing(sqlite3.connect(home / "sensei.db")) as connection:
        return {name for (name,) in connection.execute("SELECT user_id FROM learners")}


def test_yesterdays_backup_does_not_bring_an_erased_learner_back(
    command: Command, home: Path, tmp_path: Path
) -> None:
    output = command(home, "db", "backup", str(tmp_path / "yesterday"))
    assert "2 interactions of 2 learners, verified" in output
    output = command(home, "db", "backup", str(tmp_path / "yesterday"), ok=False)
    assert "name another one" in output
    command(home, "learner", "erase", "ann")
    output = command(home, "db", "restore", str(tmp_path / "yesterday"))
    assert "Erased again: 1 learners; 1 erasures were unknown to the database." in output
    assert "The replaced database is kept" in output
    assert "Reconcile: ledger, pointer and aliases agree" in output
    assert learners(home) == {"bob"}
    assert "1 erased learners are in the database again" not in command(
        home, "doctor", ok=False
    )  # no catalogue


def test_a_file_copied_back_by_hand_is_found_by_doctor_and_repaired(
    command: Command, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "yesterday").write_bytes((home / "sensei.db").read_bytes())
    command(home, "learner", "erase", "ann")
    (home / "sensei.db").write_bytes((tmp_path / "yesterday").read_bytes())
    output = command(home, "doctor", ok=False)
    assert "1 erased learners are in the database again" in output
    assert "sensei db reapply" in output
    assert "Erased again: 1 learners" in command(home, "db", "reapply")
    assert learners(home) == {"bob"}
    assert "agree" in command(home, "db", "reapply")


def test_an_upgrade_names_the_copy_of_the_database_before_it(
    command: Command, home: Path, make_older: Callable[[str], None]
) -> None:
    make_older(f"sqlite:///{home / 'sensei.db'}")
    output = command(home, "db", "upgrade")
    (copy,) = home.glob("sensei.db.migration-0003.*.backup")
    assert str(copy) in output


def test_an_upgrade_of_postgresql_dumps_it_first_or_reports_that_it_could_not(
    command: Command,
    empty_postgres_url: str,
    tmp_path: Path,
    make_older: Callable[[str], None],
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    make_older(empty_postgres_url)
    output = command(home, "db", "upgrade", SENSEI_DATABASE_URL=empty_postgres_url)
    (dump,) = (home / "replaced").glob("migration-0003.*.dump")
    assert str(dump) in output
    make_older(empty_postgres_url)
    failing = "#!/bin/sh\necho 'pg_dump: error: server version mismatch' >&2\nexit 1\n"
    (tmp_path / "pg_dump").write_text(failing)
    (tmp_path / "pg_dump").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    output = command(home, "db", "upgrade", SENSEI_DATABASE_URL=empty_postgres_url, PATH=path)
    assert "No dump was made before the upgrade" in output
    assert "version mismatch" in output
    assert "up to date" in output


def test_a_restore_while_the_service_answers_is_refused(
    command: Command, home: Path, tmp_path: Path, listening: Callable[[dict[str, Any]], int]
) -> None:
    port = str(listening({"/readyz": {"ready": True, "troubles": []}}))
    command(home, "db", "backup", str(tmp_path / "b"))
    restore = ("db", "restore", str(tmp_path / "b"))
    assert "stop it" in command(home, *restore, ok=False, SENSEI_SERVICE_PORT=port)
    command(home, *restore, "--force", SENSEI_SERVICE_PORT=port)


def test_a_restore_without_mlflow_names_the_remaining_steps(
    command: Command, home: Path, tmp_path: Path
) -> None:
    (home / "mlflow.db").write_text("no database at all, but a text of some length")
    command(home, "db", "backup", str(tmp_path / "b"))
    output = command(home, "db", "restore", str(tmp_path / "b"))
    assert "then `sensei reconcile`" in output


def blocks() -> list[str]:
    """The shell commands of the page, block by block."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("backend", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_the_commands_of_the_page_run_on_a_real_home(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each block in a shell that stops at the first failure."""
    url = request.getfixturevalue("empty_postgres_url") if backend == "postgresql" else ""
    settings = Settings(home=tmp_path / "home", database_url=url)
    upgrade(settings.log_url)
    with closing(open_log(settings.log_url)) as log:
        curriculum.store(log.engine, curriculum.load_file(None))
        log.append([EVENT, EVENT | {"user_id": "bob"}], NOW)
    make_models(settings.root)
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    values = environment(settings.root, BACKUPS=str(tmp_path / "backups"), SENSEI_DATABASE_URL=url)
    assert len(blocks()) == 4
    for block in blocks():
        completed = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            env=values,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert completed.returncode == 0, f"{block}\n{completed.stdout}{completed.stderr}"
    with closing(open_log(settings.log_url)) as log:
        assert log.count() == 2
    for backup in (tmp_path / "backups").glob("s*"):
        assert backup.stat().st_mode & 0o077 == 0
    replaced_files = [
        *settings.root.glob("sensei.db.replaced.*.backup"),
        *settings.root.glob("replaced/*"),
    ]
    assert len(replaced_files) == 1


def make_models(home: Path) -> None:
    """Create the output of a run: folders of bundles and artifacts, and MLflow's store."""
    for name in ("bundles", "mlartifacts"):
        (home / name).mkdir(parents=True)
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.executescript(
            "CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER);"
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT);"
            "CREATE TABLE runs (name TEXT, status TEXT, start_time INTEGER, lifecycle_stage TEXT,"
            " experiment_id INTEGER);"
            "CREATE TABLE alembic_version (version_num TEXT);"
            f"INSERT INTO alembic_version VALUES ('{newest_migration()}');"
        )
