"""Batches for networks that read sequences: whole stretches of learners, inputs made on the way."""

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

Batch = dict[str, NDArray[Any]]
Rows = NDArray[np.int64]
Asked = TypeVar("Asked")

AHEAD = 3
"""Batches made while the network works on one."""


@dataclass(frozen=True)
class BatchFeed:
    """Turns rows into the inputs that a network names.

    Attributes:
        rows: examples of one part.
        vector: which of the two vectors `inputs` means, `recommendation` or `difficulty`.
    """

    rows: Examples
    vector: str

    @cached_property
    def sequences(self) -> Sequences:
        """What is unrolled from the rows."""
        return Sequences(self.rows)

    def inputs(self, chosen: Rows, names: Collection[str], reach: int = EVERY) -> Batch:
        """Inputs of some rows by name.

        Args:
            chosen: (n,) rows, ascending.
            names: those wanted; `state` means the events that lead to it: `events`
                (learners, longest, 9) and `place` (n,), see `Sequences.events_before`.
            reach: events before a learner's first row that the state is made from.
        """
        batch: Batch = {}
        if "inputs" in names:
            batch["inputs"] = getattr(self.rows, self.vector)[chosen]
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
        """The rows of each batch: stretches of one learner each, of like length together.

        Args:
            cells: about so many events in a batch, padding included; one stretch at least.
            stretch: most rows of a learner in one piece.
            reach: events before a piece that are read.
            rng: mixes the batches; without it they come in one fixed order.
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
        for place in np.argsort(-mixed, kind="stable"):
            widest = max(widest, int(length[place]))
            if not batches or widest * (len(batches[-1]) + 1) > cells:
                batches.append([])
                widest = int(length[place])
            batches[-1].append(pieces[place])
        found = [np.concatenate(sorted(each, key=lambda rows: int(rows[0]))) for each in batches]
        if rng:
            rng.shuffle(found)
        return found

    def _pieces(self, stretch: int) -> list[Rows]:
        learner = self.rows.learner
        first = np.flatnonzero(np.diff(learner, prepend=-1))
        found: list[Rows] = []
        for start, stop in zip(first, np.append(first[1:], len(learner)), strict=True):
            found += np.array_split(np.arange(start, stop), -(-(stop - start) // stretch))
        return found


def ahead(make: Callable[[Asked], Batch], asked: Iterable[Asked]) -> Iterator[Batch]:
    """Make batches in a thread of their own while the network works.

    Args:
        make: makes a batch of what is asked for.
        asked: gone through in that thread too.

    Raises:
        Exception: what `make` raised, or going through `asked`.
    """
    made: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def put(what: "Batch | BaseException | None") -> None:
        while not stopped.is_set():
            try:
                return made.put(what, timeout=1.0)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for each in asked:
                if stopped.is_set():
                    return
                put(make(each))
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (batch := made.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        stopped.set()
