"""Corpus tables: counts over all learners, up to the training cutoff."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.corpus.transitions import (
    PAIRS,
    Transitions,
    count_continuations,
    merge_continuations,
)
from features.inputs import logit, pass_rate
from features.learner_state import LEARNING, PRACTICE, QUIZ
from sensei.contracts import PASS_SCORE

if TYPE_CHECKING:
    from features.events import Events


SPARE_SLOTS, SPARE_SHARE = 16, 0.125
"""Slots reserved for topics that come after training: a number plus a share of the vocabulary."""


class Slots(dict[int, int]):
    """Slot of each topic id; 0 for an unknown id, which is not added."""

    def __missing__(self, topic_id: int) -> int:
        return 0


def _nothing() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Statistics:
    """Counts per topic and per item over the events that a model may learn from.

    Slot s of the vocabulary is `topic_ids[s - 1]`; slot 0 means none or unknown.

    Attributes:
        topic_ids: (T,) int64; ascending, unless topics were renamed after training.
        topic_events: (T,) learning events.
        topic_attempts: (T,) scored attempts.
        topic_passes: (T,) passed attempts.
        plain_attempts: (T,) scored attempts that name no item.
        plain_passes: (T,) passed attempts that name no item.
        item_ids: (I,) text, ascending.
        item_attempts: (I,) scored attempts.
        item_passes: (I,) passed attempts.
        trained_until: () int64, time of the last event counted, microseconds since the epoch; -1
            if none.
        unmet: () int64, number of catalogue topics outside the vocabulary; each adds one spare
            slot.
        context, slot, count, pair, pair_slot, pair_count: transition counts; see
            `features.corpus.transitions.Transitions`.
    """

    topic_ids: NDArray[np.int64]
    topic_events: NDArray[np.int64]
    topic_attempts: NDArray[np.int64]
    topic_passes: NDArray[np.int64]
    plain_attempts: NDArray[np.int64]
    plain_passes: NDArray[np.int64]
    item_ids: NDArray[np.str_]
    item_attempts: NDArray[np.int64]
    item_passes: NDArray[np.int64]
    trained_until: NDArray[np.int64]
    unmet: NDArray[np.int64] = field(default_factory=lambda: np.array(0, np.int64))
    context: NDArray[np.int64] = field(default_factory=_nothing)
    slot: NDArray[np.int64] = field(default_factory=_nothing)
    count: NDArray[np.int64] = field(default_factory=_nothing)
    pair: NDArray[np.int64] = field(default_factory=_nothing)
    pair_slot: NDArray[np.int64] = field(default_factory=_nothing)
    pair_count: NDArray[np.int64] = field(default_factory=_nothing)

    @property
    def width(self) -> int:
        """Total number of slots: those of the vocabulary and the spare ones for later topics."""
        topics = len(self.topic_ids)
        return topics + SPARE_SLOTS + int(SPARE_SHARE * topics) + int(self.unmet)

    @cached_property
    def continuations(self) -> Transitions:
        """Transition counts as a model of the next topic."""
        return Transitions(
            self.topic_events,
            self.context,
            self.slot,
            self.count,
            self.pair,
            self.pair_slot,
            self.pair_count,
            self.width,
        )

    @cached_property
    def slots(self) -> Slots:
        """Slot of each topic id; 0 for an unknown topic."""
        return Slots((topic, slot) for slot, topic in enumerate(self.topic_ids.tolist(), 1))

    def slot_of(self, topic_id: int) -> int:
        """Return the slot of a topic id; 0 for an unknown topic."""
        return self.slots[topic_id]

    def slots_of(self, topic_ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the slots of many topic ids; 0 for an unknown topic."""
        order = np.argsort(self.topic_ids, kind="stable")  # renamed topics keep their slots
        index = np.searchsorted(self.topic_ids, topic_ids, sorter=order)
        in_vocabulary = np.isin(topic_ids, self.topic_ids)
        return np.where(in_vocabulary, np.append(order, 0)[index] + 1, 0).astype(np.int32)

    @cached_property
    def _rates(self) -> list[float]:
        counts = zip(self.topic_attempts.tolist(), self.topic_passes.tolist(), strict=True)
        everywhere = float(self.topic_attempts.sum()), float(self.topic_passes.sum())
        return [pass_rate(a, p, *everywhere) for a, p in [(0, 0), *counts]]

    def pass_rate(self, topic_id: int) -> float:
        """Return the topic's pass rate, shrunk towards the rate of all topics; in (0, 1)."""
        return self._rates[self.slots[topic_id]]

    @cached_property
    def topic_log_odds(self) -> "TopicLogOdds":
        """Log odds of each topic's shrunk pass rate."""
        return TopicLogOdds(self)

    @cached_property
    def _items(self) -> dict[str, tuple[int, int]]:
        counts = zip(self.item_attempts.tolist(), self.item_passes.tolist(), strict=True)
        return dict(zip(self.item_ids.tolist(), counts, strict=True))

    def item_counts(self, item_id: str | None) -> tuple[int, int]:
        """Return the scored attempts on an item and the passes; zeros for an unknown item."""
        return self._items.get(item_id, (0, 0)) if item_id else (0, 0)

    def renamed(self, replaced: Mapping[int, int]) -> "Statistics":
        """Return statistics in which a topic's replacement has its slot and its counts.

        If several topics have the same replacement, it gets the slot of the one with the most
        events. A replacement that has a slot of its own keeps it.

        Args:
            replaced: topic id -> id of its replacement.
        """
        ids, by_events = self.topic_ids.copy(), np.argsort(-self.topic_events, kind="stable")
        taken = set(ids.tolist())
        for index in by_events.tolist():
            replacement = replaced.get(int(ids[index]))
            if replacement is not None and replacement not in taken:
                ids[index] = replacement
                taken.add(replacement)
        return self if np.array_equal(ids, self.topic_ids) else replace(self, topic_ids=ids)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the tables by name, as a bundle stores them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "Statistics":
        """Build statistics from the tables of `to_arrays`."""
        return cls(**{field.name: np.asarray(arrays[field.name]) for field in fields(cls)})


