"""`sensei audit` as it is typed."""

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def sensei(home: Path, *arguments: str) -> str:
    completed = subprocess.run(
        [sys.executable, "-c", "from flows.cli.command_line import main; main()", *arguments],
        cwd=ROOT,
        env={"SENSEI_HOME": str(home), "PATH": "", "COLUMNS": "200", "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_what_is_done_by_the_command_line_is_shown_newest_first(tmp_path: Path) -> None:
    assert sensei(tmp_path, "audit") == "No entry yet.\n"
    sensei(tmp_path, "keys", "create", "--role", "operator")
    sensei(tmp_path, "learner", "export", "mia", "--out", str(tmp_path / "mia.json"))
    sensei(tmp_path, "learner", "erase", "mia")
    entries = json.loads(sensei(tmp_path, "audit", "--json"))
    actions = ["learner erased", "learner exported", "key created"]
    assert [entry["action"] for entry in entries] == actions
    assert {entry["actor"] for entry in entries} == {f"user {getpass.getuser()}"}
    assert entries[0]["subject"] == entries[1]["subject"]
    assert "mia" not in json.dumps(entries)
    assert len(json.loads(sensei(tmp_path, "audit", "--json", "--limit", "2"))) == 2
    table = sensei(tmp_path, "audit")
    assert table.index("learner erased") < table.index("key created")
