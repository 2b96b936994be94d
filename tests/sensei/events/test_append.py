import threading
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensei.errors import ConflictingEvent, InvalidBatch, InvalidInput
from sensei.events import append, rules
from sensei.events.append import AppendResult, PendingRow
from sensei.events.log import Log, open_log
from sensei.events.rules_arrow import check_table

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def event(**values: object) -> dict[str, Any]:
    return {
        "user_id": "ada",
        "interaction_type": "quiz_complete",
        "topic_id": 1,
        "score": 0.5,
        "timestamp": NOW - timedelta(days=1),
    } | values


def submission(*events: dict[str, Any], now: datetime = NOW) -> list[PendingRow]:
    return append.entries(events, now)


def record(log: Log, *submissions: Sequence[PendingRow]) -> list[Any]:
    return append.record(log.engine, submissions, NOW)


events = st.fixed_dictionaries(
    {
        "user_id": st.text("aé7 \u0301", min_size=1, max_size=3),
        "interaction_type": st.sampled_from(["quiz_complete", "video_view"]),
        "topic_id": st.integers(0, 2),
        "score": st.none() | st.sampled_from([0, 0.0, -0.0, 0.1, 1]),
        "duration_seconds": st.none() | st.integers(0, 2),
        "timestamp": st.sampled_from([NOW, NOW - timedelta(microseconds=1)]),
        "metadata": st.none() | st.sampled_from(['{"item_id":7}', '{"difficulty":"hard","x":"ü"}']),
        "event_id": st.none() | st.sampled_from(["a", "b"]),
    }
).filter(lambda each: each["user_id"].strip())


@pytest.mark.parametrize("event_id", ["a", None])
@pytest.mark.parametrize(
    "metadata", [None, {"prediction_id": "ü", "item_id": "7", "difficulty": "hard"}]
)
def test_checked_values_become_the_row_that_the_event_becomes(
    event_id: str | None, metadata: dict[str, Any] | None
) -> None:
    sent = event(event_id=event_id, metadata=metadata, duration_seconds=60)
    values = {
        name: value for name, value in sent.items() if name not in append.EventRow._fields[1:4]
    }
    row = append.pending_row("ada", "quiz_complete", 1, NOW, **values)
    assert [row] == submission(sent)


def test_checked_values_without_a_time_get_the_current_one_and_a_new_id() -> None:
    rows = [append.pending_row("ada", "text_read", 1, NOW) for _ in range(2)]
    assert rows[0].stamped
    assert rows[0].row.timestamp == submission(event(timestamp=NOW))[0].row.timestamp
    assert rows[0].row.event_id != rows[1].row.event_id


def test_checked_values_of_the_future_are_refused() -> None:
    with pytest.raises(InvalidInput, match="timestamp: expected a time at most"):
        append.pending_row("ada", "text_read", 1, NOW, timestamp=NOW + timedelta(days=1))


@given(st.lists(events, min_size=1, max_size=8))
def test_single_events_become_the_rows_that_columns_become(sent: list[dict[str, Any]]) -> None:
    table, bad = check_table(pa.Table.from_pylist(sent), rules.latest(NOW))
    assert not bad
    times = table["timestamp"].cast(pa.int64())
    place = table.column_names.index("timestamp")
    columns = table.set_column(place, "timestamp", times).to_pydict()
    rows = [entry.row for entry in submission(*sent)]
    assert [list(row) for row in rows] == [list(row) for row in zip(*columns.values(), strict=True)]


def test_an_event_without_a_time_gets_one_and_is_an_event_of_its_own(log: Log) -> None:
    sent = event(timestamp=None)
    (first,), (second,) = (each.rows for each in record(log, submission(sent), submission(sent)))
    assert first.event_id != second.event_id
    assert uuid.UUID(first.event_id).version == 4
    assert first.timestamp == second.timestamp == int(NOW.timestamp()) * 1_000_000
    assert log.count() == 2