class TopicLogOdds(dict[int, float]):
    """Log odds of the pass rate by topic id, computed at the first access."""

    def __init__(self, statistics: Statistics) -> None:
        self._pass_rate = statistics.pass_rate

    def __missing__(self, topic_id: int) -> float:
        self[topic_id] = log_odds = logit(self._pass_rate(topic_id))
        return log_odds


def fit(
    events: "Events",
    mask: NDArray[np.bool_],
    extra_topics: Iterable[int] = (),
    continuations: bool = True,
) -> Statistics:
    """Count the events of a mask.

    Args:
        events: The encoded log.
        mask: (n,) bool, the events that may be used: those up to the training cutoff.
        extra_topics: Topic ids that get a slot even without events.
        continuations: True to count transitions.

    Returns:
        Statistics. The vocabulary is the topics of the learning events used, and the extra ones.
    """
    used = mask & (events.kind < LEARNING)
    events_by_topic = _count(events.topic[used], len(events.topic_ids))
    ids = np.union1d(
        events.topic_ids[events_by_topic > 0], np.fromiter(extra_topics, np.int64)
    ).astype(np.int64)
    scored = used & ((events.kind == QUIZ) | (events.kind == PRACTICE)) & ~np.isnan(events.score)
    passed = scored & (events.score >= PASS_SCORE)
    plain = events.item < 0

    def by_topic(selected: NDArray[np.bool_]) -> NDArray[np.int64]:
        counts = np.zeros(len(ids), np.int64)
        counts[np.isin(ids, events.topic_ids)] = _count(
            events.topic[selected], len(events.topic_ids)
        )[np.isin(events.topic_ids, ids)]
        return counts

    items = _count(events.item[scored & ~plain], len(events.item_ids))
    attempted = items > 0
    return Statistics(
        topic_ids=ids,
        topic_events=by_topic(used),
        topic_attempts=by_topic(scored),
        topic_passes=by_topic(passed),
        plain_attempts=by_topic(scored & plain),
        plain_passes=by_topic(passed & plain),
        item_ids=events.item_ids[attempted].astype(np.str_),
        item_attempts=items[attempted],
        item_passes=_count(events.item[passed & ~plain], len(events.item_ids))[attempted],
        trained_until=np.array(events.time[mask].max() if mask.any() else -1, np.int64),
        **(_continuations(events, used, ids) if continuations else {}),
    )


