"""Bad input through the commands: one sentence, exit code 1, nothing lost, nothing half-written."""

import gzip
import itertools
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.batch import encode
from flows.cli import command_line
from flows.tasks import training_tasks as steps
from sensei.errors import NotEnoughData
from sensei.events.importer import read_frame
from sensei.events.log import open_log
from sensei.settings import Settings
from sensei.storage.database import upgrade
from training.data.dataset import prepare
from training.data.time_split import split_by_time

HEADER = "user_id,interaction_type,topic_id,timestamp,score\n"
ROW = "u,quiz_complete,1,2026-01-01T00:00:00Z,0.5\n"
START = datetime(2026, 1, 1, tzinfo=UTC)
SENSEI = Path(sys.executable).with_name("sensei")

Said = tuple[int, str]
Command = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def command(home: Path, typed: Callable[..., Said]) -> Command:
    """The `sensei` command in the home of the test: exit code and what was printed."""
    return lambda *arguments, **variables: typed(home, *arguments, COLUMNS="120", **variables)


def assert_refused(result: Said, *words: str) -> None:
    """One error of one line that holds the words, and no other step than the line says."""
    code, printed = result
    assert code == 1, printed
    last = printed.rstrip().splitlines()[-1]
    assert last.startswith("error: "), printed
    for word in words:
        assert word in last
    assert "unexpected" not in last
    assert "Traceback" not in printed
    assert "Next:" not in printed


