"""Random numbers by counting, not by state: a draw depends on who, when and what for, alone.

So a learner behaves the same whatever the others do and however many they are, and the same act
under two offers uses the same luck.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (counter-based
generators); mixing by SplitMix64's finaliser, Steele et al. 2014.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_STRIDES = tuple(np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7))


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Draws:
    """All luck of one simulated world."""

    def __init__(self, seed: int) -> None:
        self._seed = np.array(seed % 2**64, dtype=np.uint64)
        self._keys: dict[str, NDArray[np.uint64]] = {}

    def uniform(self, purpose: str, who: Ints, step: Ints | int = 0, columns: int = 1) -> Floats:
        """Uniform draws in the open interval (0, 1).

        Args:
            purpose: What is decided; each name is a stream of its own.
            who: (n,) learners or topics.
            step: (n,) or one; the how-manieth decision of this kind.
            columns: Draws for each.

        Returns:
            (n,) for one column, else (n, columns).
        """
        with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the method
            z = _mix(self._key(purpose) + who.astype(np.uint64) * _STRIDES[1])
            z = _mix(z + np.asarray(step).astype(np.uint64) * _STRIDES[2])
            z = _mix(z[:, None] + np.arange(1, columns + 1, dtype=np.uint64) * _STRIDES[0])
        drawn: Floats = ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        return drawn[:, 0] if columns == 1 else drawn

    def _key(self, purpose: str) -> NDArray[np.uint64]:
        if purpose not in self._keys:
            name = np.uint64(zlib.crc32(purpose.encode()))
            self._keys[purpose] = _mix(self._seed + name * _STRIDES[0])
        return self._keys[purpose]

    def normal(self, purpose: str, who: Ints, step: Ints | int = 0, columns: int = 1) -> Floats:
        """Standard normal draws (Box & Muller 1958), shaped as `uniform`'s."""
        pairs = self.uniform(purpose, who, step, 2 * columns)
        z = np.sqrt(-2 * np.log(pairs[:, :columns])) * np.cos(2 * np.pi * pairs[:, columns:])
        drawn: Floats = z[:, 0] if columns == 1 else z
        return drawn

    def choice(self, purpose: str, who: Ints, step: Ints | int, utility: Floats) -> Ints:
        """One column per row, with probability softmax(utility) (McFadden 1974).

        Args:
            purpose: What is chosen.
            who: (n,) learners.
            step: (n,) or one.
            utility: (n, m); -inf is never chosen.
        """
        total = np.cumsum(softmax(utility), axis=1)
        luck = self.uniform(purpose, who, step) * total[:, -1]
        chosen: Ints = (total <= luck[:, None]).sum(axis=1)
        return chosen


def softmax(utility: Floats) -> Floats:
    """Choice probabilities (n, m) of utilities (n, m)."""
    weight = np.exp(utility - utility.max(axis=1, keepdims=True))
    share: Floats = weight / weight.sum(axis=1, keepdims=True)
    return share


def sigmoid(z: Floats) -> Floats:
    """The logistic function."""
    share: Floats = 1 / (1 + np.exp(-z))
    return share
