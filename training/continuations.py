"""What followed what, counted: tables of capped size that a Markov model looks up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TABLE_CELLS = 2**24
"""Numbers in the table of one-topic continuations (64 MB); rarer contexts have none."""

PAIRS = 2**16
"""Pairs of topics kept, the most frequent ones."""

PAIR_PLACES = 2**21
"""Places of the pair index; up to 1,446 topics each pair has a place of its own."""

FOLLOWERS = 10
"""Continuations kept of each pair; what the others had goes to the back-off."""


@dataclass(frozen=True)
class Pairs:
    """Continuations of pairs of topics.

    Attributes:
        index: (places, 2): last topic that a place belongs to (-1 none), and the pair's row.
        multiplier: place of (last, before) is (last * multiplier + before) mod places.
        followers: (rows, k) slots that followed, 0 none; row 0 is the unknown pair.
        share: (rows, k) probability of each; what is left of 1 belongs to the back-off.
    """

    index: NDArray[np.int64]
    multiplier: int
    followers: NDArray[np.int64]
    share: NDArray[np.float64]


def continuation_table(
    context: NDArray[np.int64], target: NDArray[np.int32], popular: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """P(target | context), backed off to popularity after Witten & Bell.

    P = (count + kinds * popular) / (events + kinds), where kinds is the number of distinct
    continuations.

    Args:
        context: (n,) in 0..topics + 1; 0 is no context.
        target: (n,) slots; rows with 0 are left out.
        popular: (topics,) probabilities.

    Returns:
        (topics + 2,) row of each context, and the (rows, topics) table, whose row 0 is popularity.
    """
    topics = len(popular)
    used = (target > 0) & (context > 0)
    context, target = context[used], target[used]
    frequency = np.bincount(context, minlength=topics + 2)
    kept = np.argsort(-frequency, kind="stable")[: max(1, TABLE_CELLS // topics)]
    kept = kept[frequency[kept] > 0]
    row = np.zeros(topics + 2, np.int64)
    row[kept] = np.arange(1, len(kept) + 1)
    table = np.zeros((len(kept) + 1, topics))
    np.add.at(table, (row[context], target - 1), 1.0)
    table[0] = 0.0  # contexts that were not kept
    kinds = np.maximum(np.count_nonzero(table, axis=1), 1)[:, None]
    return row, (table + kinds * popular) / (table.sum(axis=1, keepdims=True) + kinds)


def pair_continuations(
    last: NDArray[np.int64], before: NDArray[np.int64], target: NDArray[np.int32], topics: int
) -> Pairs:
    """Count what followed each pair of topics.

    Args:
        last: (n,) slot of the last topic; rows with 0 are left out.
        before: (n,) slot of the topic before it, 0 none.
        target: (n,) slots; rows with 0 are left out.
        topics: number of topics with a slot.
    """
    used = (target > 0) & (last > 0)
    pair = last[used] * (topics + 1) + before[used]
    unique, code, frequency = np.unique(pair, return_inverse=True, return_counts=True)
    order = np.argsort(-frequency, kind="stable")[:PAIRS]
    row = np.zeros(len(unique), np.int64)
    row[order] = np.arange(1, len(order) + 1)
    index, multiplier = _index(unique[order] // (topics + 1), unique[order] % (topics + 1), topics)
    followers, share = _top(row[code], target[used].astype(np.int64), len(order) + 1, topics)
    return Pairs(index, multiplier, followers, share)


def _index(
    last: NDArray[np.int64], before: NDArray[np.int64], topics: int
) -> tuple[NDArray[np.int64], int]:
    """Give each pair, the most frequent first, a place; a place keeps the first that comes."""
    places = min(PAIR_PLACES, 1 << int((topics + 1) ** 2).bit_length())
    multiplier = min(topics + 1, (2**31 - 1) // (topics + 1) - 1)  # the model counts in int32
    place = (last * multiplier + before) % places
    index = np.zeros((places, 2), np.int64)
    index[:, 0] = -1
    row = np.arange(1, len(last) + 1)
    index[place[::-1]] = np.column_stack([last, row])[::-1]
    return index, multiplier


def _top(
    row: NDArray[np.int64], target: NDArray[np.int64], rows: int, topics: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The most frequent continuations of each row, and their Witten-Bell shares."""
    unique, count = np.unique(row * (topics + 1) + target, return_counts=True)
    of_row, slot = unique // (topics + 1), unique % (topics + 1)
    events = np.bincount(of_row, count, minlength=rows)
    kinds = np.bincount(of_row, minlength=rows)
    order = np.lexsort((slot, -count, of_row))
    of_row, slot, count = of_row[order], slot[order], count[order]
    rank = np.arange(len(of_row)) - np.searchsorted(of_row, of_row)
    kept = (rank < FOLLOWERS) & (of_row > 0)
    followers = np.zeros((rows, FOLLOWERS), np.int64)
    share = np.zeros((rows, FOLLOWERS))
    followers[of_row[kept], rank[kept]] = slot[kept]
    share[of_row[kept], rank[kept]] = (count / (events + kinds)[of_row])[kept]
    return followers, share
