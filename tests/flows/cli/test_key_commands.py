"""`sensei keys` as it is typed."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def sensei(home: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
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
    return done.returncode, done.stdout + done.stderr


def test_a_key_is_made_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    code, said = sensei(tmp_path, "create", "--role", "operator")
    shown = re.search(r"^sensei_(\w{8})_\S{43}$", said, re.MULTILINE)
    assert code == 0
    assert shown, said
    key_id = shown[1]
    code, said = sensei(tmp_path, "list")
    assert code == 0
    assert re.search(rf"{key_id}\W+operator\W.*-\W*$", said, re.MULTILINE)
    assert shown[0] not in said
    assert sensei(tmp_path, "revoke", key_id) == (0, f"Key {key_id} is revoked.\n")
    code, said = sensei(tmp_path, "revoke", key_id)
    assert code == 1
    assert "see `sensei keys list`" in said
    assert "Traceback" not in said


def test_without_keys_the_list_says_how_to_make_one(tmp_path: Path) -> None:
    code, said = sensei(tmp_path, "list")
    assert code == 0
    assert "keys create" in said
