"""Catalogue features of topics: domains and prerequisites.

They are the only features of a topic that no learner has met yet.
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
    """Protocol of a topic in a curriculum; `sensei.curriculum.Topic` implements it."""

    @property
    def topic_id(self) -> int:
        """Id of the topic."""

    @property
    def domain(self) -> str:
        """Name of the topic's domain."""

    @property
    def prerequisites(self) -> tuple[int, ...]:
        """Ids of the topics to know before this one."""

    @property
    def is_offered(self) -> bool:
        """True if learners may be sent to the topic."""

    @property
    def replaced_by(self) -> int | None:
        """Id of the topic that events on this one count for; None if there is none."""


@dataclass(frozen=True)
class CatalogueFeatures:
    """Domains and prerequisites of the topics offered; empty without a catalogue.

    Attributes:
        domains: topic id -> name of its domain.
        prerequisites: topic id -> ids of its prerequisites.
        replaced: id of each replaced topic -> id of its replacement.
    """

    domains: Mapping[int, str] = field(default_factory=dict)
    prerequisites: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    replaced: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, topics: Iterable[CatalogueTopic]) -> "CatalogueFeatures":
        """Collect the features of a catalogue's topics."""
        topics = tuple(topics)
        offered = [topic for topic in topics if topic.is_offered]
        return cls(
            {topic.topic_id: topic.domain for topic in offered},
            {topic.topic_id: topic.prerequisites for topic in offered if topic.prerequisites},
            {
                topic.topic_id: topic.replaced_by
                for topic in topics
                if topic.replaced_by is not None
            },
        )

    def offers(self, topic_id: int) -> bool:
        """Tell if a topic may be offered; without a catalogue every topic may."""
        return not self.domains or topic_id in self.domains

    @cached_property
    def codes(self) -> Slots:
        """Domain code of each topic id, from 1 by first appearance; 0 for an unknown topic."""
        names = {name: code for code, name in enumerate(dict.fromkeys(self.domains.values()), 1)}
        return Slots((topic, names[name]) for topic, name in self.domains.items())

    @property
    def size(self) -> int:
        """Number of domains."""
        return len(set(self.domains.values()))

    def related(self, slots: Mapping[int, int], width: int) -> "TopicRelations":
        """Convert the domains and prerequisites from topic ids to slots.

        Args:
            slots: slot of each topic id, 0 for none; topics without a slot are left out.
            width: number of slots.
        """
        member = np.zeros((width, self.size), np.float32)
        for topic, code in self.codes.items():
            if slots[topic]:
                member[slots[topic] - 1, code - 1] = 1.0
        needs = {
            slots[topic] - 1: [
                slots[prerequisite] - 1 for prerequisite in needed if slots[prerequisite]
            ]
            for topic, needed in self.prerequisites.items()
            if slots[topic]
        }
        needs = {topic: needed for topic, needed in sorted(needs.items()) if needed}
        counts = np.array([len(needed) for needed in needs.values()], np.int64)
        return TopicRelations(
            member,
            np.array(list(needs), np.int64),
            np.array([slot for needed in needs.values() for slot in needed], np.int64),
            counts,
        )


@dataclass(frozen=True)
class TopicRelations:
    """Domains and prerequisites by slot; an index is a slot minus 1.

    Attributes:
        member: (width, domains) float32, 1 if the slot's topic belongs to the domain, else 0.
        topic: (k,) indices of the topics with prerequisites.
        before: (p,) indices of their prerequisites, topic after topic.
        counts: (k,) number of prerequisites of each topic.
    """

    member: Floats
    topic: NDArray[np.int64]
    before: NDArray[np.int64]
    counts: NDArray[np.int64]

    def write(self, topics: Floats) -> None:
        """Write the domain and prerequisite inputs of each topic.

        Args:
            topics: (n, width, 16) of `contracts.TOPIC_INPUTS`, changed in place; the inputs of
                each topic's own history are already written.
        """
        if self.member.size:
            for column, source in ((DOMAIN_WEIGHT, WEIGHT), (DOMAIN_FAST, FAST)):
                total = np.expm1(topics[:, :, source]) @ self.member
                topics[:, :, column] = np.log1p(total @ self.member.T)
        if self.topic.size:
            start = np.cumsum(self.counts) - self.counts
            met_count = np.add.reduceat(topics[:, self.before, SEEN], start, axis=1)
            topics[:, self.topic, PREREQUISITES] = 2.0 * met_count / self.counts - 1.0
