"""A backup is whole, private and verified; a restore brings back no erased learner and no key."""

import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sensei.access import key_store
from sensei.errors import InvalidInput, LearnerErased, StorageUnavailable
from sensei.events.log import open_log
from sensei.privacy import audit_log
from sensei.privacy.erasure import erase, export
from sensei.privacy.reapply import reapply, unapplied
from sensei.privacy.restore import restore
from sensei.privacy.suppression import read_list
from sensei.settings import Settings
from sensei.storage import database, postgres_tools
from sensei.storage.backup import back_up
from sensei.storage.sqlite_copy import KEPT, automatic_copies

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CANARY = "canary-Zébra"


def event(user_id: str, topic_id: int = 1) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "interaction_type": "quiz_complete",
        "topic_id": topic_id,
        "score": 0.5,
        "timestamp": NOW,
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def home(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """A home whose log holds two learners, on each backend in turn."""
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("empty_postgres_url")
    settings = Settings(home=tmp_path / "home", database_url=url)
    settings.root.mkdir()
    database.upgrade(settings.log_url)
    with closing(open_log(settings.log_url)) as log:
        log.append([event(CANARY), event(CANARY, 2), event("bob")], NOW)
    return settings


def erase_in(settings: Settings, name: str) -> None:
    with closing(open_log(settings.log_url)) as log:
        erase(log.engine, name, settings.emptied_by_erase, settings.suppression)


def names_in(settings: Settings) -> set[str]:
    with (
        closing(open_log(settings.log_url)) as log,
        database.read_connection(log.engine) as connection,
    ):
        return set(connection.execute(text("SELECT user_id FROM learners")).scalars())


def test_a_backup_is_private_verified_and_replaces_nothing(home: Settings, tmp_path: Path) -> None:
    file = tmp_path / "log.backup"
    made = back_up(home.log_url, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made.size == file.stat().st_size
    assert (made.content.rows["user_interactions"], made.content.rows["learners"]) == (3, 2)
    with pytest.raises(InvalidInput, match="exists"):
        back_up(home.log_url, file)
    assert [each.name for each in tmp_path.iterdir() if "part" in each.name] == []


def test_a_restore_brings_back_what_was_there_but_nobody_erased_since(
    home: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "yesterday"
    back_up(home.log_url, file)
    erase_in(home, CANARY)
    with closing(open_log(home.log_url)) as log:
        log.append([event("late")], NOW)
    done = restore(home, file)
    assert names_in(home) == {"bob"}
    assert done.reapplied.learners == {CANARY}
    assert (done.before.rows["learners"], done.content.rows["learners"]) == (2, 1)
    assert done.replaced is not None
    assert stat.S_IMODE(done.replaced.stat().st_mode) == 0o600
    with closing(open_log(home.log_url)) as log:
        assert not any(export(log.engine, CANARY).values())
        with pytest.raises(LearnerErased):  # the tombstone came back, too
            log.append([event(CANARY)], NOW)
        log.append([event("new")], NOW)  # keys of rows go on where the backup ended


def test_the_list_that_is_restored_by_names_no_learner(home: Settings) -> None:
    erase_in(home, CANARY)
    text_of_list = home.suppression.read_text()
    assert CANARY not in text_of_list
    assert "canary" not in text_of_list.lower()
    assert stat.S_IMODE(home.suppression.stat().st_mode) == 0o600


def test_one_erased_who_was_never_seen_stays_refused_after_a_restore(
    home: Settings, tmp_path: Path
) -> None:
    back_up(home.log_url, tmp_path / "b")
    erase_in(home, "never seen")
    restore(home, tmp_path / "b")
    with closing(open_log(home.log_url)) as log, pytest.raises(LearnerErased):
        log.append([event("never seen")], NOW)


def test_a_key_that_was_revoked_since_stays_revoked(home: Settings, tmp_path: Path) -> None:
    with closing(open_log(home.log_url)) as log:
        key, _ = key_store.create(log.engine, "operator")
        stays, _ = key_store.create(log.engine, "platform")
        back_up(home.log_url, tmp_path / "b")
        key_store.revoke(log.engine, key.key_id, suppression=home.suppression)
    done = restore(home, tmp_path / "b")
    assert [each.key_id for each in done.reapplied.keys] == [key.key_id]
    assert done.content.keys == {stays.key_id}


def test_erasures_that_only_the_replaced_database_knows_are_applied_too(
    home: Settings, tmp_path: Path
) -> None:
    """On PostgreSQL they were made on another machine, whose home has a list of its own."""
    back_up(home.log_url, tmp_path / "b")
    with closing(open_log(home.log_url)) as log:
        erase(log.engine, CANARY, (), tmp_path / "elsewhere.jsonl")
        key, _ = key_store.create(log.engine, "operator")
        key_store.revoke(log.engine, key.key_id)
    restore(home, tmp_path / "b")
    assert names_in(home) == {"bob"}
    assert [each.key_id for each in read_list(home.suppression).revocations] == [key.key_id]


def test_revisions_never_fall_so_no_cache_takes_old_content_for_new(
    home: Settings, tmp_path: Path
) -> None:
    back_up(home.log_url, tmp_path / "b")
    with closing(open_log(home.log_url)) as log:
        log.append([event("bob", topic) for topic in range(2, 30)], NOW)
        seen, whole = log.revision("bob"), log.log_revision()
    restore(home, tmp_path / "b")
    with closing(open_log(home.log_url)) as log:
        assert log.revision("bob") > seen
        assert log.log_revision() > whole


def test_an_empty_home_is_restored_from_a_backup(home: Settings, tmp_path: Path) -> None:
    back_up(home.log_url, tmp_path / "b")
    if home.database_url:
        engine = database.connect(home.log_url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
    else:
        for file in home.root.glob("sensei.db*"):
            file.unlink()
    done = restore(home, tmp_path / "b")
    assert (done.before, done.replaced) == (None, None)
    assert names_in(home) == {CANARY, "bob"}


def test_a_cut_or_foreign_file_replaces_nothing(home: Settings, tmp_path: Path) -> None:
    back_up(home.log_url, tmp_path / "b")
    whole = (tmp_path / "b").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text").write_text("hello")
    foreign = tmp_path / "foreign"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE t (a)")
    for name in ("cut", "text", "foreign", "absent"):
        with pytest.raises((InvalidInput, StorageUnavailable)) as raised:
            restore(home, tmp_path / name)
        assert "; " in str(raised.value)
        assert "choose another SENSEI_HOME" not in str(raised.value)
    assert names_in(home) == {CANARY, "bob"}


def test_a_restore_while_somebody_uses_the_database_is_refused(
    home: Settings, tmp_path: Path
) -> None:
    back_up(home.log_url, tmp_path / "b")
    user = (
        "import sys\nfrom sensei.events.log import open_log\n"
        "log = open_log(sys.argv[1]); print(log.count(), flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", user, home.log_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"3\n"
        with pytest.raises(StorageUnavailable, match="stop the"):
            restore(home, tmp_path / "b")
        other.communicate()
    restore(home, tmp_path / "b")


def test_a_database_that_was_put_back_by_other_means_is_noticed_and_repaired(
    home: Settings,
) -> None:
    erase_in(home, CANARY)
    with closing(open_log(home.log_url)) as log:
        seen = log.log_revision()
        with log.engine.begin() as connection:  # as it was before the first erasure
            connection.execute(text("DELETE FROM erased"))
            connection.execute(text("DELETE FROM facts"))
            connection.execute(text(f"INSERT INTO learners VALUES ('{CANARY}', 2, NULL)"))
        found = unapplied(log.engine, home.suppression)
        assert (found.learners, len(found.tombstones)) == ({CANARY}, 1)
        reapply(log.engine, home.suppression, ())
        assert not unapplied(log.engine, home.suppression).is_older
        assert log.log_revision() > seen
        with pytest.raises(LearnerErased):
            log.append([event(CANARY)], NOW)
    assert names_in(home) == {"bob"}


def test_damaged_lines_are_counted_and_the_others_count(home: Settings) -> None:
    erase_in(home, CANARY)
    with home.suppression.open("a") as file:
        file.write('{"erased": "12')  # a crash
    erase_in(home, "eve")
    found = read_list(home.suppression)
    assert (len(found.erasures), found.damaged) == (2, 1)


def test_an_export_from_a_new_database_uses_the_key_of_the_list(home: Settings) -> None:
    """A second key would make the same learner unrecognisable in the audit log and the list."""
    erase_in(home, CANARY)
    (listed,) = read_list(home.suppression).erasures
    with closing(open_log(home.log_url)) as log:
        with log.engine.begin() as connection:  # as it was before the first erasure
            connection.execute(text("DELETE FROM erased"))
            connection.execute(text("DELETE FROM facts"))
        export(log.engine, CANARY, home.suppression)
        assert audit_log.newest(log.engine, 1)[0].subject == listed.tombstone
        assert reapply(log.engine, home.suppression, ()).tombstones == (listed,)
        with pytest.raises(LearnerErased):
            log.append([event(CANARY)], NOW)


# SQLite only


@pytest.fixture
def file_home(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    database.upgrade(settings.log_url)
    with closing(open_log(settings.log_url)) as log:
        log.append([event(CANARY), event("bob")], NOW)
    return settings


def test_an_old_file_copied_back_by_hand_is_noticed_and_repaired(
    file_home: Settings, tmp_path: Path
) -> None:
    file = file_home.root / "sensei.db"
    back_up(file_home.log_url, tmp_path / "b")
    erase_in(file_home, CANARY)
    file.write_bytes((tmp_path / "b").read_bytes())
    with closing(open_log(file_home.log_url)) as log:
        found = unapplied(log.engine, file_home.suppression)
        assert (found.learners, len(found.tombstones)) == ({CANARY}, 1)
        reapply(log.engine, file_home.suppression, ())
        assert not unapplied(log.engine, file_home.suppression).is_older
    assert names_in(file_home) == {"bob"}


def test_erasures_made_under_another_key_are_found_by_their_own(
    file_home: Settings, tmp_path: Path
) -> None:
    erase_in(file_home, CANARY)
    other = Settings(home=tmp_path / "other")
    database.upgrade(other.log_url)
    with closing(open_log(other.log_url)) as log:
        erase(log.engine, "somebody", ())  # makes a key of its own
        log.append([event(CANARY), event("bob")], NOW)
        assert reapply(log.engine, file_home.suppression, ()).learners == {CANARY}
        with pytest.raises(LearnerErased):
            log.append([event(CANARY)], NOW)


def test_a_backup_under_writes_is_one_moment_of_the_log(
    file_home: Settings, tmp_path: Path
) -> None:
    ended = threading.Event()
    acknowledged: list[int] = []

    def write() -> None:
        with closing(open_log(file_home.log_url)) as log:
            while not ended.is_set():
                number = len(acknowledged)
                log.append([event("ann", number), event("zoe", number)], NOW)
                acknowledged.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(acknowledged) < 20:
            ended.wait(0.01)
        before = len(acknowledged)
        back_up(file_home.log_url, tmp_path / "b")
    finally:
        ended.set()
        writer.join()
    with closing(sqlite3.connect(tmp_path / "b")) as backup:
        counted = dict(
            backup.execute("SELECT user_id, count(*) FROM user_interactions GROUP BY user_id")
        )
    assert counted["ann"] == counted["zoe"] >= before


def test_a_database_is_not_restored_from_itself(file_home: Settings) -> None:
    with pytest.raises(InvalidInput, match="itself"):
        restore(file_home, file_home.root / "sensei.db")


def test_a_restore_that_is_killed_leaves_the_old_database(
    file_home: Settings, tmp_path: Path
) -> None:
    back_up(file_home.log_url, tmp_path / "b")
    with closing(open_log(file_home.log_url)) as log:
        log.append([event("late")], NOW)
    killed = (
        "import os, sys\nfrom pathlib import Path\nfrom sensei.privacy import restore\n"
        "from sensei.settings import Settings\n"
        "restore.reapply = lambda *_: os._exit(9)\n"
        "restore.restore(Settings(home=Path(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", killed, str(file_home.root), str(tmp_path / "b")]
    assert subprocess.run(command).returncode == 9
    assert names_in(file_home) == {CANARY, "bob", "late"}
    erase_in(file_home, CANARY)  # what the killed one left holds learners
    assert holding(CANARY, file_home.root) == []


def holding(name: str, folder: Path) -> list[str]:
    found = [each for each in folder.rglob("*") if each.is_file()]
    return [each.name for each in found if name.encode() in each.read_bytes()]


def test_a_damaged_database_is_replaced_and_kept(file_home: Settings, tmp_path: Path) -> None:
    file = file_home.root / "sensei.db"
    back_up(file_home.log_url, tmp_path / "b")
    file.write_bytes(b"nonsense" * 1000)
    done = restore(file_home, tmp_path / "b")
    assert done.unread
    assert done.replaced.read_bytes().startswith(b"nonsense")
    assert names_in(file_home) == {CANARY, "bob"}


Older = Callable[[str], None]


def test_an_upgrade_copies_what_it_changes_and_keeps_the_newest_copies(
    file_home: Settings, make_older: Older
) -> None:
    file = file_home.root / "sensei.db"
    for _ in range(KEPT + 1):
        make_older(file_home.log_url)
        copy = database.upgrade(file_home.log_url)
        assert copy is not None
        with closing(sqlite3.connect(copy)) as old:
            version = old.execute("SELECT version_num FROM alembic_version").fetchone()
            assert version == ("0003",)
            assert old.execute("SELECT count(*) FROM user_interactions").fetchone() == (2,)
        assert "0003" in copy.name
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert database.upgrade(file_home.log_url) is None
    assert len(automatic_copies(file)) == KEPT


def test_an_erase_leaves_no_name_in_the_automatic_copies(
    file_home: Settings, tmp_path: Path, make_older: Older
) -> None:
    back_up(file_home.log_url, tmp_path / "b")
    restore(file_home, tmp_path / "b")
    make_older(file_home.log_url)
    database.upgrade(file_home.log_url)
    assert len(automatic_copies(file_home.root / "sensei.db")) == 2
    assert len(holding(CANARY, file_home.root)) == 3
    erase_in(file_home, CANARY)
    assert holding(CANARY, file_home.root) == []


def test_a_backup_of_an_older_schema_is_brought_up_to_date(
    file_home: Settings, tmp_path: Path, make_older: Older
) -> None:
    make_older(file_home.log_url)
    back_up(file_home.log_url, tmp_path / "b")
    database.upgrade(file_home.log_url)
    erase_in(file_home, CANARY)
    restore(file_home, tmp_path / "b")
    assert names_in(file_home) == {"bob"}


def test_an_erasure_that_cannot_be_recorded_erases_nothing(file_home: Settings) -> None:
    file_home.suppression.mkdir()
    with pytest.raises(StorageUnavailable, match="suppression list"):
        erase_in(file_home, CANARY)
    assert names_in(file_home) == {CANARY, "bob"}


# PostgreSQL only


def test_no_argument_of_a_tool_holds_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(command: Any, **options: Any) -> Any:
        seen.append((command, options["env"]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(postgres_tools.subprocess, "run", run)
    url = "postgresql://ann:s3cret@db.example:5433/log?sslmode=disable&keepalives=1"
    postgres_tools.dump(database.connect(url), ["facts"], "1-1", Path("x"))
    (command, environment) = seen[0]
    assert "s3cret" not in str(command)
    assert environment["PGPASSWORD"] == "s3cret"
    assert (environment["PGHOST"], environment["PGPORT"]) == ("db.example", "5433")
    assert "keepalives" in str(command)


def test_without_postgresqls_tools_the_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres_tools, "_INSTALLED", str(tmp_path))
    with pytest.raises(StorageUnavailable, match="postgresql-client"):
        postgres_tools.find_tool("pg_dump")


def test_a_damaged_copy_is_removed_by_an_erase(file_home: Settings, make_older: Older) -> None:
    make_older(file_home.log_url)
    copy = database.upgrade(file_home.log_url)
    assert copy
    copy.write_bytes(b"nonsense" * 1000)
    erase_in(file_home, CANARY)
    assert not copy.exists()
    assert names_in(file_home) == {"bob"}
