"""Corpus context of a prediction: trained statistics, recent popularity and the catalogue."""

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
"""Number of topic inputs that `read_topic` writes; they come first."""

STILL = [*PRIORS, DOMAIN_WEIGHT, DOMAIN_FAST, PREREQUISITES]
"""Topic inputs that change only with the learner's events, not with time."""


class _Met(NamedTuple):
    """Topic inputs that `Corpus.topics` reads from a history, cached until the next event."""

    slot_indices: NDArray[np.int64]  # (k,) slot - 1 of each topic met
    times: NDArray[np.int64]  # (k,) time of each topic's last event, microseconds since the epoch
    inputs: Floats  # (k, 6) the first inputs of each topic met
    still: Floats  # (width, 5) inputs of `STILL`
    last: int  # slot of the last topic; 0 if none or unknown


@dataclass(frozen=True)
class Corpus:
    """Statistics up to the training cutoff, recent popularity and catalogue features."""

    statistics: Statistics
    recency: SlotPopularity
    outline: CatalogueFeatures = field(default_factory=CatalogueFeatures)

    @cached_property
    def slots(self) -> Slots:
        """Slot of each topic id, spare slots of newcomers included; 0 for an unknown topic."""
        return slots_by_topic(self.statistics, self.recency)

    @cached_property
    def _related(self) -> TopicRelations:
        return self.outline.related(self.slots, self.statistics.width)

    @cached_property
    def topic_ids(self) -> list[int | None]:
        """Topic id of each slot 1, 2, ...; None for a free spare slot."""
        ids: list[int | None] = [None] * self.statistics.width
        for topic, slot in self.slots.items():
            ids[slot - 1] = topic
        return ids

    def pass_rate(self, topic_id: int) -> float:
        """Return the topic's shrunk pass rate, in (0, 1)."""
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
        """Compute the inputs of a sequence network for the learning event after `history`.

        Args:
            history: The learner's state before the event.
            kind: Code of the event kind.
            topic_id: Topic of the event.
            score: Fraction, NaN without a score.
            time: Microseconds since the epoch.
            item: Id of the attempted item, if any.
            difficulty: Level that the event names, if any.

        Returns:
            (9,) float32, see `contracts.EVENT_INPUTS`.
        """
        out = [0.0] * len(EVENT_INPUTS)
        attempts, passes = self.statistics.item_counts(item)
        gap = history.gap(time)
        rate = self.statistics.pass_rate(topic_id)
        level = LEVEL_CODES[difficulty]
        read_event(out, self.slots[topic_id], kind, score, gap, rate, attempts, passes, level)
        return np.array(out, np.float32)

    def topics(self, history: History, now_us: int) -> Floats:
        """Compute the (width, 16) float32 inputs of all topics; see `contracts.TOPIC_INPUTS`."""
        met = history.remembered("topics", self, lambda: self._met(history))
        out = np.zeros((self.statistics.width, len(TOPIC_INPUTS)), np.float32)
        if len(met.slot_indices):
            out[met.slot_indices, :OWN] = met.inputs
            # The two inputs of `read_topic` that change with time alone, for all topics at once.
            out[met.slot_indices, TODAY] = met.times // DAY == now_us // DAY
            since = np.maximum(now_us - met.times, 0) / 1e6
            out[met.slot_indices, LOG_SINCE] = np.log1p(since) / 10.0
        out[:, STILL] = met.still
        if met.last:
            out[met.last - 1, LAST] = 1.0
        out[:, RECENT] = self.recency.of_day(now_us // DAY)
        out[(out[:, NEW] > 1.0) & (out[:, SEEN] > 0.0), NEW] = 1.0
        return out

    def _met(self, history: History) -> "_Met":
        """Compute the inputs of `topics` that change only with the learner's events."""
        slots = ((self.slots[topic], row) for topic, row in history.topics.items())
        met = [(slot - 1, row) for slot, row in slots if slot]
        inputs = [[0.0] * OWN for _ in met]
        for numbers, (_, row) in zip(inputs, met, strict=True):
            read_topic(numbers, row, history.events, 0)
        last_two = [0 if t is None else self.slots[t] for t in history.last_topics(2)]
        last, before, previous = (np.array([value]) for value in (*last_two, history.events))
        out = np.zeros((1, self.statistics.width, len(TOPIC_INPUTS)), np.float32)
        indices = np.array([index for index, _ in met], np.int64)
        if met:
            out[0, indices, :OWN] = inputs
        ratios = self.statistics.continuations.log_ratios(last, before, previous)
        for column, ratio in zip(PRIORS, ratios, strict=True):
            out[:, :, column] = ratio
        self._related.write(out)
        times = np.array([int(row[T_TIME]) for _, row in met], np.int64)
        return _Met(indices, times, out[0, indices, :OWN], out[0][:, STILL], last_two[0])

    def attempted(
        self,
        history: History,
        topic_id: int,
        now_us: int,
        item: str | None = None,
        practice: bool = False,
    ) -> tuple[Floats, Floats]:
        """Compute the inputs of a success network for a topic and an item to try now.

        Returns:
            float32 arrays: (18,) of `contracts.SUCCESS_INPUTS`, (3,) of `contracts.ITEM_INPUTS`.
        """
        free, of_item = [0.0] * len(SUCCESS_INPUTS), [0.0] * len(ITEM_INPUTS)
        slot = self.statistics.slot_of(topic_id)
        attempts = int(self.statistics.topic_attempts[slot - 1]) if slot else 0
        row = history.topics.get(topic_id) or [0.0] * ROW_WIDTH
        same = history.last_topics(1)[0] == topic_id
        rate = self.statistics.pass_rate(topic_id)
        read_attempt(free, history.learner, row, same, practice, rate, attempts, now_us)
        ability, sums = self._abilities(history)
        topic_logit, domain = self.statistics.topic_log_odds[topic_id], self.outline.codes[topic_id]
        read_ability(free, row, topic_logit, ability, domain, sums)
        read_item(of_item, rate, *self.statistics.item_counts(item))
        return np.array(free, np.float32), np.array(of_item, np.float32)

    def _abilities(self, history: History) -> tuple[float, list[list[float]]]:
        """Return the general ability and the sums per domain, cached until the next event."""

        def compute() -> tuple[float, list[list[float]]]:
            arguments = (
                history.topics,
                list(history.topics),
                len(history.topics),
                self.statistics.topic_log_odds,
            )
            ability = general_ability(*arguments)
            sums = [[0.0, 0.0, 0.0] for _ in range(self.outline.size + 1)]
            add_up(sums, *arguments, self.outline.codes, ability)
            return ability, sums

        return history.remembered("abilities", self, compute)