BY_TOPIC = ("topic_events", "topic_attempts", "topic_passes", "plain_attempts", "plain_passes")
BY_ITEM = ("item_attempts", "item_passes")
CONTINUED = ("context", "slot", "count", "pair", "pair_slot", "pair_count")


def merged(
    parts: Sequence[Statistics],
    extra_topics: Iterable[int] = (),
    pairs: int = PAIRS,
    offered: Iterable[int] = (),
) -> Statistics:
    """Add up statistics of logs that share no learner.

    The result equals the statistics of all logs at once under two conditions: each part was
    fitted with every topic of its log as an extra one, and no part has more pair transitions than
    are kept.

    Args:
        parts: Statistics of the logs, at least one.
        extra_topics: Topic ids that get a slot even without events; the extra topics of the parts
            get none.
        pairs: Maximum number of distinct pair transitions; the most frequent ones are kept.
        offered: Topics of the catalogue; each topic outside the vocabulary adds one spare slot.
            With a catalogue, no other topic gets a slot.
    """
    met_ids = [part.topic_ids[part.topic_events > 0] for part in parts]
    offered_ids = np.fromiter(offered, np.int64)
    ids = np.unique(np.concatenate([*met_ids, np.fromiter(extra_topics, np.int64)])).astype(
        np.int64
    )
    if len(offered_ids):
        ids = np.intersect1d(ids, offered_ids)
    items = np.unique(np.concatenate([part.item_ids for part in parts]))
    counts: dict[str, NDArray[np.int64]] = {
        **{name: np.zeros(len(ids) + 1, np.int64) for name in BY_TOPIC},
        **{name: np.zeros(len(items), np.int64) for name in BY_ITEM},
    }
    continued = []
    for part in parts:
        slots = np.searchsorted(ids, part.topic_ids) + 1
        slots[~np.isin(part.topic_ids, ids)] = 0
        for name in BY_TOPIC:
            counts[name][slots] += getattr(part, name)
        for name in BY_ITEM:
            counts[name][np.searchsorted(items, part.item_ids)] += getattr(part, name)
        continued.append(({name: getattr(part, name) for name in CONTINUED}, np.append(0, slots)))
    return Statistics(
        topic_ids=ids,
        item_ids=items,
        trained_until=np.array(max(int(part.trained_until) for part in parts), np.int64),
        unmet=np.array(len(np.setdiff1d(offered_ids, ids)), np.int64),
        **{name: values[1:] if name in BY_TOPIC else values for name, values in counts.items()},
        **merge_continuations(continued, len(ids), pairs),
    )


def _continuations(
    events: "Events", used: NDArray[np.bool_], ids: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Count transitions to the learning events used; other events count only as context."""
    learning = np.flatnonzero(events.kind < LEARNING)
    slots = np.searchsorted(ids, events.topic_ids) + 1
    slots[~np.isin(events.topic_ids, ids)] = 0
    slot = np.append(slots, 0)[events.topic[learning]]
    start = np.searchsorted(learning, events.offsets[:-1])
    events_of = np.diff(np.append(start, len(learning)))
    previous = np.arange(len(learning)) - np.repeat(start, events_of)
    last, before = (np.where(previous >= n, np.roll(slot, n), 0) for n in (1, 2))
    counted = used[learning] & (slot > 0)
    return count_continuations(
        last[counted], before[counted], previous[counted], slot[counted], len(ids)
    )


def _count(codes: NDArray[Any], size: int) -> NDArray[np.int64]:
    return np.bincount(codes, minlength=size).astype(np.int64)
