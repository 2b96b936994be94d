import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from features.events import encode
from sensei.errors import ConflictingEvent, InvalidInput, StorageUnavailable
from sensei.events import bulk_read, rules
from sensei.events.log import Log, open_log
from sensei.events.rules_arrow import check_table
from sensei.storage import database

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def event(**values: object) -> dict[str, object]:
    return {
        "user_id": "ada",
        "interaction_type": "quiz_complete",
        "topic_id": 1,
        "score": 0.5,
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
    } | values


def checked(rows: list[dict[str, object]]) -> pa.Table:
    return check_table(pa.Table.from_pylist(rows), rules.latest(NOW))[0]


def many(count: int, user_id: str = "ada") -> pa.Table:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    return checked(
        [event(user_id=user_id, timestamp=start + timedelta(minutes=n)) for n in range(count)]
    )


def test_an_empty_log_reads_as_an_empty_frame(log: Log) -> None:
    assert log.is_empty()
    assert log.last_event() is None
    assert log.read().empty
    assert log.read_learner("nobody") == []
    assert log.revision("nobody") is None
    assert log.log_revision() == 0


def test_what_was_appended_is_read_back(log: Log) -> None:
    details = {"item_id": 7, "difficulty": "hard", "extra": "é"}
    log.append([event(user_id="Zoë 李", duration_seconds=30, metadata=details)], NOW)
    row = log.read(metadata=True).iloc[0]
    assert row["user_id"] == "Zoë 李"
    assert (row["item_id"], row["difficulty"], row["score"]) == ("7", "hard", 0.5)
    assert row["duration_seconds"] == 30
    assert row["timestamp"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert row["metadata"] == '{"difficulty":"hard","extra":"é","item_id":7}'


def test_the_same_event_twice_is_kept_once(log: Log) -> None:
    sent = [event(), event(event_id="e", score=None)]
    assert log.append(sent, NOW).inserted == 2
    revision = log.revision("ada")
    again = log.append(sent, NOW)
    assert (again.inserted, again.repeated) == (0, 2)
    assert log.count() == 2
    assert log.revision("ada") == revision


TIED = [event(topic_id=topic) for topic in (5, 3, 8, 1, 9, 2)]


def test_events_of_one_time_stay_in_order_of_arrival(log: Log) -> None:
    log.append(TIED[:1], NOW)
    log.append(TIED[1:4], NOW)
    for one in TIED[4:]:
        log.append([one], NOW)
    learner = [event.topic_id for event in log.read_learner("ada")]
    assert learner == [5, 3, 8, 1, 9, 2]
    assert log.read()["topic_id"].to_list() == learner
    events = encode(log.read())
    assert events.topic_ids[events.topic].tolist() == learner, "training reads the same order"


@pytest.mark.parametrize("count", [10, 3000])  # above 1,000 PostgreSQL takes another way
def test_rows_of_one_table_and_time_stay_in_their_order(log: Log, count: int) -> None:
    users = ("ada", "bob", "cid")
    rows = [event(user_id=users[n % 3], topic_id=(7 * n) % 1009) for n in range(count)]
    log.append_table(checked([row | {"event_id": f"{n}"} for n, row in enumerate(rows)]), "file")
    for user_id in users:
        sent = [row["topic_id"] for row in rows if row["user_id"] == user_id]
        assert [event.topic_id for event in log.read_learner(user_id)] == sent


def test_identical_events_with_a_time_but_no_id_count_once(log: Log) -> None:
    assert log.append([event(), event(), event(topic_id=2)], NOW).inserted == 2
    assert log.append([event(), event()], NOW).inserted == 0
    table = checked([event(), event(topic_id=3), event(topic_id=3)])
    assert log.append_table(table, "file").inserted == 1


def test_events_without_id_and_time_always_count(log: Log) -> None:
    sent = {name: value for name, value in event().items() if name != "timestamp"}
    assert log.append([sent, sent], NOW).inserted == 2


def test_an_id_with_another_payload_is_refused_and_nothing_is_written(log: Log) -> None:
    log.append([event(event_id="e")], NOW)
    with pytest.raises(ConflictingEvent, match="first sent with it"):
        log.append([event(event_id="new"), event(event_id="e", score=1.0)], NOW)
    assert log.count() == 1
    assert log.revision("ada") == 1


def test_one_id_may_be_used_by_two_learners(log: Log) -> None:
    log.append([event(event_id="e"), event(event_id="e", user_id="bob", score=1)], NOW)
    assert log.count() == 2


def test_two_payloads_of_one_id_in_one_batch_conflict(log: Log) -> None:
    with pytest.raises(ConflictingEvent):
        log.append([event(event_id="e"), event(event_id="e", topic_id=2)], NOW)
    assert log.is_empty()


def test_one_bad_event_refuses_the_whole_batch(log: Log) -> None:
    with pytest.raises(InvalidInput, match=r"got 85; send 0\.85"):
        log.append([event(), event(score=85)], NOW)
    assert log.is_empty()


def test_an_event_in_the_future_is_refused(log: Log) -> None:
    log.append([event(timestamp=NOW + timedelta(minutes=5))], NOW)
    with pytest.raises(InvalidInput, match="5 minutes in the future"):
        log.append([event(timestamp=NOW + timedelta(minutes=5, seconds=1))], NOW)


@pytest.mark.parametrize("count", [10, 3000])  # above 1,000 PostgreSQL takes another way
def test_a_table_repeats_and_conflicts_as_single_events_do(log: Log, count: int) -> None:
    table = many(count)
    assert log.append_table(table, "file", now=NOW).inserted == count
    assert log.append_table(table, "file", now=NOW).repeated == count
    scores = pa.array([1.0] + [0.5] * (count - 1))
    changed = table.set_column(table.column_names.index("score"), "score", scores)
    appended = log.append_table(changed, "file", now=NOW)
    assert (appended.inserted, appended.repeated, len(appended.conflicts)) == (0, count - 1, 1)
    assert log.count() == count
    assert set(log.read()["score"]) == {0.5}


def test_every_write_raises_the_revision_of_its_learners_only(log: Log) -> None:
    log.append([event(), event(user_id="bob")], NOW)
    log.append([event(topic_id=2)], NOW)
    assert (log.revision("ada"), log.revision("bob")) == (2, 1)
    before = log.log_revision()
    log.quarantine_interactions({log.read_learner("bob")[0].id: "odd"}, "odd")
    assert (log.revision("ada"), log.revision("bob")) == (2, 2)
    assert log.log_revision() > before


def test_quarantined_interactions_are_read_no_more(log: Log) -> None:
    log.append([event(topic_id=1), event(topic_id=2)], NOW)
    first = log.read_learner("ada")[0]
    assert log.quarantine_interactions({first.id: "odd"}, "rule") == 1
    assert log.quarantine_interactions({first.id: "odd"}, "rule") == 0
    assert log.count() == 2
    assert first.topic_id not in set(log.read()["topic_id"])
    assert [each.id for each in log.read_learner("ada")] != [first.id]


def test_a_learners_events_come_by_time_then_arrival(log: Log) -> None:
    day = datetime(2026, 1, 2, tzinfo=UTC)
    ids = ["b", "B", "é", "a"]
    log.append([event(event_id=each, timestamp=day) for each in ids] + [event(event_id="z")], NOW)
    assert [each.event_id for each in log.read_learner("ada")] == ["z", *ids]
    newest = max(each.id for each in log.read_learner("ada"))
    log.append([event(event_id="later", timestamp=day)], NOW)
    assert [each.event_id for each in log.read_learner("ada", newest)] == ["later"]


def test_a_window_is_half_open(log: Log) -> None:
    day = timedelta(days=1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    log.append([event(timestamp=start + n * day, topic_id=n) for n in range(4)], NOW)
    frame = log.read(since=start + day, until=start + 3 * day)
    assert sorted(frame["topic_id"]) == [1, 2]
    assert log.last_event() == start + 3 * day


def test_named_columns_are_read_alone(log: Log) -> None:
    log.append([event()], NOW)
    assert list(log.read(columns=["user_id", "topic_id"]).columns) == ["user_id", "topic_id"]
    with pytest.raises(ValueError, match="columns"):
        log.read(columns=["1; DROP TABLE learners"])


def test_a_large_log_reads_the_same_through_a_reader_of_its_own(sqlite_url: str) -> None:
    log = open_log(sqlite_url)
    log.append([event(metadata={"item_id": "ü"}), event(score=None)], NOW)
    columns = [*bulk_read.TYPES]
    small = bulk_read.read(log.engine, columns, "")
    large = bulk_read.read(log.engine, columns, "", large=0)
    assert small.sort_by("id").equals(large.sort_by("id"))
    log.append([event(topic_id=9)], NOW)  # the reader must not have taken our locks away
    assert bulk_read.read(log.engine, ["id"], "", large=0).num_rows == 3
    log.close()


def test_a_learner_with_100_000_events_is_appended_and_read(sqlite_url: str) -> None:
    log = open_log(sqlite_url)
    assert log.append_table(many(100_000), "file", now=NOW).inserted == 100_000
    assert len(log.read_learner("ada")) == 100_000
    assert len(log.read()) == 100_000
    log.close()


def test_facts_and_pointer_are_replaced(log: Log) -> None:
    assert (log.get_fact("demo"), log.pointer()) == (None, None)
    log.set_fact("demo", {"seed": 1})
    log.set_fact("demo", [True])
    log.set_pointer("a")
    log.set_pointer("b")
    assert (log.get_fact("demo"), log.pointer()) == ([True], "b")


def test_an_absent_database_is_named_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="sensei db upgrade"):
        open_log(f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageUnavailable, match="not an SQLite file"):
        open_log(f"sqlite:///{tmp_path / 'log.db'}")


def test_a_full_disk_loses_nothing_and_says_so(sqlite_url: str) -> None:
    log = open_log(sqlite_url)
    log.append([event()], NOW)
    with log.engine.connect() as connection:  # the pool gives this connection out again
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageUnavailable, match="free some space"):
        log.append_table(many(5000), "file", now=NOW)
    with log.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert log.count() == 1
    assert log.append_table(many(5000), "file", now=NOW).inserted == 5000
    log.close()


