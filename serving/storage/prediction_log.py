"""Prediction log: each answer with the learner, model version and inputs.

A request only puts its answer into a bounded queue. One thread with its own connection writes the
queue in batches. Logging never delays or fails a request. If the database is slow or unavailable,
the oldest waiting answers are dropped and counted.
"""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sensei.contracts import DAY
from sensei.errors import StorageUnavailable
from sensei.privacy import tombstones
from sensei.storage import database
from sensei.storage.sql import insert_or_ignore_sql, signs
from sensei.storage.tables import Prediction
from serving.background import RepeatingThread
from serving.observability import PREDICTIONS_LOST

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sensei.events.log import Log

CAPACITY = 5_000
"""Maximum number of waiting answers; each takes 2 to 4 KB."""

BATCH = 500
"""Maximum number of answers per transaction, so that other writers wait only some milliseconds."""

WRITE_SECONDS = 0.5
"""Pause between two batches in seconds, thus the usual delay until an answer is in the database."""

RETRY_SECONDS = 2.0
PURGE_SECONDS = 3_600.0

logger = logging.getLogger(__name__)


class LoggedAnswer(NamedTuple):
    """Answer, as logged by its request; see `sensei.storage.tables.Prediction`.

    Attributes:
        prediction_id: result of `new_id`; the response contains it too.
        user_id: the learner's name.
        kind: `recommendation`, `difficulty` or `learning_path`.
        topic_id: topic of the question; None if the answer names topics.
        model: the model that answered, or a counting policy (see `fallback` and `arm`).
        version: version in the registry; None for a counting policy.
        bundle: digest of the bundle; None without one.
        arm: see `serving.state.arms`.
        propensity: probability that a learner is in that arm, in (0, 1].
        fallback: reason for a fallback; None if there was none.
        answer: what was shown, in its order.
        candidates: what could have been shown, as `[topic_id, probability]`, best first; None if
            nothing was ranked.
        inputs: name -> inputs that the model read, also as NumPy arrays; None without a model.
        created_at: microseconds since 1970.
    """

    prediction_id: str
    user_id: str
    kind: str
    topic_id: int | None
    model: str
    version: str | None
    bundle: str | None
    arm: str
    propensity: float
    fallback: str | None
    answer: Any
    candidates: Sequence[tuple[int, float | None]] | None
    inputs: Mapping[str, Any] | None
    created_at: int


_JSON = tuple(LoggedAnswer._fields.index(name) for name in ("answer", "candidates", "inputs"))


