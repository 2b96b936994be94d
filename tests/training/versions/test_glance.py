"""A glance reads what MLflow itself would say, in its database and from its server."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sensei.errors import StorageUnavailable
from training.tracking.mlflow_status import (
    migrations_in,
    newest_migration,
    read_tracked,
    store_version,
)

MODELS = ("recommendation", "difficulty")


@pytest.fixture(scope="module")
def versions(registry, logged):
    """A champion and a challenger of each model."""
    version_pairs = {}
    for model in MODELS:
        first, second = (
            registry.register(model, logged.run_id, logged.models[model], "", {}) for _ in range(2)
        )
        registry.crown(model, first)
        version_pairs[model] = first, second
    return version_pairs


def test_aliases_and_the_newest_run_are_those_of_mlflow(registry, logged, versions):
    tracked = read_tracked(registry.tracking_uri, MODELS)
    for model, (champion, challenger) in versions.items():
        assert tracked.version(model, "champion") == champion == registry.champion(model)
        assert tracked.version(model, "challenger") == challenger == registry.challenger(model)
    (newest,) = registry.client.search_runs(
        [registry.experiment_id], max_results=1, order_by=["attributes.start_time DESC"]
    )
    assert tracked.last_run is not None
    assert tracked.last_run.name == newest.info.run_name
    assert tracked.last_run.status == newest.info.status
    assert round(tracked.last_run.started_at.timestamp() * 1000) == newest.info.start_time


def test_a_later_failed_run_does_not_hide_the_newest_finished_one(registry, logged):
    before = read_tracked(registry.tracking_uri, MODELS).last_finished
    assert before is not None
    failed = registry.client.create_run(registry.experiment_id, run_name="later")
    registry.client.set_terminated(failed.info.run_id, "FAILED")
    tracked = read_tracked(registry.tracking_uri, MODELS)
    registry.client.delete_run(failed.info.run_id)
    assert tracked.last_run is not None
    assert (tracked.last_run.name, tracked.last_run.status) == ("later", "FAILED")
    assert tracked.last_finished == before


def test_only_the_models_asked_for_are_seen(registry, versions):
    aliases = read_tracked(registry.tracking_uri, MODELS[:1]).aliases
    assert {alias.model for alias in aliases} == {"recommendation"}


def test_a_store_made_by_the_installed_mlflow_is_at_its_newest_migration(registry):
    assert store_version(registry.tracking_uri) == newest_migration()


def test_a_store_that_is_not_there_is_empty_and_not_made(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracked = read_tracked(uri, MODELS)
    assert (tracked.aliases, tracked.last_run, store_version(uri)) == ((), None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_does_not_answer_is_reported_with_the_next_step(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database at all, but a text of some length")
    for uri in (f"sqlite:///{tmp_path / 'mlflow.db'}", "http://127.0.0.1:9"):
        for ask in (store_version, lambda uri: read_tracked(uri, MODELS)):
            with pytest.raises(StorageUnavailable, match="make mlflow"):
                ask(uri)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE registered_model_aliases RENAME TO registered_model_labels",
        "ALTER TABLE runs RENAME COLUMN lifecycle_stage TO stage",
    ],
)
def test_unknown_tables_at_a_known_migration_are_a_sentence(registry, tmp_path, change):
    database = Path(registry.tracking_uri.removeprefix("sqlite:///"))
    with (
        closing(sqlite3.connect(database)) as source,
        closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy,
    ):
        source.backup(copy)
        copy.execute(change)
        copy.commit()
    with pytest.raises(StorageUnavailable, match=r"expected the tables of MLflow \d.*got 'no such"):
        read_tracked(f"sqlite:///{tmp_path / 'mlflow.db'}", MODELS)


def test_a_database_without_tables_is_empty(tmp_path):
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE notes (line TEXT)")
    tracked = read_tracked(f"sqlite:///{tmp_path / 'mlflow.db'}", MODELS)
    assert (tracked.aliases, tracked.last_run) == ((), None)


def test_a_missing_driver_is_a_sentence():
    with pytest.raises(StorageUnavailable, match=r"got .*SENSEI_MLFLOW_TRACKING_URI"):
        read_tracked("mysql://127.0.0.1/mlflow", MODELS)


def test_a_server_that_answers_otherwise_is_a_sentence():
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[1, 2]")

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(StorageUnavailable, match=r"expected http://127.0.0.1:.* to answer"):
            read_tracked(f"http://127.0.0.1:{server.server_port}", MODELS)
        server.shutdown()


def test_a_library_without_migrations_is_a_sentence(tmp_path):
    with pytest.raises(StorageUnavailable, match=r"expected Alembic migrations in .*, got none"):
        migrations_in(tmp_path)


@pytest.mark.slow
def test_a_server_answers_the_same_as_its_database(registry, versions):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--port", port, "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--backend-store-uri", registry.tracking_uri],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        cwd=Path(registry.tracking_uri.removeprefix("sqlite:///")).parent,
        start_new_session=True,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                assert store_version(uri)
                break
            except StorageUnavailable:
                time.sleep(0.2)
        from_server, from_database = (
            read_tracked(uri, MODELS),
            read_tracked(registry.tracking_uri, MODELS),
        )
        assert set(from_server.aliases) == set(from_database.aliases)
        assert from_server.last_run == from_database.last_run
        assert read_tracked(uri, ["nothing"]).aliases == ()
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
