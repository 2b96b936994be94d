"""Catalogue for serving: titles, order and prerequisites of the topics that are offered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from sensei.curriculum import Topic


@dataclass(frozen=True)
class Catalogue:
    """Topics by id, in the curriculum's order.

    Attributes:
        topics: the topics that are offered; empty without a catalogue.
        retired: the other topics, which learners may have met.
    """

    topics: Mapping[int, Topic] = field(default_factory=dict)
    retired: Mapping[int, Topic] = field(default_factory=dict)

    @classmethod
    def of(cls, topics: Iterable[Topic]) -> "Catalogue":
        """Build the catalogue from the topics of a curriculum, in their order."""
        offered: dict[int, Topic] = {}
        retired: dict[int, Topic] = {}
        for topic in topics:
            (offered if topic.is_offered else retired)[topic.topic_id] = topic
        return cls(offered, retired)

    @property
    def every_topic(self) -> Iterable[Topic]:
        """Topics that are offered, then the retired ones."""
        return chain(self.topics.values(), self.retired.values())

    def current(self, topic_id: int) -> int:
        """Return the topic that events on a topic count for: its replacement, or itself."""
        topic = self.retired.get(topic_id)
        return topic.counts_for if topic else topic_id

    def has(self, topic_id: int) -> bool:
        """Tell if the catalogue has a topic, retired or not; an empty one has every topic."""
        return not self.topics or topic_id in self.topics or topic_id in self.retired

    def title(self, topic_id: int) -> str:
        """Return the topic's title, or `Topic` and its id for a topic outside the catalogue."""
        topic = self.topics.get(topic_id) or self.retired.get(topic_id)
        return topic.title if topic else f"Topic {topic_id}"

    def prerequisites(self, topic_id: int) -> tuple[int, ...]:
        """Return the topic's direct prerequisites; none if the catalogue lacks the topic."""
        topic = self.topics.get(topic_id)
        return topic.prerequisites if topic else ()

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in order of first appearance."""
        return tuple(dict.fromkeys(topic.domain for topic in self.topics.values()))

    def needed_for(self, goals: Iterable[int]) -> set[int]:
        """Return the goals and all their direct and indirect prerequisites."""
        needed: set[int] = set()
        waiting = list(goals)
        while waiting:
            topic_id = waiting.pop()
            if topic_id not in needed:
                needed.add(topic_id)
                waiting.extend(self.prerequisites(topic_id))
        return needed