def new_id(now_us: int) -> str:
    """Return a UUID of version 7: ids increase with time, so inserts append to their index.

    Args:
        now_us: microseconds since 1970.
    """
    chance = random.getrandbits(74)  # not a secret: callers with a key use it to name an answer
    number = (now_us // 1000) << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62
    text = f"{number | chance & (2**62 - 1):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class PredictionLog:
    """Background writer of answers; any thread may call `put`.

    Args:
        connect: opens the log; called by the writing thread, and again after an error.
        kept_days: retention of answers in days; older ones are removed once an hour.
        clock: returns the current time, in microseconds since 1970 UTC.
        capacity: maximum number of waiting answers.
    """

    def __init__(
        self,
        connect: "Callable[[], Log]",
        kept_days: int,
        clock: Callable[[], int],
        capacity: int = CAPACITY,
    ) -> None:
        self._connect = connect
        self._kept = kept_days * DAY
        self._clock = clock
        self._waiting: deque[LoggedAnswer] = deque()
        self._capacity = capacity
        self._lock = threading.Lock()
        self._log: Log | None = None
        self._failing = False
        self._purge_at = 0
        self._thread = RepeatingThread(
            "predictions", self._flush_batches, WRITE_SECONDS, RETRY_SECONDS, self._end
        )
        self.lost = 0
        self.written = 0

    @property
    def waiting(self) -> int:
        """Number of answers that are not written yet."""
        return len(self._waiting)

    def put(self, answer: LoggedAnswer) -> None:
        """Queue an answer; if the queue is full, drop its oldest answer."""
        with self._lock:
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self._lose(1)
            self._waiting.append(answer)

    def _lose(self, count: int) -> None:
        self.lost += count
        PREDICTIONS_LOST.inc(count)

    def start(self) -> None:
        """Start the writing thread."""
        self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Write the waiting answers, then stop; count those not written in time as lost.

        Args:
            timeout: maximum wait in seconds.
        """
        self._thread.close(timeout)
        with self._lock:
            left = len(self._waiting)
            self._lose(left)
            self._waiting.clear()
        if left:
            logger.warning("%d answers were not logged before shutdown", left)

    def _flush_batches(self) -> float:
        return WRITE_SECONDS if self.flush() else RETRY_SECONDS

    def _end(self) -> None:
        self.flush()
        if self._log is not None:
            self._log.close()

    def flush(self) -> bool:
        """Write the waiting answers, oldest first; return false if the write failed."""
        try:
            self._log = self._log or self._connect()
            while batch := self._take():
                self._write(self._log, batch)
            self._purge(self._log)
        except StorageUnavailable as error:
            self._note_outage(error)
            return False
        except Exception:  # the thread must survive any error of one batch
            logger.exception("answers are not logged")
            return False
        self._failing = False
        return True

    def _note_outage(self, error: StorageUnavailable) -> None:
        if not self._failing:  # once per outage
            logger.warning("answers wait, the oldest are dropped: %s", error)
        self._failing = True
        if self._log is not None:
            self._log.close()
            self._log = None

    def _take(self) -> list[LoggedAnswer]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _put_back(self, batch: Sequence[LoggedAnswer]) -> None:
        with self._lock:
            room = max(0, self._capacity - len(self._waiting))
            self._lose(max(0, len(batch) - room))
            self._waiting.extendleft(reversed(batch[len(batch) - min(room, len(batch)) :]))

    def _write(self, log: "Log", batch: Sequence[LoggedAnswer]) -> None:
        try:
            with database.write_transaction(log.engine) as connection:
                erased = tombstones.erased(connection, {answer.user_id for answer in batch})
                rows = [_row(answer) for answer in batch if answer.user_id not in erased]
                if rows:
                    insert = _insert(connection, len(rows))
                    connection.connection.cursor().execute(insert, [*chain.from_iterable(rows)])
        except StorageUnavailable:
            self._put_back(batch)
            raise
        except Exception:  # a batch that can never be written must not block the others
            with self._lock:
                self._lose(len(batch))
            raise
        self.written += len(batch)

    def _purge(self, log: "Log") -> None:
        now = self._clock()
        if now < self._purge_at:
            return
        self._purge_at = now + int(PURGE_SECONDS * 1e6)
        removed = BATCH
        while removed == BATCH and not self._thread.is_stopping:
            with database.write_transaction(log.engine) as connection:
                cursor = connection.connection.cursor()
                cursor.execute(
                    "DELETE FROM predictions WHERE prediction_id IN "  # noqa: S608 - numbers of ours
                    "(SELECT prediction_id FROM predictions "
                    f"WHERE created_at < {now - self._kept} ORDER BY created_at LIMIT {BATCH})"
                )
                removed = cursor.rowcount


def _row(answer: LoggedAnswer) -> list[Any]:
    row = list(answer)
    for column in _JSON:
        if row[column] is not None:
            row[column] = orjson.dumps(row[column], option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return row


def _insert(connection: "Connection", rows: int) -> str:
    """Return one INSERT for all rows: with one per row, requests would wait for Python's lock."""
    values = f"({signs(connection, len(LoggedAnswer._fields))})"
    source = f"VALUES {', '.join([values] * rows)}"
    return insert_or_ignore_sql(
        Prediction.__tablename__, LoggedAnswer._fields, source, ("prediction_id",)
    )
