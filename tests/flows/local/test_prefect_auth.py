"""One auth string per home, private, and sent to no other server than this home's."""

import os
import stat
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from flows.local.prefect_auth import (
    API,
    CLIENT,
    SERVER,
    auth_file,
    auth_header,
    auth_string,
    use_auth_string,
    use_known_auth_string,
)
from sensei.settings import Settings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for name in (API, CLIENT, SERVER, "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return Settings(home=tmp_path / "home")


def test_the_string_is_made_once_and_only_its_owner_reads_the_file(settings):
    before = os.umask(0)
    try:
        first = auth_string(settings)
    finally:
        os.umask(before)
    assert len(first) >= 43
    assert auth_string(settings) == first
    assert stat.S_IMODE(auth_file(settings).stat().st_mode) == 0o600
    assert [path.name for path in settings.root.iterdir()] == ["prefect-auth"]


def test_processes_that_start_at_once_read_the_same_string(settings):
    code = (
        "from flows.local.prefect_auth import auth_string; from sensei.settings import Settings; "
        f"print(auth_string(Settings(home={str(settings.root)!r})))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1


def test_two_homes_have_two_strings(settings, tmp_path):
    assert auth_string(settings) != auth_string(Settings(home=tmp_path / "other"))


@pytest.mark.parametrize("api", ["", "http://127.0.0.1:4200/api", "http://localhost:9/api"])
def test_servers_and_clients_of_this_machine_use_it(settings, monkeypatch, api):
    monkeypatch.setenv(API, api)
    use_auth_string(settings)
    assert os.environ[SERVER] == os.environ[CLIENT] == auth_string(settings)
    assert "*" not in os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]


@pytest.mark.parametrize(
    "api", ["https://prefect.example/api", "http://10.0.0.7:4200/api", "http://127.evil.example/"]
)
def test_a_server_on_another_machine_never_gets_it(settings, monkeypatch, api):
    monkeypatch.setenv(API, api)
    use_auth_string(settings)
    assert CLIENT not in os.environ
    monkeypatch.setenv(CLIENT, "theirs")
    assert auth_header("http://127.0.0.1:4200/api") == {}, "theirs is not for who listens here"
    assert auth_header(api.rstrip("/"))


def test_a_string_that_was_set_by_hand_stays(settings, monkeypatch):
    monkeypatch.setenv(CLIENT, "mine")
    use_auth_string(settings)
    assert os.environ[CLIENT] == "mine"
    scheme, credentials = auth_header("http://127.0.0.1:4200/api")["Authorization"].split()
    assert (scheme, b64decode(credentials)) == ("Basic", b"mine")


def test_commands_that_only_look_make_no_file(settings):
    use_known_auth_string(settings)
    assert not settings.root.exists()
    assert CLIENT not in os.environ
    auth_string(settings)
    use_known_auth_string(settings)
    assert os.environ[CLIENT] == auth_string(settings)


def test_a_command_shows_it(settings):
    sensei = Path(sys.executable).with_name("sensei")
    completed = subprocess.run(
        [sensei, "keys", "prefect"],
        env=os.environ | {"SENSEI_HOME": str(settings.root)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert completed.stdout.strip() == auth_string(settings)
