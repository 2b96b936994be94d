import random
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import insert, select

from sensei.app_state import RETRAINING_DUE
from sensei.errors import LearnerErased, StorageUnavailable
from sensei.events import rules
from sensei.events.importer import import_files
from sensei.events.log import Log, open_log
from sensei.events.merging import merge_learners
from sensei.events.rules_arrow import check_table
from sensei.privacy.erasure import erase, export, personal_tables
from sensei.storage import database
from sensei.storage.db_copy import copy_database
from sensei.storage.tables import ErasedLearner, LearnerRow, Prediction

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CANARY = "canary-Zébra"


def event(**values: object) -> dict[str, Any]:
    return {
        "user_id": CANARY,
        "interaction_type": "quiz_complete",
        "topic_id": 1,
        "score": 0.5,
        "timestamp": NOW - timedelta(days=1),
    } | values


def fill(log: Log) -> None:
    """Write a row of the canary to every table that names learners, and rows of others."""
    former = f"former {CANARY}"
    log.append([event(), event(user_id=former, topic_id=2), event(user_id="bob")], NOW)
    merge_learners(log.engine, former, CANARY)
    log.quarantine_interactions({log.read_learner(CANARY)[0].id: f"{CANARY} is odd"}, "odd")
    row = {
        "kind": "recommendation",
        "model": "m",
        "arm": "champion",
        "propensity": 0.9,
        "answer": {"for": CANARY},
        "created_at": NOW,
    }
    with database.write_transaction(log.engine) as connection:
        for user_id in (CANARY, "bob"):
            values = row | {"user_id": user_id, "prediction_id": user_id}
            connection.execute(insert(Prediction).values(values))


def test_an_export_holds_every_row_of_the_learner_and_of_nobody_else(log: Log) -> None:
    fill(log)
    held = export(log.engine, CANARY)
    assert {table.name for table in personal_tables()} == set(held)
    assert {name for name, rows in held.items() if not rows} == set()
    assert len(held["user_interactions"]) == 3, "the event of the former id, before and after"
    assert "bob" not in str(held)
    assert not any(export(log.engine, "nobody").values())


def test_after_an_erase_no_table_names_the_learner_and_the_others_are_as_before(log: Log) -> None:
    fill(log)
    others = export(log.engine, "bob")
    counts = erase(log.engine, CANARY, [])
    assert counts["user_interactions"] == 3
    assert all(counts[table.name] for table in personal_tables())
    assert not any(export(log.engine, CANARY).values())
    assert export(log.engine, "bob") == others
    assert (log.revision(CANARY), log.read_learner(CANARY)) == (None, [])


def test_what_is_queued_or_imported_again_does_not_bring_the_learner_back(
    log: Log, tmp_path: Path
) -> None:
    fill(log)
    erase(log.engine, CANARY, [])
    with pytest.raises(LearnerErased) as raised:
        log.append([event(user_id="eve"), event()], NOW)
    assert CANARY not in str(raised.value)
    file = tmp_path / "again.csv"
    file.write_text(
        "user_id,interaction_type,topic_id,score,timestamp\n"
        f"{CANARY},quiz_complete,1,0.5,2026-01-01\n{CANARY},quiz_complete,1,85,2026-01-01\n"
        "eve,quiz_complete,1,0.5,2026-01-01\n",
        encoding="utf-8",
    )
    imported = import_files(log, [file], {})
    assert (imported.read, imported.inserted, imported.erased) == (3, 1, 2)
    assert not any(export(log.engine, CANARY).values())
    assert log.revision("eve") == 1


def test_one_never_seen_may_be_erased_before_the_first_write(log: Log) -> None:
    assert not any(erase(log.engine, CANARY, []).values())
    with pytest.raises(LearnerErased):
        log.append([event()], NOW)


def test_the_number_of_the_log_grows_and_never_comes_twice(log: Log) -> None:
    seen = [log.log_revision()]
    for _ in range(2):
        log.append([event(user_id="bob", topic_id=len(seen))], NOW)
        seen.append(log.log_revision())
        erase(log.engine, CANARY, [])
        seen.append(log.log_revision())
    assert seen == sorted(set(seen))


def test_the_bundle_that_learnt_from_the_learner_is_flagged(log: Log) -> None:
    log.append([event()], NOW)
    erase(log.engine, CANARY, [])
    assert log.get_fact(RETRAINING_DUE) is None  # nothing serves
    log.append([event(user_id="bob")], NOW)
    log.set_pointer("digest")
    erase(log.engine, "bob", [])
    assert log.get_fact(RETRAINING_DUE)["bundle"] == "digest"
    log.set_pointer("next")
    log.append([event(user_id="late")], datetime.now(UTC))
    erase(log.engine, "late", [])
    assert log.get_fact(RETRAINING_DUE)["bundle"] == "digest"


def test_a_copied_database_still_refuses_whom_the_first_one_erased(
    sqlite_url: str, empty_postgres_url: str
) -> None:
    old = open_log(sqlite_url)
    erase(old.engine, CANARY, [])
    old.close()
    copy_database(sqlite_url, empty_postgres_url)
    new = open_log(empty_postgres_url)
    with pytest.raises(LearnerErased):
        new.append([event()], NOW)
    new.close()


