"""Transition counts: next topics after the last topic and after the last two topics."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAIRS = 2**20
"""Maximum number of distinct pair transitions; the most frequent ones are kept."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Transitions:
    """Transition counts over T topics, read for `width` slots: T and those of newcomers.

    A context is 0 for a learner's first event, 1..T for a known last topic, and T + 1 for an
    unknown one, which has no counts. A pair is context * (T + 2) + slot of the topic before.

    Attributes:
        popular: (T,) number of events of each topic.
        context, slot, count: (n,) each, sorted by context.
        pair, pair_slot, pair_count: (m,) each, sorted by pair.
        width: number of slots that get a probability.
    """

    popular: Ints
    context: Ints
    slot: Ints
    count: Ints
    pair: Ints
    pair_slot: Ints
    pair_count: Ints
    width: int

    def context_of(self, last: NDArray[Any], previous: NDArray[Any]) -> Ints:
        """Return the context of each row, from its last topic's slot and its earlier events."""
        return context_of(last, previous, len(self.popular))

    def log_ratios(
        self, last: NDArray[Any], before: NDArray[Any], previous: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute log probability ratios of each next slot, given the last one or two topics.

        P1 = (count + kinds * popular) / (events + kinds), where kinds is the number of distinct
        next topics and popular is a share. P2 is the same for pairs, with P1 instead of popular.

        Args:
            last: (n,) slot of the last topic; 0 if unknown or none.
            before: (n,) slot of the topic before it; 0 if unknown or none.
            previous: (n,) number of earlier learning events.

        Returns:
            log(P1 * width) and log(P2 * width), (n, width) float32 each: 0 if a slot is as likely
            as by chance, and for slots of newcomers, which have no counts.

        Source: Witten & Bell 1991 (IEEE Trans. Inf. Theory 37(4)) for the weight of the back-off.
        """
        context = self.context_of(last, previous)
        first = _backed_off(self._by_context, context, self._share)
        pair = _pair_of(context, before, len(self.popular))
        second = _backed_off(self._by_pair, pair, first)
        return self._log_ratio(first), self._log_ratio(second)

    def _log_ratio(self, probability: Floats) -> NDArray[np.float32]:
        out = np.log((probability * self.width).astype(np.float32))
        out[:, len(self.popular) :] = 0.0
        return out

    @cached_property
    def _share(self) -> Floats:
        events = np.ones(self.width)
        events[: len(self.popular)] += self.popular
        share: Floats = events / events.sum()
        return share

    @cached_property
    def _by_context(self) -> "_Groups":
        return _Groups.of(self.context, self.slot, self.count)

    @cached_property
    def _by_pair(self) -> "_Groups":
        return _Groups.of(self.pair, self.pair_slot, self.pair_count)


@dataclass(frozen=True)
class _Groups:
    """Counts grouped by a sorted key: `key` (k,), `start` (k + 1,), slots and counts per key."""

    key: Ints
    start: Ints
    slot: Ints
    count: Ints
    total: Floats
    kinds: Floats

    @classmethod
    def of(cls, keys: Ints, slot: Ints, count: Ints) -> "_Groups":
        key, first = np.unique(keys, return_index=True)
        start = np.append(first, len(keys)).astype(np.int64)
        kinds = np.diff(start).astype(np.float64)
        total = np.add.reduceat(count, first).astype(np.float64) if len(first) else np.zeros(0)
        return cls(key, start, slot, count, total, kinds)


def _backed_off(groups: _Groups, keys: Ints, fallback: Floats) -> Floats:
    """Compute (n, width) probabilities: counts of each key, backed off to `fallback`."""
    out = np.empty((len(keys), fallback.shape[-1]))
    out[:] = fallback
    if len(groups.key) == 0:
        return out
    group = np.minimum(np.searchsorted(groups.key, keys), len(groups.key) - 1)
    row = np.flatnonzero(groups.key[group] == keys)
    group = group[row]
    weight = groups.total[group] + groups.kinds[group]
    out[row] *= (groups.kinds[group] / weight)[:, None]
    length = groups.start[group + 1] - groups.start[group]
    row_of_entry = np.repeat(np.arange(len(row)), length)
    within = np.arange(len(row_of_entry)) - np.repeat(np.cumsum(length) - length, length)
    entry = groups.start[group][row_of_entry] + within
    out[row[row_of_entry], groups.slot[entry] - 1] += groups.count[entry] / weight[row_of_entry]
    return out


def context_of(last: NDArray[Any], previous: NDArray[Any], topics: int) -> Ints:
    """Return the context of each row; see `Transitions`."""
    has_slot = (last > 0) & (last <= topics)
    last_or_unknown = np.where(has_slot, last, topics + 1)
    return np.where(previous == 0, 0, last_or_unknown).astype(np.int64)


def count_continuations(
    last: Ints, before: Ints, previous: Ints, slot: Ints, topics: int
) -> dict[str, Ints]:
    """Count transitions.

    Args:
        last: (n,) slot of the topic before each event; 0 if none or unknown.
        before: (n,) slot of the topic one event earlier; 0 if none or unknown.
        previous: (n,) number of the learner's learning events before each event.
        slot: (n,) slot of each event, 1..topics.
        topics: T, number of topics.

    Returns:
        The count arrays of `Transitions`, by name.
    """
    context = context_of(last, previous, topics)
    paired = context > 0
    once = np.ones(len(slot), np.int64)
    pair = _pair_of(context[paired], before[paired], topics)
    return {
        **_by_context(context, slot, once, topics),
        **_by_pair(pair, slot[paired], once[paired], topics, PAIRS),
    }


def merge_continuations(
    parts: Sequence[tuple[dict[str, Ints], NDArray[Any]]], topics: int, pairs: int = PAIRS
) -> dict[str, Ints]:
    """Add up transition counts of several vocabularies.

    Args:
        parts: count arrays of `Transitions`, and (T + 1,) the new slot of each old slot; 0 for a
            topic outside the new vocabulary; transitions to it are left out.
        topics: T of the new vocabulary.
        pairs: maximum number of distinct pair transitions.
    """
    context, pair = [], []
    for counted, slots in parts:
        old = len(slots) - 1
        into = np.append(np.where(slots > 0, slots, topics + 1), topics + 1)
        into[0] = 0  # the context of a first event stays 0
        context.append((into[counted["context"]], slots[counted["slot"]], counted["count"]))
        last, before = counted["pair"] // (old + 2), counted["pair"] % (old + 2)
        key = _pair_of(into[last], slots[before], topics)
        pair.append((key, slots[counted["pair_slot"]], counted["pair_count"]))
    return {
        **_by_context(*_joined(context), topics),
        **_by_pair(*_joined(pair), topics, pairs),
    }


def _joined(parts: list[tuple[Any, Any, Any]]) -> tuple[Ints, Ints, Ints]:
    key, slot, count = (
        np.concatenate(columns).astype(np.int64) for columns in zip(*parts, strict=True)
    )
    has_slot = slot > 0
    return key[has_slot], slot[has_slot], count[has_slot]


def _by_context(context: Ints, slot: Ints, count: Ints, topics: int) -> dict[str, Ints]:
    used = context <= topics
    key, total = _summed(context[used] * (topics + 1) + slot[used], count[used])
    return {"context": key // (topics + 1), "slot": key % (topics + 1), "count": total}


def _by_pair(pair: Ints, slot: Ints, count: Ints, topics: int, max_pairs: int) -> dict[str, Ints]:
    used = pair < (topics + 1) * (topics + 2)
    key, total = _summed(pair[used] * (topics + 1) + slot[used], count[used])
    if len(key) > max_pairs:
        frequent = np.sort(np.argsort(-total, kind="stable")[:max_pairs])
        key, total = key[frequent], total[frequent]
    return {"pair": key // (topics + 1), "pair_slot": key % (topics + 1), "pair_count": total}


def _summed(key: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Return the distinct keys, ascending, and the sum of the counts of each key."""
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    if not len(first):
        return key, count
    return key[first], np.add.reduceat(count[order], first)


def _pair_of(context: Ints, before: NDArray[Any], topics: int) -> Ints:
    known_before = np.where(before <= topics, before, 0).astype(np.int64)
    return context * (topics + 2) + known_before