def test_a_repeat_that_left_the_time_to_us_gets_the_first_answer(log: Log) -> None:
    sent = event(timestamp=None, event_id="e")
    (first,) = record(log, submission(sent))
    (again,) = record(log, submission(sent, now=NOW + timedelta(minutes=3)))
    assert (first.rows, first.inserted, again.inserted) == (again.rows, 1, 0)
    (other,) = record(log, submission(event(event_id="e")))
    assert isinstance(other, ConflictingEvent)
    assert (log.count(), log.revision("ada")) == (1, 1)


@pytest.mark.parametrize(
    "other", [{"score": 0.6}, {"score": None}, {"topic_id": 2}, {"metadata": {"item_id": "x"}}]
)
def test_an_id_stands_for_one_payload(log: Log, other: dict[str, Any]) -> None:
    record(log, submission(event(event_id="e")))
    (refused,) = record(log, submission(event(event_id="e") | other))
    assert isinstance(refused, ConflictingEvent)


def test_of_submissions_written_together_only_the_conflicting_one_is_refused(log: Log) -> None:
    record(log, submission(event(event_id="e")))
    outcomes = record(
        log,
        submission(event(event_id="1"), event(event_id="2", user_id="bob")),
        submission(event(event_id="3", user_id="eve"), event(event_id="e", score=1)),
        submission(event(event_id="e")),
        submission(event(event_id="4")),
    )
    assert isinstance(outcomes[1], ConflictingEvent)
    assert [each.inserted for each in outcomes if isinstance(each, AppendResult)] == [2, 0, 1]
    assert {each.event_id for each in log.read_learner("ada")} == {"e", "1", "4"}
    assert log.revision("eve") is None


def test_a_repeat_in_the_same_moment_is_kept_once(log: Log) -> None:
    first, second = record(log, *[submission(event(event_id="e"))] * 2)
    assert first.rows == second.rows
    assert log.count() == 1


def test_repeats_written_together_count_as_repeats(log: Log) -> None:
    record(log, submission(event(event_id="a")), submission(event(event_id="b")))
    again = record(log, submission(event(event_id="a")), submission(event(event_id="b")))
    assert [recorded.inserted for recorded in again] == [0, 0]


def test_new_rows_and_repeats_written_together_are_counted_where_they_belong(log: Log) -> None:
    record(log, submission(event(event_id="a")))
    outcomes = record(
        log,
        submission(event(event_id="b", user_id="bob"), event(event_id="a")),
        submission(event(event_id="a")),
        submission(event(event_id="c"), event(event_id="c")),
        submission(event(event_id="c")),
        submission(event(event_id="d")),
    )
    assert [recorded.is_new for recorded in outcomes] == [
        (True, False),
        (False,),
        (True, False),
        (False,),
        (True,),
    ]
    assert log.count() == 4


def test_every_bad_event_of_a_batch_is_listed() -> None:
    with pytest.raises(InvalidBatch) as raised:
        submission(event(), event(score=85), event(), event(timestamp="2126-01-01T00:00:00Z"))
    assert list(raised.value.items) == [1, 3]
    assert "got 85; send 0.85" in str(raised.value)
    assert "minutes in the future" in raised.value.items[3]


def test_writers_of_the_same_learners_at_once_lose_and_double_nothing(log_url: str) -> None:
    """Each of four writers sends the same events of the same learners, in an order of its own."""
    ids = [f"{n}" for n in range(40)]
    failed: list[BaseException] = []

    def write(shift: int) -> None:
        log = open_log(log_url)
        try:
            for at in range(0, 40, 4):
                chosen = [ids[(shift + at + n) % 40] for n in range(4)]
                users = [("ada", "bob", "eve")[int(each) % 3] for each in chosen]
                pairs = [event(event_id=e, user_id=u) for e, u in zip(chosen, users, strict=True)]
                record(log, submission(*pairs[:2]), submission(*pairs[2:]))
        except BaseException as error:
            failed.append(error)
        finally:
            log.close()

    threads = [threading.Thread(target=write, args=(11 * n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    log = open_log(log_url)
    assert log.count() == 40
    log.close()
