"""`sensei keys` as it is typed."""

import re
from collections.abc import Callable
from pathlib import Path

Typed = Callable[..., tuple[int, str]]


def test_a_key_is_made_shown_once_listed_and_revoked(tmp_path: Path, typed: Typed) -> None:
    code, output = typed(tmp_path, "keys", "create", "--role", "operator")
    key_match = re.search(r"^sensei_(\w{8})_\S{43}$", output, re.MULTILINE)
    assert code == 0
    assert key_match, output
    key_id = key_match[1]
    code, output = typed(tmp_path, "keys", "list")
    assert code == 0
    assert re.search(rf"{key_id}\W+operator\W.*-\W*$", output, re.MULTILINE)
    assert key_match[0] not in output
    assert typed(tmp_path, "keys", "revoke", key_id) == (0, f"Key {key_id} is revoked.\n")
    code, output = typed(tmp_path, "keys", "revoke", key_id)
    assert code == 1
    assert "see `sensei keys list`" in output
    assert "Traceback" not in output


def test_without_keys_the_list_says_how_to_make_one(tmp_path: Path, typed: Typed) -> None:
    code, output = typed(tmp_path, "keys", "list")
    assert code == 0
    assert "keys create" in output
