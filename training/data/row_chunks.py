"""Rows in chunks, built again for each pass, so that a long log need not fit into memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

Piece = TypeVar("Piece", covariant=True)
Other = TypeVar("Other")


@dataclass(frozen=True)
class RowChunks(Generic[Piece]):
    """Chunks of rows; a log that fits into memory has one chunk.

    Attributes:
        counts: number of rows per chunk; a chunk without rows is never built.
        make: builds the chunk of a given index.
    """

    counts: tuple[int, ...]
    make: Callable[[int], Piece]

    @classmethod
    def held(cls, piece: Other, rows: int) -> "RowChunks[Other]":
        """Wrap one chunk that is already in memory."""
        return RowChunks((rows,), lambda _: piece)

    def __len__(self) -> int:
        """Return the number of rows in all chunks."""
        return sum(self.counts)

    def __iter__(self) -> Iterator[Piece]:
        return self.shuffled(None)

    @property
    def places(self) -> list[int]:
        """Indices of the chunks that have rows."""
        return [index for index, rows in enumerate(self.counts) if rows]

    @property
    def first(self) -> Piece:
        """First chunk with rows, built on access; chunk 0 if no chunk has rows."""
        return self.make((self.places or [0])[0])

    def shuffled(self, rng: np.random.Generator | None) -> Iterator[Piece]:
        """Yield every chunk once, in random order; a single chunk draws no random number."""
        places = self.places
        if rng is not None and len(places) > 1:
            rng.shuffle(places)
        return map(self.make, places)

    def map(self, change: Callable[[Piece], Other]) -> "RowChunks[Other]":
        """Return the same rows, with a function applied to each chunk when it is built."""
        return RowChunks(self.counts, lambda index: change(self.make(index)))