def test_writers_at_work_leave_nothing_of_the_learner_behind(log: Log, log_url: str) -> None:
    """Four connections go on writing about the learner, alone and in tables, through the erase."""
    stop, failed = threading.Event(), []

    def write(name: int) -> None:
        mine, count, refused = open_log(log_url), 0, 0
        while not (stop.is_set() and refused):
            count += 1
            sent = [
                event(event_id=f"{name}-{count}"),
                event(user_id=f"b{name}", event_id=f"{count}"),
            ]
            try:
                if name % 2:
                    table, _ = check_table(pa.Table.from_pylist(sent), rules.latest(NOW))
                    refused += mine.append_table(table, "file", now=NOW).erased
                else:
                    mine.append(sent, NOW)
            except LearnerErased:
                refused += 1
            except BaseException as error:
                failed.append(error)
                break
        mine.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for each in threads:
        each.start()
    while len(log.read_learner(CANARY)) < 20 and not failed:
        pass
    erase(log.engine, CANARY, [])
    stop.set()
    for each in threads:
        each.join()
    assert not failed
    assert not any(export(log.engine, CANARY).values())
    with log.engine.connect() as connection:
        assert (
            connection.execute(select(LearnerRow.revision).where(LearnerRow.revision == 0)).all()
            == []
        )
        assert len(connection.execute(select(ErasedLearner)).all()) == 1


def holding(folder: Path, name: str) -> list[Path]:
    """Files below a folder whose bytes hold a name, as text or as JSON escapes it."""
    spelled = (name.encode(), name.encode("ascii", "backslashreplace"))
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and any(each in path.read_bytes() for each in spelled)
    ]


def test_no_byte_below_the_home_holds_the_name(sqlite_url: str, tmp_path: Path) -> None:
    """Ten thousand events of many learners in random order: pages split, cells move."""
    log, rng = open_log(sqlite_url), random.Random(1)
    users = [f"learner {rng.random()}" for _ in range(300)] + [CANARY] * 10
    for batch in range(20):
        sent = [
            event(
                user_id=rng.choice(users),
                event_id=f"{rng.random()}",
                timestamp=NOW - timedelta(seconds=rng.randrange(10**6)),
                metadata={"note": CANARY} if batch == 3 else None,
            )
            for _ in range(500)
        ]
        log.append([each for each in sent if batch != 3 or each["user_id"] == CANARY], NOW)
    fill(log)
    (tmp_path / "runs" / "1").mkdir(parents=True)
    log.read().to_parquet(tmp_path / "runs" / "1" / "interactions.parquet")
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "cached").write_text(CANARY)
    assert len(holding(tmp_path, CANARY)) >= 3
    erase(log.engine, CANARY, [tmp_path / "runs", tmp_path / "evaluations", tmp_path / "absent"])
    assert holding(tmp_path, CANARY) == []
    assert log.count() > 5_000
    log.close()
    assert holding(tmp_path, CANARY) == []


def test_rows_that_an_older_software_deleted_are_overwritten_too(
    sqlite_url: str, tmp_path: Path
) -> None:
    log = open_log(sqlite_url)
    log.append([event(event_id=f"{n}") for n in range(2_000)], NOW)
    with log.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA secure_delete = OFF")
        connection.exec_driver_sql("DELETE FROM user_interactions")
        connection.commit()
    assert holding(tmp_path, CANARY)
    erase(log.engine, CANARY, [])
    assert holding(tmp_path, CANARY) == []
    log.close()


def test_a_reader_of_old_pages_is_waited_for_then_said_and_a_repeat_completes(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensei.privacy.erasure._WAIT_SECONDS", 0.1)
    log, reader = open_log(sqlite_url), open_log(sqlite_url)
    fill(log)
    with database.read_connection(reader.engine) as connection:
        connection.exec_driver_sql("SELECT * FROM user_interactions").fetchone()
        with pytest.raises(StorageUnavailable, match="repeat it"):
            erase(log.engine, CANARY, [])
    assert not any(export(log.engine, CANARY).values())
    erase(log.engine, CANARY, [])
    assert holding(tmp_path, CANARY) == []
    log.close()
    reader.close()


COUNT = """
import sqlite3, sys
log = sqlite3.connect(sys.argv[1])
print(log.execute("SELECT COUNT(*) FROM user_interactions").fetchone()[0])
log.close()
"""


def test_other_processes_see_what_is_written_after_an_erase(sqlite_url: str) -> None:
    """One that opens and closes the log must not take the journal of this one away."""
    log = open_log(sqlite_url)
    fill(log)
    erase(log.engine, CANARY, [])
    others = [sys.executable, "-c", COUNT, str(log.engine.url.database)]
    before = int(subprocess.check_output(others))
    log.append([event(user_id="bob", topic_id=3)], NOW)
    assert int(subprocess.check_output(others)) == before + 1
    log.close()


def test_a_file_that_was_moved_away_is_said_to_be_out_of_reach(
    sqlite_url: str, tmp_path: Path
) -> None:
    log = open_log(sqlite_url)
    file = Path(str(log.engine.url.database))
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(StorageUnavailable, match="got none at its path"):
        erase(log.engine, CANARY, [])
    log.close()
