"""Which topics lie between a learner and a goal, and in which order; nothing is remembered.

A plan is made anew from what the learner has done at each question: a failed quiz, a topic
finished elsewhere, a new prerequisite change the next answer.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from features.learner_state import T_STREAK, Numbers
from serving.engine.mastery import failed, finished, mastered
from serving.state.catalogue import Catalogue

Status = Literal["failed", "shaky", "started", "new"]

TURNS: tuple[Status, ...] = ("shaky", "failed", "started", "new")
"""What comes first of topics that may be studied: what was begun before what is new."""

REPEATED_FAILURES = 2
"""After so many failures in a row on a topic, what it builds on is studied again."""


class Step(NamedTuple):
    """A topic to study.

    Attributes:
        topic_id: its number.
        status: `failed` last time, `shaky` because what builds on it failed, `started` without a
            pass, or `new`.
        because: the topic that failed, where the status is `shaky`.
    """

    topic_id: int
    status: Status
    because: int | None = None


def open_topics(
    goals: Iterable[int], topics: Mapping[int, Numbers], catalogue: Catalogue
) -> dict[int, Step]:
    """What is not finished of the goals and of all they build on, by topic.

    A prerequisite that was finished, but not mastered, is open again while a topic that builds on
    it has failed `REPEATED_FAILURES` times in a row.

    Args:
        goals: topics to be finished.
        topics: numbers of each topic that the learner has met.
        catalogue: what builds on what.
    """
    needed = catalogue.needed_for(goals)
    found: dict[int, Step] = {}
    for topic_id in needed:
        row = topics.get(topic_id)
        if row is None:
            found[topic_id] = Step(topic_id, "new")
        elif not finished(row):
            found[topic_id] = Step(topic_id, "failed" if failed(row) else "started")
    for topic_id in [each for each, step in found.items() if step.status == "failed"]:
        if topics[topic_id][T_STREAK] <= -REPEATED_FAILURES:
            for before in catalogue.prerequisites(topic_id):
                if before not in found and not mastered(topics[before]):
                    found[before] = Step(before, "shaky", topic_id)
    return found


def in_order(
    steps: Mapping[int, Step],
    count: int,
    catalogue: Catalogue,
    appeal: Callable[[int], float],
) -> list[Step]:
    """The next steps, prerequisites first.

    Args:
        steps: what is open, see `open_topics`.
        count: most steps.
        catalogue: what builds on what, and the order among equals.
        appeal: of a topic; of those that may be studied and have the same turn, the most
            appealing comes first.

    Returns:
        At most `count` steps; each comes after all open topics that it builds on.
    """
    position = {topic_id: place for place, topic_id in enumerate(catalogue.topics)}

    def turn(step: Step) -> tuple[int, float, int, int]:
        place = position.get(step.topic_id, len(position))
        return TURNS.index(step.status), -appeal(step.topic_id), place, step.topic_id

    waiting = sorted(steps.values(), key=turn)
    left, found = set(steps), list[Step]()
    while waiting and len(found) < count:
        following = next(
            step for step in waiting if left.isdisjoint(catalogue.prerequisites(step.topic_id))
        )
        waiting.remove(following)
        left.discard(following.topic_id)
        found.append(following)
    return found
