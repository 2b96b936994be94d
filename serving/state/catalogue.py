"""The platform's topics as serving needs them: titles, order, and what builds on what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sensei.curriculum import Topic


@dataclass(frozen=True)
class Catalogue:
    """Topics by id, in the order of the curriculum."""

    topics: Mapping[int, Topic] = field(default_factory=dict)

    @classmethod
    def of(cls, topics: Iterable[Topic]) -> "Catalogue":
        """The topics of a curriculum, in its order."""
        return cls({topic.topic_id: topic for topic in topics})

    def title(self, topic_id: int) -> str:
        """The topic's title; a log may know topics that no catalogue does."""
        topic = self.topics.get(topic_id)
        return topic.title if topic else f"Topic {topic_id}"

    def prerequisites(self, topic_id: int) -> tuple[int, ...]:
        """What the topic builds on; nothing where no catalogue says so."""
        topic = self.topics.get(topic_id)
        return topic.prerequisites if topic else ()

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, by first appearance."""
        return tuple(dict.fromkeys(topic.domain for topic in self.topics.values()))

    def needed_for(self, goals: Iterable[int]) -> set[int]:
        """The goals and all that they build on, directly or not."""
        found: set[int] = set()
        waiting = list(goals)
        while waiting:
            topic_id = waiting.pop()
            if topic_id not in found:
                found.add(topic_id)
                waiting.extend(self.prerequisites(topic_id))
        return found
