from collections.abc import Iterator
from itertools import pairwise
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from sensei.errors import StorageUnavailable
from sensei.events.log import Log, open_log
from sensei.storage.tables import Prediction, to_datetime
from serving.storage.prediction_log import BATCH, DAY, LoggedAnswer, PredictionLog, new_id

NOW = 1_767_600_000_000_000


@pytest.fixture
def log(log_url: str) -> Iterator[Log]:
    opened = open_log(log_url)
    yield opened
    opened.close()


def answer(number: int = 0, at: int = NOW) -> LoggedAnswer:
    return LoggedAnswer(
        prediction_id=new_id(at),
        user_id=f"learner-{number}",
        kind="recommendation",
        topic_id=None,
        model="blend",
        version="3",
        bundle="b" * 64,
        arm="champion",
        propensity=0.95,
        fallback=None,
        answer=[{"topic_id": 12, "probability": 0.75}],
        candidates=[(12, 0.75), (14, None)],
        inputs={"inputs": np.array([1.5, 2.0], np.float32)},
        created_at=at,
    )


def logged(log: Log) -> list[Prediction]:
    with Session(log.engine) as session:
        return list(session.scalars(select(Prediction).order_by(Prediction.prediction_id)))


def predictions(log_url: str, capacity: int = 5_000, days: int = 90) -> PredictionLog:
    return PredictionLog(lambda: open_log(log_url), days, lambda: NOW, capacity)


def test_an_answer_is_logged_with_what_it_was_made_from(log: Log, log_url: str) -> None:
    writer = predictions(log_url)
    given = answer()
    writer.put(given)
    assert logged(log) == []
    assert writer.flush()
    (found,) = logged(log)
    assert found.answer == given.answer
    assert found.candidates == [[12, 0.75], [14, None]]
    assert found.inputs == {"inputs": [1.5, 2.0]}
    assert found.created_at == to_datetime(NOW)
    same = ("prediction_id", "user_id", "kind", "topic_id", "model", "version", "bundle", "arm")
    for name in (*same, "propensity", "fallback"):
        assert getattr(found, name) == getattr(given, name)


def test_the_thread_writes_by_itself_and_the_rest_at_the_end(log: Log, log_url: str) -> None:
    writer = predictions(log_url)
    writer.start()
    for number in range(2 * BATCH + 1):
        writer.put(answer(number))
    writer.close()
    assert len(logged(log)) == writer.written == 2 * BATCH + 1
    assert (writer.lost, writer.waiting) == (0, 0)


def test_a_full_queue_drops_the_oldest_and_counts_them(log: Log, log_url: str) -> None:
    writer = predictions(log_url, capacity=3)
    for number in range(5):
        writer.put(answer(number, NOW + 1000 * number))
    writer.flush()
    assert [each.user_id for each in logged(log)] == ["learner-2", "learner-3", "learner-4"]
    assert writer.lost == 2


def test_what_could_not_be_written_is_written_later_in_its_order(log: Log, log_url: str) -> None:
    down = [True]

    def connect() -> Log:
        if down[0]:
            raise StorageUnavailable("database: down")
        return open_log(log_url)

    writer = PredictionLog(connect, 90, lambda: NOW, 3)
    for number in range(2):
        writer.put(answer(number, NOW + 1000 * number))
    assert not writer.flush()
    down[0] = False
    writer.put(answer(2, NOW + 2000))
    assert writer.flush()
    assert [each.user_id for each in logged(log)] == ["learner-0", "learner-1", "learner-2"]
    assert writer.lost == 0


def test_a_table_that_goes_away_loses_nothing_that_has_room(url: str) -> None:
    writer = predictions(url, capacity=2)
    log = open_log(url)
    writer.put(answer(0))
    assert writer.flush()
    with log.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE predictions RENAME TO elsewhere")
    for number in (1, 2):
        writer.put(answer(number, NOW + 1000 * number))
    assert not writer.flush()
    assert (writer.waiting, writer.lost) == (2, 0)
    with log.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO predictions")
    assert writer.flush()
    assert [each.user_id for each in logged(log)] == ["learner-0", "learner-1", "learner-2"]
    log.close()


def test_an_answer_that_cannot_be_written_is_counted_and_stops_no_other(
    log: Log, log_url: str
) -> None:
    writer = predictions(log_url)
    writer.put(answer()._replace(answer=object()))
    assert not writer.flush()
    writer.put(answer(1))
    assert writer.flush()
    assert [each.user_id for each in logged(log)] == ["learner-1"]
    assert writer.lost == 1


def test_what_is_left_at_the_end_without_a_database_is_counted() -> None:
    def connect() -> Log:
        raise StorageUnavailable("database: down")

    writer = PredictionLog(connect, 90, lambda: NOW)
    writer.start()
    writer.put(answer())
    writer.close()
    assert (writer.lost, writer.waiting, writer.written) == (1, 0, 0)


def test_answers_older_than_the_days_kept_are_removed(log: Log, log_url: str) -> None:
    writer = predictions(log_url, days=2)
    for number in range(BATCH + 3):
        writer.put(answer(number, NOW - 2 * DAY - 1000 * (number + 1)))
    writer.put(answer(9, NOW - 2 * DAY + 1000))
    assert writer.flush()
    assert [each.user_id for each in logged(log)] == ["learner-9"]


@given(st.lists(st.integers(0, 2**47 * 1000), min_size=2, max_size=20, unique=True))
def test_ids_are_unique_and_grow_with_time(moments: list[int]) -> None:
    made = [new_id(each) for each in sorted(moments)]
    assert len(set(made)) == len(made)
    assert all(UUID(each).version == 7 and str(UUID(each)) == each for each in made)
    for (one, id_one), (two, id_two) in pairwise(zip(sorted(moments), made, strict=True)):
        assert id_one < id_two or one // 1000 == two // 1000
