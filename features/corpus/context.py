"""What everybody did, as one reading needs it: the trained statistics and what happened since."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.corpus.ability import add_up, general_ability, read_ability
from features.corpus.catalogue_features import CatalogueFeatures, TopicRelations
from features.corpus.popularity import SlotPopularity, slots_by_topic
from features.corpus.statistics import Slots, Statistics
from features.history import LEVEL_CODES, History
from features.input_indices import (
    DOMAIN_FAST,
    DOMAIN_WEIGHT,
    LAST,
    LOG_SINCE,
    NEW,
    PREREQUISITES,
    PRIORS,
    RECENT,
    SEEN,
    TODAY,
)
from features.inputs import read_attempt, read_event, read_item, read_topic
from features.learner_state import ROW_WIDTH, T_TIME
from sensei.contracts import DAY, EVENT_INPUTS, ITEM_INPUTS, SUCCESS_INPUTS, TOPIC_INPUTS

Floats = NDArray[np.float32]

OWN = LOG_SINCE + 1
"""How many inputs of a topic `read_topic` writes, the first ones."""

STILL = [*PRIORS, DOMAIN_WEIGHT, DOMAIN_FAST, PREREQUISITES]
"""Inputs of a topic that change with the learner's events alone."""


class _Met(NamedTuple):
    """What `Corpus.topics` reads off a history, kept between two events."""

    places: NDArray[np.int64]  # (k,) slot - 1 of each topic met
    times: NDArray[np.int64]  # (k,) of the last event on it, microseconds since the epoch
    own: Floats  # (k, 6) the first inputs of each
    still: Floats  # (width, 5) those of `STILL`
    last: int  # slot of the last topic, 0 without one


@dataclass(frozen=True)
class Corpus:
    """Statistics up to the training cutoff, and what the log said lately."""

    statistics: Statistics
    recency: SlotPopularity
    outline: CatalogueFeatures = field(default_factory=CatalogueFeatures)

    @cached_property
    def slots(self) -> Slots:
        """Slot of each topic id, spare ones of newcomers included; 0 for an unknown one."""
        return slots_by_topic(self.statistics, self.recency)

    @cached_property
    def _related(self) -> TopicRelations:
        return self.outline.related(self.slots, self.statistics.width)

    @cached_property
    def topic_ids(self) -> list[int | None]:
        """Topic of each slot 1, 2, ...; None where a spare slot is still free."""
        found: list[int | None] = [None] * self.statistics.width
        for topic, slot in self.slots.items():
            found[slot - 1] = topic
        return found

    def pass_rate(self, topic_id: int) -> float:
        """The topic's shrunk pass rate."""
        return self.statistics.pass_rate(topic_id)

    def event(
        self,
        history: History,
        kind: int,
        topic_id: int,
        score: float,
        time: int,
        item: str | None,
        difficulty: str | None = None,
    ) -> Floats:
        """What a sequence network reads of a learning event that comes after `history`.

        Args:
            history: The learner's state before the event.
            kind: Code of the event kind.
            topic_id: Its topic.
            score: Fraction, NaN without one.
            time: Microseconds since the epoch.
            item: Id of the attempted item, if any.
            difficulty: Level that the event names, if any.

        Returns:
            (9,) see `contracts.EVENT_INPUTS`.
        """
        out = [0.0] * len(EVENT_INPUTS)
        tried, won = self.statistics.item_counts(item)
        gap = history.gap(time)
        rate = self.statistics.pass_rate(topic_id)
        level = LEVEL_CODES[difficulty]
        read_event(out, self.slots[topic_id], kind, score, gap, rate, tried, won, level)
        return np.array(out, np.float32)

    def topics(self, history: History, now_us: int) -> Floats:
        """(width, 16) what is known of each topic; see `contracts.TOPIC_INPUTS`."""
        kept = history.remembered("topics", self, lambda: self._met(history))
        out = np.zeros((self.statistics.width, len(TOPIC_INPUTS)), np.float32)
        if len(kept.places):
            out[kept.places, :OWN] = kept.own
            # `read_topic`'s two lines that change while nothing happens, for all topics at once
            out[kept.places, TODAY] = kept.times // DAY == now_us // DAY
            since = np.maximum(now_us - kept.times, 0) / 1e6
            out[kept.places, LOG_SINCE] = np.log1p(since) / 10.0
        out[:, STILL] = kept.still
        if kept.last:
            out[kept.last - 1, LAST] = 1.0
        out[:, RECENT] = self.recency.of_day(now_us // DAY)
        out[(out[:, NEW] > 1.0) & (out[:, SEEN] > 0.0), NEW] = 1.0
        return out

    def _met(self, history: History) -> "_Met":
        """What `topics` reads off the history; but for ages, it changes with events alone."""
        slots = ((self.slots[topic], row) for topic, row in history.topics.items())
        met = [(slot - 1, row) for slot, row in slots if slot]
        own = [[0.0] * OWN for _ in met]
        for numbers, (_, row) in zip(own, met, strict=True):
            read_topic(numbers, row, history.events, 0)
        last_two = [0 if t is None else self.slots[t] for t in history.last_topics(2)]
        last, before, previous = (np.array([each]) for each in (*last_two, history.events))
        out = np.zeros((1, self.statistics.width, len(TOPIC_INPUTS)), np.float32)
        places = np.array([place for place, _ in met], np.int64)
        if met:
            out[0, places, :OWN] = own
        ratios = self.statistics.continuations.log_ratios(last, before, previous)
        for column, ratio in zip(PRIORS, ratios, strict=True):
            out[:, :, column] = ratio
        self._related.write(out)
        times = np.array([int(row[T_TIME]) for _, row in met], np.int64)
        return _Met(places, times, out[0, places, :OWN], out[0][:, STILL], last_two[0])

    def attempted(
        self,
        history: History,
        topic_id: int,
        now_us: int,
        item: str | None = None,
        practice: bool = False,
    ) -> tuple[Floats, Floats]:
        """What is known of a topic, and of an item of it, that the learner may try now.

        Returns:
            (18,) of `contracts.SUCCESS_INPUTS` and (3,) of `contracts.ITEM_INPUTS`.
        """
        free, of_item = [0.0] * len(SUCCESS_INPUTS), [0.0] * len(ITEM_INPUTS)
        slot = self.statistics.slot_of(topic_id)
        attempts = int(self.statistics.topic_attempts[slot - 1]) if slot else 0
        row = history.topics.get(topic_id) or [0.0] * ROW_WIDTH
        same = history.last_topics(1)[0] == topic_id
        rate = self.statistics.pass_rate(topic_id)
        read_attempt(free, history.learner, row, same, practice, rate, attempts, now_us)
        ability, sums = self._abilities(history)
        usual, domain = self.statistics.usual[topic_id], self.outline.codes[topic_id]
        read_ability(free, row, usual, ability, domain, sums)
        read_item(of_item, rate, *self.statistics.item_counts(item))
        return np.array(free, np.float32), np.array(of_item, np.float32)

    def _abilities(self, history: History) -> tuple[float, list[list[float]]]:
        """How able a learner is, at all and by domain; computed once between two events."""

        def compute() -> tuple[float, list[list[float]]]:
            met = history.topics, list(history.topics), len(history.topics), self.statistics.usual
            ability = general_ability(*met)
            sums = [[0.0, 0.0, 0.0] for _ in range(self.outline.size + 1)]
            add_up(sums, *met, self.outline.codes, ability)
            return ability, sums

        return history.remembered("abilities", self, compute)
