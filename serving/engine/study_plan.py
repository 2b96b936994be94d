"""Stateless study plan: the open topics between a learner and a goal, and their order.

Each request plans again from the learner's current history. A failed quiz, a topic finished
elsewhere or a new prerequisite changes the next answer.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from features.learner_state import T_STREAK, Numbers
from serving.engine.mastery import failed, finished, mastered
from serving.state.catalogue import Catalogue

Status = Literal["failed", "shaky", "started", "new"]

TURNS: tuple[Status, ...] = ("shaky", "failed", "started", "new")
"""Order of statuses among topics that may be studied: topics already begun before new ones."""

REPEATED_FAILURES = 2
"""Number of consecutive failures on a topic after which its prerequisites are studied again."""


class Step(NamedTuple):
    """Topic to study.

    Attributes:
        topic_id: id of the topic.
        status: `failed` at the last attempt; `shaky` because a topic that builds on it failed;
            `started` without a pass; or `new`.
        because: the topic that failed, if the status is `shaky`.
    """

    topic_id: int
    status: Status
    because: int | None = None


def open_topics(
    goals: Iterable[int], topics: Mapping[int, Numbers], catalogue: Catalogue
) -> dict[int, Step]:
    """Return the unfinished topics among the goals and all their prerequisites, by topic id.

    A prerequisite that is finished but not mastered opens again while a topic that builds on it has
    failed. That takes `REPEATED_FAILURES` failures in a row.

    Args:
        goals: topics to be finished.
        topics: numbers of each topic that the learner has met.
        catalogue: prerequisites of the topics.
    """
    needed = catalogue.needed_for(goals)
    steps: dict[int, Step] = {}
    for topic_id in needed:
        row = topics.get(topic_id)
        if row is None:
            steps[topic_id] = Step(topic_id, "new")
        elif not finished(row):
            steps[topic_id] = Step(topic_id, "failed" if failed(row) else "started")
    for topic_id in [topic_id for topic_id, step in steps.items() if step.status == "failed"]:
        if topics[topic_id][T_STREAK] <= -REPEATED_FAILURES:
            for before in catalogue.prerequisites(topic_id):
                if before not in steps and not mastered(topics[before]):
                    steps[before] = Step(before, "shaky", topic_id)
    return steps


def in_order(
    steps: Mapping[int, Step],
    count: int,
    catalogue: Catalogue,
    appeal: Callable[[int], float],
) -> list[Step]:
    """Return the next steps, prerequisites first.

    Args:
        steps: open topics, see `open_topics`.
        count: maximum number of steps.
        catalogue: prerequisites, and the order that breaks ties.
        appeal: topic id -> appeal; among topics of the same status that may be studied, the highest
            comes first.

    Returns:
        At most `count` steps; each comes after all open topics that it builds on.
    """
    position = {topic_id: index for index, topic_id in enumerate(catalogue.topics)}

    def turn(step: Step) -> tuple[int, float, int, int]:
        index = position.get(step.topic_id, len(position))
        return TURNS.index(step.status), -appeal(step.topic_id), index, step.topic_id

    waiting = sorted(steps.values(), key=turn)
    left, ordered = set(steps), list[Step]()
    while waiting and len(ordered) < count:
        following = next(
            step for step in waiting if left.isdisjoint(catalogue.prerequisites(step.topic_id))
        )
        waiting.remove(following)
        left.discard(following.topic_id)
        ordered.append(following)
    return ordered
