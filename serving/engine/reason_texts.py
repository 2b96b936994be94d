"""Texts of reasons: sentences for the learner, by cause."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history import History
from features.learner_state import (
    ATTEMPTS,
    DAYS,
    EVENTS,
    LAST_TIME,
    SCORE_SUM,
    T_EVENTS,
    T_TIME,
)
from sensei.contracts import TOPIC_INPUTS, place
from serving.state.catalogue import Catalogue

FOLLOWS, POPULAR, DOMAIN = (
    place(TOPIC_INPUTS, name) for name in ("prior_1", "recent_7", "domain_weight")
)


class ReasonContext(NamedTuple):
    """Data that a reason text may use: the learner, one topic, and the activity of all learners."""

    topic_id: int
    features: NDArray[np.float32] | None  # (16,) `contracts.TOPIC_INPUTS`; None if not read
    history: History
    catalogue: Catalogue
    now_us: int


def last_topic(facts: ReasonContext) -> str:
    """Name the topic studied last, and say if learners often study this topic after it."""
    last = facts.history.last_topic_id
    if last is None:
        return "learners often start with it"
    after = facts.catalogue.title(last)
    if facts.features is not None and facts.features[FOLLOWS] > 0:
        return f"it often follows “{after}”, which you studied last"
    return f"you studied “{after}” last"


def own_history(facts: ReasonContext) -> str:
    """Say how often, and how long ago, the learner studied the topic."""
    row = facts.history.topics.get(facts.topic_id)
    if row is None:
        return "you have not studied it yet"
    return f"you have studied it {times(row[T_EVENTS])}, last {ago(facts.now_us - row[T_TIME])}"


def domain(facts: ReasonContext) -> str:
    """Say if the learner has studied the topic's domain before."""
    topic = facts.catalogue.topics.get(facts.topic_id)
    name = topic.domain if topic else "its domain"
    if facts.features is not None and facts.features[DOMAIN] > 0:
        return f"you have studied {name} before"
    return f"{name} is new to you"


def prerequisites(facts: ReasonContext) -> str:
    """Say if the learner has met the topic's prerequisites."""
    needed = facts.catalogue.prerequisites(facts.topic_id)
    met = sum(topic_id in facts.history.topics for topic_id in needed)
    if not needed:
        return "it has no prerequisites"
    if met == len(needed):
        return "you have studied all its prerequisites"
    return f"you have {'studied some' if met else 'not studied any'} of its prerequisites"


def popular_lately(facts: ReasonContext) -> str:
    """Say if many learners studied the topic recently."""
    if facts.features is not None and facts.features[POPULAR] > 0:
        return "many learners study it now"
    return "few learners are studying it yet"


def scores(facts: ReasonContext) -> str:
    """Give the learner's mean score."""
    attempts = facts.history.learner[ATTEMPTS]
    if not attempts:
        return "you have no scores yet"
    mean = facts.history.learner[SCORE_SUM] / attempts
    return f"it fits your scores so far, {mean:.0%} on average"


def pace(facts: ReasonContext) -> str:
    """Say how much, and how recently, the learner studies."""
    learner = facts.history.learner
    since, days = ago(facts.now_us - learner[LAST_TIME]), int(learner[DAYS])
    if learner[EVENTS] < 2:
        return (
            f"you studied for the first time {since}"
            if learner[EVENTS]
            else "you have just started"
        )
    return (
        f"it fits how much you study: {times(learner[EVENTS])} on {days} day{'s' * (days != 1)}, "
        f"most recently {since}"
    )


def order(_: ReasonContext) -> str:
    """Refer to the order of the learner's events."""
    return "it fits the order of what you have studied so far"


WORDS: dict[str, Callable[[ReasonContext], str]] = {
    text.__name__: text
    for text in (
        last_topic,
        own_history,
        domain,
        prerequisites,
        popular_lately,
        scores,
        pace,
        order,
    )
}
"""Text functions by cause name; `serving.engine.reasons` defines the causes."""


def times(count: float) -> str:
    """Return a count as text: "once", "twice", "3 times"."""
    return {1: "once", 2: "twice"}.get(int(count), f"{int(count)} times")


def ago(microseconds: float) -> str:
    """Return the time elapsed as text, in whole days, hours or minutes."""
    seconds = max(0.0, microseconds) / 1e6
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit:
            count = int(seconds // unit)
            return f"{count} {name}{'s' * (count != 1)} ago"
    return "just now"
