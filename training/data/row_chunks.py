"""Rows in pieces, made anew each time they are gone through: what is long need not fit at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

Piece = TypeVar("Piece", covariant=True)
Other = TypeVar("Other")


@dataclass(frozen=True)
class RowChunks(Generic[Piece]):
    """Pieces of rows; of a log that fits into memory there is one.

    Attributes:
        counts: rows of each piece; a piece without rows is never made.
        make: place of a piece -> the piece.
    """

    counts: tuple[int, ...]
    make: Callable[[int], Piece]

    @classmethod
    def held(cls, piece: Other, rows: int) -> "RowChunks[Other]":
        """One piece that is in memory already."""
        return RowChunks((rows,), lambda _: piece)

    def __len__(self) -> int:
        """Rows of all pieces."""
        return sum(self.counts)

    def __iter__(self) -> Iterator[Piece]:
        return self.shuffled(None)

    @property
    def places(self) -> list[int]:
        """Places of the pieces that have rows."""
        return [place for place, rows in enumerate(self.counts) if rows]

    @property
    def first(self) -> Piece:
        """The first piece with rows, made now; where none has any, the first."""
        return self.make((self.places or [0])[0])

    def shuffled(self, rng: np.random.Generator | None) -> Iterator[Piece]:
        """Every piece once, in an order of chance; one piece alone asks for none."""
        places = self.places
        if rng is not None and len(places) > 1:
            rng.shuffle(places)
        return map(self.make, places)

    def map(self, change: Callable[[Piece], Other]) -> "RowChunks[Other]":
        """The same rows, each piece changed as it is made."""
        return RowChunks(self.counts, lambda place: change(self.make(place)))
