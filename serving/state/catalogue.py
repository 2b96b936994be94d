"""Catalogue for serving: titles, order and prerequisites of the topics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sensei.curriculum import Topic


@dataclass(frozen=True)
class Catalogue:
    """Topics by id, in the curriculum's order."""

    topics: Mapping[int, Topic] = field(default_factory=dict)

    @classmethod
    def of(cls, topics: Iterable[Topic]) -> "Catalogue":
        """Build the catalogue from the topics of a curriculum, in their order."""
        return cls({topic.topic_id: topic for topic in topics})

    def title(self, topic_id: int) -> str:
        """Return the topic's title, or `Topic` and its id for a topic outside the catalogue."""
        topic = self.topics.get(topic_id)
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
