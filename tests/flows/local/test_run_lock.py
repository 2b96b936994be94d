"""One training at a time: the place of a run that was killed, however, is free again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sensei.settings import Settings

ROOT = Path(__file__).parents[3]

HOLDS = """
import sys, time
from prefect import flow
from flows.local.run_lock import one_at_a_time
from sensei.storage.database import connect
from sensei.settings import Settings

@flow
def hold():
    with one_at_a_time(connect(Settings().log_url)):
        print("holds", flush=True)
        time.sleep(float(sys.argv[1]))

hold()
"""


def _hold(environment: dict[str, str], seconds: int) -> subprocess.Popen[str]:
    Path(environment["SENSEI_HOME"]).mkdir(exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-c", HOLDS, str(seconds)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def _kill_holder(environment: dict[str, str]) -> None:
    holder = _hold(environment, 600)
    assert holder.stdout
    assert holder.stdout.readline() == "holds\n"
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()


def _next_run_gets_the_lock(environment: dict[str, str]) -> bool:
    after = _hold(environment, 0)
    return after.communicate(timeout=400)[0] == "holds\n" and after.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_was_killed_gives_its_place_back(serving, tmp_path):
    with serving(tmp_path) as (_, environment):
        _kill_holder(environment)
        assert _next_run_gets_the_lock(environment)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_was_killed_with_its_temporary_server_gives_its_place_back(tmp_path):
    environment = {name: v for name, v in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= Settings(home=tmp_path / "home").environment()
    _kill_holder(environment)
    assert _next_run_gets_the_lock(environment)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_was_killed_with_its_server_gives_its_place_back(serving, tmp_path):
    with serving(tmp_path) as (_, environment):
        _kill_holder(environment)
    with serving(tmp_path) as (_, environment):
        assert _next_run_gets_the_lock(environment)
