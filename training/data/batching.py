"""Batches for sequence networks: segments of learners' histories, inputs computed on demand."""

import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from features.sequences import EVERY, Sequences
from sensei.model_name import ModelName

Batch = dict[str, NDArray[Any]]
Rows = NDArray[np.int64]
Asked = TypeVar("Asked")

AHEAD = 3
"""Number of batches prepared ahead of the one in use."""


@dataclass(frozen=True)
class BatchFeed:
    """Build the inputs that a network names from rows.

    Attributes:
        rows: examples of one part.
        model_name: model whose vector is used as `inputs`.
    """

    rows: Examples
    model_name: ModelName

    @cached_property
    def sequences(self) -> Sequences:
        """Event sequences of the rows."""
        return Sequences(self.rows)

    def inputs(self, chosen: Rows, names: Collection[str], reach: int = EVERY) -> Batch:
        """Return the inputs of some rows by name.

        Args:
            chosen: (n,) rows, ascending.
            names: names of the inputs to build. `state` stands for the events before each row:
                `events` (learners, longest, 9) and `place` (n,), see `Sequences.events_before`.
            reach: number of events before a learner's first row from which the state is computed.
        """
        batch: Batch = {}
        if "inputs" in names:
            batch["inputs"] = getattr(self.rows, self.model_name)[chosen]
        if "context" in names:
            batch["context"] = self.rows.recommendation[chosen]
        if "topic" in names:
            batch["topic"] = self.rows.target[chosen, None].astype(np.float32)
        if "topics" in names:
            batch["topics"] = self.sequences.topics(chosen).reshape(len(chosen), -1)
        if "free" in names or "item" in names:
            batch["free"], batch["item"] = self.sequences.attempted(chosen)
        if "state" in names:
            batch["events"], batch["place"] = self.sequences.events_before(chosen, reach)
        return batch

    def batches(
        self,
        cells: int,
        stretch: int,
        reach: int = EVERY,
        rng: np.random.Generator | None = None,
    ) -> list[Rows]:
        """Return the rows of each batch: segments of one learner each, grouped by similar length.

        Args:
            cells: approximate number of events in a batch, padding included; a batch has at least
                one segment.
            stretch: maximum number of a learner's rows in one segment.
            reach: number of events read before a segment.
            rng: shuffles the batches; without it their order is fixed.
        """
        if not len(self.rows):
            return []
        pieces = self._pieces(stretch)
        first = np.array([rows[0] for rows in pieces])
        last = np.array([rows[-1] for rows in pieces])
        before = self.rows.previous
        length = before[last] + 1 - np.maximum(before[first] - reach, 0)
        mixed = length * (rng.uniform(0.8, 1.25, len(length)) if rng else 1.0)
        batches: list[list[Rows]] = []
        widest = 0
        for index in np.argsort(-mixed, kind="stable"):
            widest = max(widest, int(length[index]))
            if not batches or widest * (len(batches[-1]) + 1) > cells:
                batches.append([])
                widest = int(length[index])
            batches[-1].append(pieces[index])
        rows_of_batches = [
            np.concatenate(sorted(segments, key=lambda rows: int(rows[0]))) for segments in batches
        ]
        if rng:
            rng.shuffle(rows_of_batches)
        return rows_of_batches

    def _pieces(self, stretch: int) -> list[Rows]:
        learner = self.rows.learner
        first = np.flatnonzero(np.diff(learner, prepend=-1))
        segments: list[Rows] = []
        for start, stop in zip(first, np.append(first[1:], len(learner)), strict=True):
            segments += np.array_split(np.arange(start, stop), -(-(stop - start) // stretch))
        return segments


def ahead(make: Callable[[Asked], Batch], requests: Iterable[Asked]) -> Iterator[Batch]:
    """Build batches in a background thread while the network works.

    Args:
        make: builds the batch of one request.
        requests: iterated in the background thread as well.

    Raises:
        Exception: the error raised by `make` or by iterating over `requests`.
    """
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def put(item: "Batch | BaseException | None") -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=1.0)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for request in requests:
                if stopped.is_set():
                    return
                put(make(request))
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (batch := ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        stopped.set()