def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    folder = Path("/proc") if os.geteuid() == 0 else tmp_path  # root may write into any other
    if not folder.exists():
        pytest.skip("there is no folder here that root cannot write into")
    with pytest.raises(StorageUnavailable, match="make its folder writable"):
        database.upgrade(f"sqlite:///{folder / 'log.db'}")


def test_another_writer_is_waited_for_then_said(sqlite_url: str) -> None:
    log, other = open_log(sqlite_url), open_log(sqlite_url)
    with database.write_transaction(log.engine) as connection:
        connection.exec_driver_sql("DELETE FROM facts")
        with pytest.raises(StorageUnavailable, match="another process is writing"):
            other.append([event()], NOW)
    assert other.append([event()], NOW).inserted == 1
    log.close()
    other.close()


def test_a_turn_belongs_to_one_until_it_ends_or_its_process_is_killed(sqlite_url: str) -> None:
    script = (
        "import sys, time; from sensei.storage import database\n"
        "with database.write_queue(database.connect(sys.argv[1])):\n"
        "    print('mine', flush=True)\n"
        "    time.sleep(600)\n"
    )
    engine, taken = database.connect(sqlite_url), threading.Event()

    def take() -> None:
        with database.write_queue(engine):
            taken.set()

    command = [sys.executable, "-c", script, sqlite_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        waiting = threading.Thread(target=take)
        waiting.start()
        assert not taken.wait(0.2)
        other.kill()
    assert taken.wait(60)
    waiting.join()
    engine.dispose()


def test_a_learner_read_in_pieces_is_whole_and_exact(log: Log) -> None:
    scores = [0.0, 1.0, 0.1, 1 / 3, 0.1 + 0.2, 2**-40 / 3, *(n / 97 for n in range(97))]
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n // 3) for n in range(103)]
    rows = [
        event(event_id=f"{n}", score=score, timestamp=moment, metadata={"item_id": 'a"\u2028'})
        for n, (score, moment) in enumerate(zip(scores, moments, strict=True))
    ]
    log.append([*rows, event(event_id="view", interaction_type="text_read", score=None)])
    pieces = list(log.learner_in_pieces("ada", 10))
    assert [len(piece) for piece in pieces] == [10] * 10 + [4]
    read = {each.event_id: each for piece in pieces for each in piece}
    assert [read[f"{n}"].score for n in range(103)] == scores
    assert (read["view"].score, read["0"].item_id) == (None, 'a"\u2028')
    assert len(log.read_learner("ada", after_id=100)) == 4
