"""`sensei audit` as it is typed."""

import getpass
import json
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., str]


@pytest.fixture
def sensei(typed: Callable[..., tuple[int, str]]) -> Command:
    def run(home: Path, *arguments: str) -> str:
        code, output = typed(home, *arguments)
        assert code == 0, output
        return output

    return run


def test_what_is_done_by_the_command_line_is_shown_newest_first(
    tmp_path: Path, sensei: Command
) -> None:
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
