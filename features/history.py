"""State of one learner in plain Python, for serving and replays."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from features.inputs import read_difficulty, read_recommendation
from features.learner_state import (
    ATTEMPTS,
    EVENTS,
    KIND_EVENTS,
    LAST_TIME,
    LEARNER_WIDTH,
    LEARNING,
    PASSES,
    RING_EVENTS,
    RING_TOPIC,
    RING_WIDTH,
    ROW_WIDTH,
    T_ATTEMPTS,
    advance,
)
from features.style import detect_learning_style, evidence
from sensei.contracts import DIFFICULTY_INPUTS, KINDS, LEARNING_KINDS, LEVELS, RECOMMENDATION_INPUTS

FOLD_VERSION = 3
"""Version of the fold: raised when a state or an input changes its meaning.

Bundles of another version are refused.
"""

Value = TypeVar("Value")

_UNTOUCHED = [0.0] * ROW_WIDTH  # never written

KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
LEVEL_CODES = {None: -1} | {level: code for code, level in enumerate(LEVELS)}


class CorpusTables(Protocol):
    """Protocol of the corpus tables; `features.corpus.statistics.Statistics` implements it."""

    @property
    def slots(self) -> Mapping[int, int]:
        """Slot of each topic id; 0 for an unknown topic."""

    def pass_rate(self, topic_id: int) -> float:
        """Return the topic's shrunk pass rate, in (0, 1)."""


class History:
    """State of one learner: counts, recent events and a row of numbers per topic met."""

    def __init__(self) -> None:
        self.learner: list[float] = [0.0] * LEARNER_WIDTH
        self.ring: list[float] = [0.0] * (RING_EVENTS * RING_WIDTH)
        self.topics: dict[int, list[float]] = {}
        self._remembered: dict[str, tuple[Any, Any]] = {}

    @classmethod
    def new(cls) -> "History":
        """Create the state of a new learner without events."""
        return cls()

    @classmethod
    def of(cls, events: Iterable[tuple[str, int, float | None, float | None, int]]) -> "History":
        """Create the state after `events`, which are sorted by time, then arrival."""
        history = cls()
        for event in events:
            history.advance(event)
        return history

    def advance(
        self,
        event: tuple[str, int, float | None, float | None, int],
        difficulty: str | None = None,
    ) -> None:
        """Update the state with one event.

        Args:
            event: Kind (name), topic id, score (fraction or None), duration (seconds or None),
                time (microseconds since the epoch, UTC; not before the last event).
            difficulty: Level that the event names, if any.
        """
        kind, topic, score, duration, time = event
        self._remembered.clear()
        code = KIND_CODES[kind]
        row = self.topics.get(topic)
        if row is None:
            row = [0.0] * ROW_WIDTH
            if code < LEARNING:
                self.topics[topic] = row
        score = math.nan if score is None else score
        duration = math.nan if duration is None else duration
        level = LEVEL_CODES[difficulty]
        advance(self.learner, row, self.ring, code, topic, score, duration, time, level)

    def recommendation_inputs(self, now_us: int, statistics: CorpusTables) -> NDArray[np.float32]:
        """Compute the (20,) float32 inputs of the recommendation model, as of `now_us`."""
        out = [0.0] * len(RECOMMENDATION_INPUTS)
        last = self.last_topic_id
        row = None if last is None else self.topics.get(last)
        read_recommendation(
            out, self.learner, row or [0.0] * ROW_WIDTH, self.ring, statistics.slots, now_us
        )
        return np.array(out, np.float32)

    def difficulty_inputs(
        self, topic_id: int, now_us: int, statistics: CorpusTables
    ) -> NDArray[np.float32]:
        """Compute the (4,) float32 inputs of the difficulty model for a topic, as of `now_us`."""
        row: NDArray[np.float32] = self.difficulty_rows([topic_id], now_us, statistics)[0]
        return row

    def difficulty_rows(
        self, topic_ids: Sequence[int], now_us: int, statistics: CorpusTables
    ) -> NDArray[np.float32]:
        """Compute the (n, 4) float32 inputs of the difficulty model for n topics."""
        rows = [[0.0] * len(DIFFICULTY_INPUTS) for _ in topic_ids]
        expected = self.remembered(
            "expected passes", statistics, lambda: self._expected_passes(statistics)
        )
        surplus, attempts = self.learner[PASSES] - expected, self.learner[ATTEMPTS]
        for out, topic_id in zip(rows, topic_ids, strict=True):
            row = self.topics.get(topic_id) or _UNTOUCHED
            read_difficulty(out, row, statistics.pass_rate(topic_id), surplus, attempts, now_us)
        return np.array(rows, np.float32)

    def _expected_passes(self, statistics: CorpusTables) -> float:
        attempts = ((topic, row[T_ATTEMPTS]) for topic, row in self.topics.items())
        return sum(count * statistics.pass_rate(topic) for topic, count in attempts if count)

    def remembered(self, what: str, reader: object, compute: Callable[[], Value]) -> Value:
        """Return a value computed from the state, cached until the next event.

        Args:
            what: name of the value.
            reader: object for which the value is computed; another reader computes it again. The
                history holds a weak reference, so that readers of old statistics are freed.
            compute: function that computes the value.
        """
        reference, value = self._remembered.get(what, (None, None))
        if reference is None or reference() is not reader:
            value = compute()
            self._remembered[what] = ref(reader), value
        return value  # type: ignore[no-any-return]

    @property
    def events(self) -> int:
        """Number of learning events so far."""
        return int(self.learner[EVENTS])

    @property
    def last_topic_id(self) -> int | None:
        """Topic id of the last learning event; None without events."""
        count = int(self.learner[EVENTS])
        if not count:
            return None
        return int(self.ring[RING_WIDTH * ((count - 1) % RING_EVENTS) + RING_TOPIC])

    def last_topics(self, count: int) -> list[int | None]:
        """Return the topic ids of the last learning events, newest first, padded with None."""
        last = self.events - 1
        topics: list[int | None] = [None] * count
        for back in range(min(count, last + 1)):
            place = RING_WIDTH * ((last - back) % RING_EVENTS) + RING_TOPIC
            topics[back] = int(self.ring[place])
        return topics

    def gap(self, time: int) -> float:
        """Return the microseconds from the last learning event to `time`; 0 without events."""
        return time - self.learner[LAST_TIME] if self.events else 0.0

    def learning_style(self) -> str:
        """Return the format preference observed in the learner's events."""
        by_kind = dict(zip(LEARNING_KINDS, self.learner[KIND_EVENTS:], strict=True))
        return detect_learning_style(**evidence(by_kind))
