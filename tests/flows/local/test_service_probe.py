"""A server is told from another program, and from nothing at all."""

import socket
import sqlite3
from contextlib import closing

import pytest

from flows.local.service_probe import ask_prefect, neighbours, prefect_api, use_prefect
from sensei.errors import StorageUnavailable
from sensei.settings import Settings

ANSWERS = {
    "service": {"/readyz": {"ready": True, "troubles": ["log: gone"]}},
    "prefect": {"/api/admin/version": '"3.8.8"'},
    "mlflow": {"/version": "3.17.2"},
    "evidently": {"/api/version": {"application": "Evidently UI", "version": "0.7.23"}},
}
FREE = 9  # the discard port: nobody listens there


def settings(**ports: int) -> Settings:
    return Settings(**{f"{name}_port": ports.get(name, FREE) for name in ANSWERS})


def states(home_settings: Settings) -> dict[str, tuple[str, str]]:
    return {probe.name.lower(): (probe.state, probe.said) for probe in neighbours(home_settings)}


def test_each_server_is_recognised_by_its_answer(listening):
    probed = states(settings(**{name: listening(text) for name, text in ANSWERS.items()}))
    assert probed == {
        "service": ("answers", "log: gone"),
        "prefect": ("answers", "3.8.8"),
        "mlflow": ("answers", "3.17.2"),
        "evidently": ("answers", "0.7.23"),
    }


def test_where_nothing_listens_the_server_is_off():
    assert set(states(settings()).values()) == {("off", "")}


@pytest.mark.parametrize("name", ANSWERS)
def test_another_program_is_not_taken_for_the_server(listening, name):
    for answers in ({}, dict.fromkeys(ANSWERS[name], "<html>1.2.3</html>")):
        assert states(settings(**{name: listening(answers)}))[name][0] == "another program"


def test_a_server_that_accepts_the_connection_and_never_answers_is_silent(monkeypatch):
    monkeypatch.setattr("flows.local.service_probe.SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert states(settings(mlflow=mute.getsockname()[1]))["mlflow"][0] == "silent"


def test_prefect_is_queried_at_the_configured_api(listening, monkeypatch):
    port = listening({"/api/flow_runs/filter": [{"name": "calm-otter"}]})
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    api = prefect_api(settings(prefect=port))
    assert ask_prefect(api, "/flow_runs/filter", {}) == [{"name": "calm-otter"}]
    assert ask_prefect(api, "/nothing", {}) is None
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api/")
    assert prefect_api(settings()) == "http://127.0.0.1:9/api"
    assert ask_prefect(prefect_api(settings()), "/flow_runs/filter", {}) is None


def test_a_database_that_a_newer_prefect_wrote_stops_a_run_before_it_starts_a_server(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('ffff00001111')")
        connection.commit()
    with pytest.raises(StorageUnavailable, match="which a newer Prefect wrote"):
        use_prefect(settings())