def rows(home: Path, table: str = "user_interactions") -> int:
    with sqlite3.connect(home / "sensei.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def csv(*fields: str) -> str:
    """A CSV file whose rows differ from a good one in the given fields."""
    return HEADER + "".join(fields)


# Files


def _parquet(path: Path, **columns: object) -> bytes:
    base = {
        "user_id": ["u", "v"],
        "interaction_type": ["quiz_complete"] * 2,
        "topic_id": [1, 2],
        "timestamp": [START, START + timedelta(hours=1)],
    }
    pq.write_table(pa.table(base | columns), path / "made.parquet")
    return (path / "made.parquet").read_bytes()


UNUSABLE: dict[str, tuple[str, str | bytes, tuple[str, ...]]] = {
    "empty file": ("f.csv", "", ("expected columns user_id", "got none")),
    "empty JSON Lines": ("f.jsonl", "", ("expected some, got none",)),
    "only a header": ("f.csv", HEADER, ("expected some, got none",)),
    "unknown column": ("f.csv", "zzz," + HEADER + "1," + ROW, ("got also zzz", "`--map zzz=`")),
    "missing columns": ("f.csv", "user_id,topic_id\nu,1\n", ("--map THEIRS=interaction_type",)),
    "semicolons": ("f.csv", csv(ROW).replace(",", ";"), ("got user_id;",)),
    "not UTF-8": ("f.csv", csv(ROW.replace("u,", "Zoë,", 1)).encode("latin-1"), ("in UTF-8",)),
    "UTF-16": ("f.csv", csv(ROW).encode("utf-16"), ("in UTF-8",)),
    "broken Parquet": ("f.parquet", b"PAR1 nonsense", ("whole parquet file", "write it again")),
    "empty Parquet": ("f.parquet", b"", ("whole parquet file",)),
    "other ending": ("f.xlsx", csv(ROW), ("expected an ending of .csv", "convert")),
    "scores in percent": ("f.csv", csv(ROW.replace("0.5", "85")), ("got 85; send 0.85",)),
    "log in the future": (
        "f.csv",
        csv(ROW.replace("2026", "2999")),
        ("5 minutes in the future", "clock"),
    ),
    "no time": ("f.csv", csv(ROW.replace("2026-01-01T00:00:00Z", "1.1.26")), ("send ISO 8601",)),
    "topic in words": ("f.csv", csv(ROW.replace(",1,", ",algebra,")), ("topic's number",)),
    "topic too large": ("f.csv", csv(ROW.replace(",1,", f",{10**25},")), ("topic's number",)),
    "half a topic": ("f.csv", csv(ROW.replace(",1,", ",1.5,")), ("topic's number",)),
    "unknown kind": ("f.csv", csv(ROW.replace("quiz_complete", "exam")), ("one of quiz_complete",)),
    "nobody": ("f.csv", csv(ROW.replace("u,", " ,", 1)), ("user_id: expected text",)),
    "only broken lines": ("f.csv", csv("1,2\n", '"u,quiz\n'), ("line: expected 5 fields",)),
    "a column twice": (
        "f.csv",
        csv("v," + ROW).replace(HEADER, "user_id," + HEADER),
        ("each column once",),
    ),
    "no JSON": ("f.jsonl", "hello\n", ("expected a JSON object", "hello")),
    "compressed": ("f.csv", gzip.compress(csv(ROW).encode()), ("gzip archive; unpack it",)),
    "a spreadsheet": ("f.csv", b"PK\x03\x04" + bytes(99), ("save it as CSV",)),
    "Parquet as CSV": ("f.csv", b"PAR1\x15\0" + bytes(99), ("the ending .parquet",)),
    "a program": ("f.jsonl", b"\x7fELF\x02\0\n\0\x88", ("expected text", "binary data")),
    "noise": ("f.jsonl", bytes(range(250, -1, -1)), ("expected text", "binary data")),
    "a JSON array": ("f.jsonl", '[{"user_id": "u"}]\n', ("expected a JSON object",)),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_file_that_cannot_be_used_is_reported_and_adds_nothing(case, command, home, tmp_path):
    name, content, words = UNUSABLE[case]
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    assert_refused(command("import", file), *words)
    assert rows(home) == 0


@pytest.mark.parametrize(
    "case", ["empty file", "broken Parquet", "scores in percent", "nobody", "a program"]
)
def test_an_evaluation_refuses_the_same_files(case, command, home, tmp_path):
    name, content, words = UNUSABLE[case]
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    assert_refused(command("evaluate", file), *words)
    assert not home.exists()


USABLE = {
    "byte order mark": ("f.csv", "\ufeff" + csv(ROW), 1, 0),
    "zones": ("f.csv", csv(ROW, ROW.replace("0Z", "0+05:30"), ROW.replace("Z", "")), 2, 0),
    "topics as floats and text": ("f.csv", csv(ROW.replace(",1,", ",2.0,"), ROW, "x" + ROW), 3, 0),
    "largest topic": ("f.csv", csv(ROW.replace(",1,", f",{2**63 - 1},")), 1, 0),
    "other scripts": ("f.csv", csv(*(f"{u}{ROW}" for u in ("Zoë", "学习者", "💥", "Ω/μ"))), 4, 0),
    "control characters and markup": ("f.csv", csv(f"\x1b[31m{ROW}", f"[/red]{ROW}"), 1, 1),
    "ragged lines": ("f.csv", csv(ROW, "u,quiz\n", "1,2,3,4,5,6,7\n", ROW), 1, 2),
    "a NUL in a row": ("f.csv", csv(ROW, "v\0" + ROW), 1, 1),
    "an open quote": ("f.csv", csv(ROW, '"v' + ROW, "w" + ROW), 1, 1),
    "duplicates": ("f.csv", "event_id," + csv(*["e," + ROW] * 3), 1, 0),
    "one id, two payloads": (
        "f.csv",
        "event_id," + csv("[/b]," + ROW, "[/b]," + ROW.replace("0.5", "0.6")),
        1,
        1,
    ),
    "mixed types": (
        "f.jsonl",
        '{"user_id":5,"interaction_type":"text_read","topic_id":"1","timestamp":"2026-01-01"}\n'
        '{"user_id":null,"interaction_type":"text_read","topic_id":1,"timestamp":"2026-01-01"}\n'
        '{"user_id":"u","interaction_type":"text_read","topic_id":true,"timestamp":"2026-01-01"}\n',
        1,
        2,
    ),
}


@pytest.mark.parametrize("case", USABLE)
def test_good_rows_come_in_and_bad_ones_go_into_quarantine(case, command, home, tmp_path):
    name, content, good, bad = USABLE[case]
    (tmp_path / name).write_text(content, "utf-8")
    code, printed = command("import", tmp_path / name)
    assert code == 0, printed
    assert (rows(home), rows(home, "quarantine")) == (good, bad)
    assert f"{good} new" in printed
    code, printed = command("import", tmp_path / name)
    assert (rows(home), rows(home, "quarantine")) == (good, bad)
    assert " 0 new" in printed


@pytest.mark.parametrize(
    "columns",
    [
        {"topic_id": [1.0, 2.5]},
        {"topic_id": ["1", "x"]},
        {"score": ["0.5", "n/a"]},
        {"score": [0.5, 85.0]},
        {"duration_seconds": [5.0, -1.0]},
        {"timestamp": ["2026-01-01", "yesterday"]},
        {"topic_id": pa.array([5, 2**64 - 1], pa.uint64())},
        {"metadata": ["{}", "{"]},
        {"user_id": ["u", "\0"]},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_a_parquet_column_of_another_type_loses_only_what_breaks_a_rule(
    columns, command, home, tmp_path
):
    _parquet(tmp_path, **columns)
    code, printed = command("import", tmp_path / "made.parquet")
    assert code == 0, printed
    assert (rows(home), rows(home, "quarantine")) == (1, 1)


def test_a_parquet_file_cut_off_or_damaged_in_the_middle_keeps_what_was_read(
    command, home, tmp_path
):
    count = 150_000
    parquet = _many(tmp_path / "whole.parquet", count)
    content = bytearray(parquet.read_bytes())
    (tmp_path / "cut.parquet").write_bytes(content[: len(content) // 2])
    assert_refused(command("import", tmp_path / "cut.parquet"), "whole parquet file")
    middle = len(content) * 5 // 6
    content[middle : middle + 4000] = bytes(4000)
    (tmp_path / "damaged.parquet").write_bytes(content)
    assert_refused(command("import", tmp_path / "damaged.parquet"), "no row counts twice")
    assert rows(home) % 50_000 == 0
    code, printed = command("import", parquet)
    assert code == 0, printed
    assert rows(home) == count


def _many(path: Path, count: int, learners: int = 100) -> Path:
    at = np.arange(count)
    table = {
        "user_id": [f"u{i}" for i in at % learners],
        "interaction_type": ["quiz_complete"] * count,
        "topic_id": at % 7,
        "timestamp": pa.array(1_700_000_000_000_000 + at * 1_000_000, pa.timestamp("us", "UTC")),
        "score": at % 11 / 10,
    }
    pq.write_table(pa.table(table), path, row_group_size=25_000)
    return path


# Arguments and settings

GOOD = "{good}"
FIELDS = HEADER.strip().replace(",", ", ")
WRONG = {
    "no such file": (["import", GOOD, "nothere.csv"], ("nothere.csv, got none", "check the path")),
    "a folder": (["import", "{folder}"], ("expected a file", "got none")),
    "no file named": (["import"], ("'files'", "sensei import --help")),
    "map without =": (["import", GOOD, "--map", "zzz"], ("theirs=ours", "zzz")),
    "map to nothing known": (["import", GOOD, "--map", "score=x"], ("expected one of", "'x'")),
    "map twice": (["import", GOOD, "--map", "score=user_id"], ("each column once",)),
    "map leaves out a need": (["import", GOOD, "--map", "user_id="], ("THEIRS=user_id",)),
    "unknown split": (["evaluate", GOOD, "--split", "weird"], ("column:NAME", "'weird'")),
    "split by no column": (["evaluate", GOOD, "--split", "column:x"], ("'x'", f"has {FIELDS}")),
    "no model named": (["evaluate", GOOD, "--models", ","], ("expected names", "got none")),
    "no such model": (["train", "--models", "x"], ("expected names among", "reference", "'x'")),
    "success alone": (["train", "--models", "items"], ("of the next topic", "sequence", "items")),
    "output nowhere": (["evaluate", GOOD, "--out", "/nowhere/x"], ("--out", "another one")),
    "output on a folder": (["evaluate", GOOD, "--out", "{folder}"], ("--out", "another one")),
    "no days": (["run", "--days", "0"], ("--days", "sensei run --help")),
    "days in words": (["train", "--days", "abc"], ("--days", "sensei train --help")),
    "run by a column": (["run", "--split", "column:x"], ("--split", "'time', 'learner'")),
    "nobody to simulate": (["simulate", "--learners", "0"], ("--learners",)),
    "centuries": (["simulate", "--days", "99999999"], ("--days", "3650")),
    "no such command": (["tain"], ("tain", "sensei --help")),
    "port too large": (["serve", "--port", "99999"], ("--port", "65535")),
    "copy to no address": (["db", "copy", "--to", "x"], ("postgresql://", "--to")),
    "copy to nobody": (
        ["db", "copy", "--to", "postgresql://u:secret@127.0.0.1:1/x"],
        ("Connection refused",),
    ),
    "no curriculum": (["curriculum", "load", "nothere.json"], ("readable file", "check the path")),
    "a folder as one": (["curriculum", "load", "{folder}"], ("Is a directory",)),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_reported_and_change_nothing(case, command, home, tmp_path):
    arguments, words = WRONG[case]
    (tmp_path / "good.csv").write_text(csv(ROW))
    (tmp_path / "folder").mkdir()
    command("db", "upgrade")
    given_arguments = [
        a.format(good=tmp_path / "good.csv", folder=tmp_path / "folder") for a in arguments
    ]
    result = command(*given_arguments)
    assert_refused(result, *words)
    assert "secret" not in result[1]
    assert rows(home) == rows(home, "topics") == 0


def test_the_advice_of_an_error_can_be_followed(command, home, tmp_path):
    (tmp_path / "f.csv").write_text("zzz," + HEADER + "1," + ROW)
    assert_refused(command("import", tmp_path / "f.csv"), "`--map zzz=`")
    assert command("import", tmp_path / "f.csv", "--map", "zzz=")[0] == 0
    assert rows(home) == 1


SETTINGS = {
    "SENSEI_SEED": ("abc", "expected a valid integer, got 'abc'"),
    "SENSEI_SERVICE_PORT": ("70000", "65535"),
    "SENSEI_MAX_QUARANTINED_SHARE": ("7", "less than or equal to 1, got '7'"),
    "SENSEI_DRIFT_DAYS": ("0", "greater than or equal to 1"),
}


@pytest.mark.parametrize("variable", SETTINGS)
def test_a_setting_that_does_not_parse_is_named(variable, command):
    value, words = SETTINGS[variable]
    assert_refused(command("models", **{variable: value}), variable, words, "unset it")


def test_an_empty_setting_is_no_setting(monkeypatch):
    monkeypatch.setenv("SENSEI_HOME", "")
    monkeypatch.setenv("SENSEI_SEED", "")
    assert (Settings().home, Settings().seed) == (Path("var"), 0)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("nonsense:secret", "an invalid address"),
        ("postgresql://u:secret@h:port/x", "an invalid address"),
        ("mysql://u:secret@h/x", "got mysql"),
        ("sqlite://", "without a file"),
        ("postgresql://u:secret@127.0.0.1:1/x", "Connection refused"),
        ("postgresql://u:secret@nowhere.invalid/x", "nowhere.invalid"),
        ("sqlite:////nowhere/at/all.db", "sensei db upgrade"),
    ],
)
def test_a_wrong_database_is_reported_without_its_password(url, word, command, tmp_path):
    (tmp_path / "good.csv").write_text(csv(ROW))
    result = command("import", tmp_path / "good.csv", SENSEI_DATABASE_URL=url)
    assert_refused(result, word)
    assert "secret" not in result[1]


def test_debug_shows_where(monkeypatch, home, tmp_path):
    monkeypatch.setenv("SENSEI_HOME", str(home))
    monkeypatch.setattr(sys, "argv", ["sensei", "--debug", "import", str(tmp_path / "no.csv")])
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with pytest.raises(Exception, match="check the path"):
        command_line.main()


CURRICULA = {
    "nothing": "",
    "half": "{",
    "a list": "[]",
    "no topics": {"topics": []},
    "unknown field": {"topics": [{"topic_id": 1, "title": "t", "domain": "d", "zzz": 1}]},
    "itself as prerequisite": {
        "topics": [{"topic_id": 1, "title": "t", "domain": "d", "prerequisites": [1]}]
    },
    "a number no database holds": {"topics": [{"topic_id": 2**70, "title": "t", "domain": "d"}]},
    "depth": "[" * 100_000,
}


@pytest.mark.parametrize("case", CURRICULA)
def test_a_broken_curriculum_leaves_the_old_one(case, command, home, tmp_path):
    content = CURRICULA[case]
    text = content if isinstance(content, str) else json.dumps({"name": "x"} | content)
    (tmp_path / "c.json").write_text(text)
    command("curriculum", "load")
    before = rows(home, "topics")
    assert_refused(command("curriculum", "load", tmp_path / "c.json"), "c.json")
    assert rows(home, "topics") == before >= 60


# Databases


def _ruined(kind: str, home: Path) -> None:
    file = home / "sensei.db"
    if kind == "no database":
        file.write_bytes(b"hello, I am no database at all. " * 200)
    elif kind == "damaged":
        content = bytearray(file.read_bytes())
        content[8192:] = os.urandom(len(content) - 8192)
        file.write_bytes(content)
    elif kind == "a folder":
        file.unlink()
        file.mkdir()
    else:
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")


RUINED = {
    "no database": ("it is not an SQLite file",),
    "damaged": ("malformed", "restore a backup with"),
    "a folder": ("unable to open",),
    "newer": ("got 9999", "newer software"),
}


@pytest.mark.parametrize("kind", RUINED)
def test_a_ruined_database_is_reported_and_not_changed(kind, command, home, tmp_path):
    (tmp_path / "good.csv").write_text(csv(ROW))
    command("import", tmp_path / "good.csv")
    _ruined(kind, home)
    (tmp_path / "more.csv").write_text(csv("v" + ROW))
    assert_refused(command("import", tmp_path / "more.csv"), *RUINED[kind])
    assert_refused(command("simulate"), *RUINED[kind])
    if kind == "no database":
        assert (home / "sensei.db").read_bytes().startswith(b"hello")
    if kind == "newer":
        assert rows(home) == 1


def test_an_older_database_is_brought_up_to_date_by_an_import(command, home, tmp_path):
    from alembic import command as alembic
    from alembic.config import Config

    from sensei.storage.database import MIGRATIONS, connect

    home.mkdir()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = connect(f"sqlite:///{home / 'sensei.db'}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, "0001")
    engine.dispose()
    (tmp_path / "good.csv").write_text(csv(ROW))
    assert command("import", tmp_path / "good.csv")[0] == 0
    assert rows(home) == 1


def test_a_home_that_is_a_file_or_forbidden_is_reported(command, tmp_path):
    (tmp_path / "good.csv").write_text(csv(ROW))
    for folder in (tmp_path / "good.csv", Path("/proc/sensei")):
        result = command("import", tmp_path / "good.csv", SENSEI_HOME=str(folder))
        assert_refused(result, "SENSEI_HOME")


# Disks


def _disk(folder: Path, *steps: str) -> "subprocess.CompletedProcess[str]":
    """Run shell steps where `folder` is a small disk of its own, seen by these steps only."""
    unshare = shutil.which("unshare")
    prefix = [str(unshare), "--map-root-user", "--mount", "sh", "-c"]
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=40m tmpfs {folder}"
    if (
        unshare is None
        or subprocess.run([*prefix, mount], capture_output=True, check=False).returncode
    ):
        pytest.skip("this system allows no disks of one's own")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SENSEI_")}
    return subprocess.run(
        [*prefix, "; ".join([mount, *steps])],
        env=clean | {"SENSEI_HOME": str(folder / "home"), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_full_disk_stops_an_import_and_free_space_lets_it_continue(tmp_path):
    file, disk = _many(tmp_path / "many.parquet", 60_000), tmp_path / "disk"
    count = f"{sys.executable} -c \"import sqlite3; print(sqlite3.connect('{disk}/home/sensei.db')"
    count += ".execute('SELECT COUNT(*) FROM user_interactions').fetchone())\""
    completed = _disk(
        disk,
        f"mount -o remount,size=4m {disk}",
        f"{SENSEI} import {file}",
        f"echo code $?; {count}",
        f"mount -o remount,size=90m {disk}",
        f"{SENSEI} import {file}",
        f"echo code $?; {count}",
    )
    first, second = completed.stdout.split("code ")[:2]
    assert "database or disk is full" in first, completed.stdout + completed.stderr
    assert "free some space, then repeat" in first
    assert second.startswith("1\n(0,)")
    assert completed.stdout.rstrip().endswith("code 0\n(60000,)")
    assert "Traceback" not in completed.stdout + completed.stderr


def test_a_run_does_not_start_on_a_full_disk_nor_in_a_read_only_folder(tmp_path):
    disk = tmp_path / "disk"
    completed = _disk(
        disk,
        f"{SENSEI} simulate --learners 5 --days 5",
        f"{SENSEI} run; echo code $?",
        f"mount -o remount,ro {disk}",
        f"{SENSEI} run; echo code $?",
    )
    full, forbidden, _ = completed.stdout.split("code 1\n")
    assert "expected 64 MB of free space" in full
    assert "writable, or choose another SENSEI_HOME" in forbidden
    assert "Traceback" not in completed.stdout + completed.stderr


# Interruptions and company


def _start(home: Path, *arguments: object) -> "subprocess.Popen[str]":
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SENSEI_")}
    return subprocess.Popen(
        [str(SENSEI), *map(str, arguments)],
        env=clean | {"SENSEI_HOME": str(home), "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_an_interrupted_import_continues_when_repeated(how, command, home, tmp_path):
    file = _many(tmp_path / "many.parquet", 250_000)
    command("db", "upgrade")
    importing = _start(home, "import", file)
    log = open_log(f"sqlite:///{home / 'sensei.db'}")
    while log.count() == 0 and importing.poll() is None:
        time.sleep(0.02)
    importing.send_signal(how)
    printed, _ = importing.communicate(timeout=60)
    stored = log.count()
    log.close()
    assert 0 < stored < 250_000, printed
    assert "Traceback" not in printed
    if how == signal.SIGINT:
        assert importing.returncode == 130
        assert "repeat the command" in printed
    assert command("import", file)[0] == 0
    assert rows(home) == 250_000


def test_two_imports_at_once_lose_nothing_and_double_nothing(command, home, tmp_path):
    file = _many(tmp_path / "many.parquet", 120_000)
    command("db", "upgrade")
    imports = [_start(home, "import", file) for _ in range(2)]
    for importing in imports:
        printed, _ = importing.communicate(timeout=120)
        assert importing.returncode == 0 or "repeat in a moment" in printed, printed
        assert "Traceback" not in printed
    assert command("import", file)[0] == 0
    assert rows(home) == 120_000


def test_the_command_reports_a_wrong_setting_in_one_line(sensei, tmp_path):
    completed = sensei(tmp_path / "home", "models", ok=False, SENSEI_SEED="abc")
    assert completed.returncode == 1
    assert completed.stdout == (
        "error: SENSEI_SEED: expected a valid integer, got 'abc'; set it so, or unset it\n"
    )
    assert completed.stderr == ""


def test_a_taken_port_is_reported_with_the_setting_that_changes_it(command):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert_refused(command("serve", "--port", port), str(port), "SENSEI_SERVICE_PORT")
    result = command("serve", SENSEI_SERVICE_HOST="nowhere.invalid")
    assert_refused(result, "nowhere.invalid", "SENSEI_SERVICE_HOST")


# Logs too small or one-sided


def _log(path: Path, learners: int, topics: int, kind: str, scores: list[str]) -> Path:
    score = itertools.cycle(scores)
    lines = [
        f"u{u},{kind},{i % topics},{START + timedelta(hours=i, minutes=u)},{next(score)}\n"
        for i in range(30)
        for u in range(learners)
    ]
    path.write_text(HEADER + "".join(lines))
    return path


def test_an_empty_log_cannot_be_trained_on(home):
    settings = Settings(home=home)
    upgrade(settings.log_url)
    with pytest.raises(NotEnoughData, match=r"got none; run `sensei import FILE`"):
        steps.read_moment.fn(settings, None)


@pytest.mark.parametrize(
    ("learners", "topics", "words"),
    [(1, 5, "at least two learners, got 1"), (5, 1, "at least two topics, got 1")],
)
def test_one_learner_or_one_topic_is_refused(learners, topics, words, command, tmp_path):
    file = _log(tmp_path / "log.csv", learners, topics, "quiz_complete", ["0.5", "0.9"])
    assert_refused(command("evaluate", file, "--out", tmp_path / "x.json"), words)
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("kind", "scores", "reason"),
    [
        ("text_read", [""], "no quiz or practice attempt"),
        ("quiz_complete", [""], "no attempt carries a score"),
        ("quiz_complete", ["0.9"], "every attempt of the training part was passed"),
    ],
)
def test_without_outcomes_topics_are_still_learned_and_the_reason_is_stored(
    kind, scores, reason, tmp_path
):
    frame, _ = read_frame(_log(tmp_path / "log.csv", 10, 5, kind, scores), {})
    events = encode(frame)
    prepared = prepare(events, split_by_time(events))
    assert reason in prepared.no_success
    assert len(prepared.train) > 20


def test_a_learner_with_a_hundred_thousand_events_is_read_like_any_other(command, home, tmp_path):
    count = 100_000
    file = _many(tmp_path / "many.parquet", count, learners=1)
    code, printed = command("import", file)
    assert code == 0, printed
    log = open_log(f"sqlite:///{home / 'sensei.db'}")
    assert len(log.read_learner("u0")) == count
    log.close()
    second_file = _many(tmp_path / "others.parquet", 5_000)
    pq.write_table(
        pa.concat_tables([pq.read_table(file), pq.read_table(second_file)]),
        tmp_path / "both.parquet",
    )
    frame, _ = read_frame(tmp_path / "both.parquet", {})
    events = encode(frame)
    prepared = prepare(events, split_by_time(events))
    assert np.isfinite(prepared.train.recommendation).all()
    assert prepared.train.previous.max() > 70_000
