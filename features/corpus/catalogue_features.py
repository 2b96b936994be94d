"""What the catalogue says of topics: their domains, and what is to be known before them.

Of a topic that nobody has met yet it is all that is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.corpus.statistics import Slots
from features.input_indices import (
    DOMAIN_FAST,
    DOMAIN_WEIGHT,
    FAST,
    PREREQUISITES,
    SEEN,
    WEIGHT,
)

Floats = NDArray[np.float32]


class CatalogueTopic(Protocol):
    """A topic as a curriculum has it; `sensei.curriculum.Topic` is one."""

    @property
    def topic_id(self) -> int:
        """Its id."""

    @property
    def domain(self) -> str:
        """The field it belongs to."""

    @property
    def prerequisites(self) -> tuple[int, ...]:
        """Ids of the topics to know before it."""


@dataclass(frozen=True)
class CatalogueFeatures:
    """The topics of a catalogue; empty where a log comes without one.

    Attributes:
        domains: topic id -> name of its domain.
        prerequisites: topic id -> ids of those to know before it.
    """

    domains: Mapping[int, str] = field(default_factory=dict)
    prerequisites: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, topics: Iterable[CatalogueTopic]) -> "CatalogueFeatures":
        """What a catalogue's topics say."""
        topics = tuple(topics)
        return cls(
            {each.topic_id: each.domain for each in topics},
            {each.topic_id: each.prerequisites for each in topics if each.prerequisites},
        )

    @cached_property
    def codes(self) -> Slots:
        """Domain of each topic id from 1 on, by first appearance; 0 for a topic it lacks."""
        names = {name: code for code, name in enumerate(dict.fromkeys(self.domains.values()), 1)}
        return Slots((topic, names[name]) for topic, name in self.domains.items())

    @property
    def size(self) -> int:
        """Number of domains."""
        return len(set(self.domains.values()))

    def related(self, slots: Mapping[int, int], width: int) -> "TopicRelations":
        """The same by slot.

        Args:
            slots: slot of each topic id; topics without one say nothing and are not read.
            width: number of slots.
        """
        member = np.zeros((width, self.size), np.float32)
        for topic, code in self.codes.items():
            if slots[topic]:
                member[slots[topic] - 1, code - 1] = 1.0
        needs = {
            slots[topic] - 1: [slots[each] - 1 for each in before if slots[each]]
            for topic, before in self.prerequisites.items()
            if slots[topic]
        }
        needs = {topic: before for topic, before in sorted(needs.items()) if before}
        counts = np.array([len(each) for each in needs.values()], np.int64)
        return TopicRelations(
            member,
            np.array(list(needs), np.int64),
            np.array([one for each in needs.values() for one in each], np.int64),
            counts,
        )


@dataclass(frozen=True)
class TopicRelations:
    """How slots are related.

    Attributes:
        member: (width, domains) 1 where a slot's topic belongs to the domain.
        topic: (k,) places of the topics with prerequisites.
        before: (p,) places of their prerequisites, one topic's after the other's.
        counts: (k,) how many each has.
    """

    member: Floats
    topic: NDArray[np.int64]
    before: NDArray[np.int64]
    counts: NDArray[np.int64]

    def write(self, topics: Floats) -> None:
        """Write what a learner's history says of each topic by way of its relations.

        Args:
            topics: (n, width, 16) of `contracts.TOPIC_INPUTS`, whose own history is written.
        """
        if self.member.size:
            for column, own in ((DOMAIN_WEIGHT, WEIGHT), (DOMAIN_FAST, FAST)):
                total = np.expm1(topics[:, :, own]) @ self.member
                topics[:, :, column] = np.log1p(total @ self.member.T)
        if self.topic.size:
            start = np.cumsum(self.counts) - self.counts
            met = np.add.reduceat(topics[:, self.before, SEEN], start, axis=1)
            topics[:, self.topic, PREREQUISITES] = 2.0 * met / self.counts - 1.0
