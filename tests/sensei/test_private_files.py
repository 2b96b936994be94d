"""Nobody but the owner reads what lies in a home; older files are closed in place."""

import os
import stat
import subprocess
import sys

import pytest

from sensei.private_files import keep_files_private, make_private, open_to_others


@pytest.fixture
def old_home(tmp_path):
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "service.log").write_text("x")
    (home / "sensei.db").write_text("x")
    (home / "tool").write_text("x")
    (tmp_path / "outside").write_text("x")
    (home / "link").symlink_to(tmp_path / "outside")
    for path, mode in ((home, 0o755), (home / "logs", 0o775), (home / "logs/service.log", 0o644),
                       (home / "sensei.db", 0o600), (home / "tool", 0o751),
                       (tmp_path / "outside", 0o666)):  # fmt: skip
        path.chmod(mode)
    return home


def modes(home):
    return {p.relative_to(home).as_posix(): stat.S_IMODE(p.lstat().st_mode) for p in home.rglob("*")
            if not p.is_symlink()}  # fmt: skip


def test_what_others_may_read_is_listed_folders_first(old_home):
    listed = [path.relative_to(old_home).as_posix() for path in open_to_others(old_home)]
    assert sorted(listed) == [".", "logs", "logs/service.log", "tool"]
    assert listed.index("logs") < listed.index("logs/service.log")


def test_closing_takes_the_rights_of_others_and_no_right_of_the_owner(old_home):
    assert make_private(old_home) == 4
    assert stat.S_IMODE(old_home.stat().st_mode) == 0o700
    expected = {"logs": 0o700, "logs/service.log": 0o600, "sensei.db": 0o600, "tool": 0o700}
    assert modes(old_home) == expected
    assert open_to_others(old_home) == []
    assert make_private(old_home) == 0


def test_a_link_is_not_followed(old_home):
    make_private(old_home)
    outside = old_home.parent / "outside"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o666


def test_a_home_that_is_not_made_yet_has_nothing_to_close(tmp_path):
    assert open_to_others(tmp_path / "none") == []
    assert make_private(tmp_path / "none") == 0


def test_new_files_of_this_process_and_its_children_are_private(tmp_path):
    code = (
        "import subprocess, sys; from sensei.private_files import keep_files_private; "
        "keep_files_private(); open('ours', 'w').close(); "
        "subprocess.run([sys.executable, '-c', 'import os; os.mkdir(\"theirs\")'])"
    )
    before = os.umask(0)
    try:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    finally:
        os.umask(before)
    assert modes(tmp_path) == {"ours": 0o600, "theirs": 0o700}


def test_the_umask_is_set_whatever_it_was():
    before = os.umask(0)
    try:
        keep_files_private()
        assert os.umask(0) == 0o077
    finally:
        os.umask(before)
