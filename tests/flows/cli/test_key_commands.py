"""`sensei keys` as it is typed."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def sensei(home: Path, *arguments: str) -> tuple[int, str]:
    completed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from flows.cli.command_line import main; main()",
            "keys",
            *arguments,
        ],
        cwd=ROOT,
        env={"SENSEI_HOME": str(home), "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    return completed.returncode, completed.stdout + completed.stderr


def test_a_key_is_made_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    code, output = sensei(tmp_path, "create", "--role", "operator")
    key_match = re.search(r"^sensei_(\w{8})_\S{43}$", output, re.MULTILINE)
    assert code == 0
    assert key_match, output
    key_id = key_match[1]
    code, output = sensei(tmp_path, "list")
    assert code == 0
    assert re.search(rf"{key_id}\W+operator\W.*-\W*$", output, re.MULTILINE)
    assert key_match[0] not in output
    assert sensei(tmp_path, "revoke", key_id) == (0, f"Key {key_id} is revoked.\n")
    code, output = sensei(tmp_path, "revoke", key_id)
    assert code == 1
    assert "see `sensei keys list`" in output
    assert "Traceback" not in output


def test_without_keys_the_list_says_how_to_make_one(tmp_path: Path) -> None:
    code, output = sensei(tmp_path, "list")
    assert code == 0
    assert "keys create" in output
