"""Commands and flows write files that only their owner may read, whatever the shell's umask."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SENSEI = Path(sys.executable).with_name("sensei")
FLOWS = (
    "train_models", "monitor_models", "check_data", "promote_model", "rollback_model",
    "package_service",
)  # fmt: skip


def test_a_command_writes_private_files_under_an_open_umask(tmp_path):
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        subprocess.run(
            [SENSEI, "simulate", "--learners", "2", "--days", "1"],
            env=os.environ | {"SENSEI_HOME": str(home)}, check=True, capture_output=True,
        )  # fmt: skip
    finally:
        os.umask(before)
    paths = [home, *home.rglob("*")]
    assert home / "sensei.db" in paths
    assert [path for path in paths if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_sets_the_umask_before_it_writes_whoever_started_its_worker(name, monkeypatch):
    class Begun(Exception):
        pass

    def begin() -> None:
        raise Begun

    module = import_module(f"flows.{name}")
    monkeypatch.setattr(module, "keep_files_private", begin)
    reviewer = {"reviewer": "Ann"} if name in ("promote_model", "rollback_model") else {}
    with pytest.raises(Begun):
        getattr(module, name).fn(**reviewer)
