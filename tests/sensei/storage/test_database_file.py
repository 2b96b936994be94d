"""SQLite's file moved, replaced or robbed of its journal while it is open."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sensei.errors import StorageUnavailable
from sensei.events.log import Log, open_log
from sensei.storage import database
from sensei.storage.database_file import DatabaseFile, Identity

EVENT = {"user_id": "mia", "interaction_type": "text_read", "topic_id": 1}


def event(n: int) -> list[dict[str, Any]]:
    return [EVENT | {"event_id": str(n), "timestamp": "2026-01-01T00:00:00Z"}]


def count(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM user_interactions").fetchone()[0])


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "sensei.db"
    database.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def home(tmp_path: Path, empty: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    shutil.copy(empty, made / "sensei.db")
    return made


@pytest.fixture
def log(home: Path) -> Any:
    opened = open_log(f"sqlite:///{home / 'sensei.db'}")
    opened.append(event(0))
    yield opened
    opened.close()


@pytest.fixture
def other(tmp_path: Path, empty: Path) -> Path:
    """Another database of the same schema, as a backup is."""
    return Path(shutil.copy(empty, tmp_path / "other.db"))


def move(home: Path, _: Path) -> None:
    (home / "sensei.db").rename(home / "moved.db")


def remove(home: Path, _: Path) -> None:
    (home / "sensei.db").unlink()


def replace(home: Path, other: Path) -> None:
    shutil.copy(other, home / "copy.db")
    (home / "copy.db").replace(home / "sensei.db")


def move_folder(home: Path, _: Path) -> None:
    home.rename(home.with_name("elsewhere"))


def remove_journal(home: Path, _: Path) -> None:
    (home / "sensei.db-wal").unlink()


def remove_memory(home: Path, _: Path) -> None:
    (home / "sensei.db-shm").unlink()


def remove_both(home: Path, _: Path) -> None:
    remove_journal(home, _)
    remove_memory(home, _)


FAULTS = [move, remove, replace, move_folder, remove_journal, remove_memory, remove_both]


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_written_once_the_file_is_not_what_was_opened(
    log: Log, home: Path, other: Path, fault: Callable[[Path, Path], None]
) -> None:
    fault(home, other)
    for n in (1, 2):
        with pytest.raises(StorageUnavailable, match=r"^log: expected the (file|journal)"):
            log.append(event(n))
    with pytest.raises(StorageUnavailable, match=r"^log: expected the (file|journal)"):
        log.count()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_committed_after_the_file_was_moved_is_not_acknowledged(
    log: Log, home: Path, other: Path, fault: Callable[[Path, Path], None]
) -> None:
    def write() -> None:
        with database.write_transaction(log.engine) as connection:
            connection.exec_driver_sql("INSERT INTO facts VALUES ('written', '1')")
            fault(home, other)

    with pytest.raises(StorageUnavailable, match=r"^log: expected the (file|journal)"):
        write()


@pytest.mark.parametrize("fault", [remove_journal, remove_memory, remove_both])
def test_what_was_acknowledged_survives_the_removal_of_the_journal_and_a_kill(
    home: Path, other: Path, fault: Callable[[Path, Path], None]
) -> None:
    child = os.fork()
    if not child:
        log = open_log(f"sqlite:///{home / 'sensei.db'}")
        for n in range(5):
            log.append(event(n))
        fault(home, other)
        try:
            log.append(event(9))
        except StorageUnavailable:
            os._exit(7)  # closes nothing, as SIGKILL
        os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert count(home / "sensei.db") == 5


def test_a_file_that_is_put_back_is_used_again(log: Log, home: Path) -> None:
    home.rename(home.with_name("elsewhere"))
    with pytest.raises(StorageUnavailable):
        log.append(event(1))
    home.with_name("elsewhere").rename(home)
    assert log.append(event(1)).inserted == 1
    (home / "sensei.db").rename(home / "moved.db")
    with pytest.raises(StorageUnavailable):
        log.append(event(2))
    (home / "moved.db").rename(home / "sensei.db")
    assert log.append(event(2)).inserted == 1
    assert log.count() == count(home / "sensei.db") == 3


def test_a_file_put_in_the_place_is_not_damaged_by_the_journal_of_the_first(
    log: Log, home: Path, other: Path
) -> None:
    theirs = open_log(f"sqlite:///{other}")
    theirs.append(event(100))
    theirs.close()
    for n in range(1, 50):
        log.append(event(n))
    (home / "sensei.db").rename(home / "moved.db")
    shutil.copy(other, home / "sensei.db")
    with pytest.raises(StorageUnavailable, match="got another at its path"):
        log.append(event(50))
    later = open_log(f"sqlite:///{home / 'sensei.db'}")
    assert later.append(event(101)).inserted == 1
    log.close()
    assert later.append(event(102)).inserted == 1
    later.close()
    assert count(home / "sensei.db") == 3
    assert count(home / "moved.db") == 50


def test_engines_that_share_a_file_open_no_other_one(home: Path, other: Path) -> None:
    url = f"sqlite:///{home / 'sensei.db'}"
    file = database.database_file(url)
    assert file
    first = open_log(url, file=file)
    first.append(event(1))
    replace(home, other)
    with pytest.raises(StorageUnavailable, match="got another at its path"):
        open_log(url, file=file).append(event(2))
    first.close()
    file.close()
    assert count(home / "sensei.db") == 0
    again = open_log(url, file=file)
    assert again.append(event(3)).inserted == 1
    again.close()
    file.close()


def test_an_engine_disposed_of_may_open_another_file(home: Path, other: Path) -> None:
    log = open_log(f"sqlite:///{home / 'sensei.db'}")
    log.append(event(1))
    log.close()
    replace(home, other)
    assert log.append(event(2)).inserted == 1
    log.close()
    assert count(home / "sensei.db") == 1


def test_a_file_that_was_written_over_is_said_to_be_damaged_from_then_on(
    log: Log, home: Path
) -> None:
    log.append([event(n)[0] for n in range(1, 5_000)])
    log.close()
    with (home / "sensei.db").open("r+b") as file:
        file.seek(100)  # the header stays
        file.write(b"\xff" * 200_000)
    with pytest.raises(StorageUnavailable, match="malformed"):
        log.count()
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match=r"^log: expected a whole file"):
            log.append(event(1))


def test_damage_noted_while_another_thread_looks_is_not_forgotten(home: Path) -> None:
    damage = sqlite3.DatabaseError("malformed")
    damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT

    class NotedMeanwhile(DatabaseFile):
        """File of which another thread notes damage while `look` has just compared it."""

        noting: Thread | None = None

        def _at_path(self) -> tuple[Identity, ...]:
            present = super()._at_path()
            if self.noting is None and self._opened is not None:
                self.noting = Thread(target=self.note, args=[damage])
                self.noting.start()
                self.noting.join(0.2)  # it ends only after the look, if the look holds the lock
            return present

    file = NotedMeanwhile(str(home / "sensei.db"))
    file.pin()
    file.look()
    assert file.noting
    file.noting.join()
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match=r"^log: expected a whole file"):
            file.check()
    file.close()
