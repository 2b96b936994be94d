"""Eligibility and ranking of topics for a learner."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.corpus.context import Corpus
from features.history import History
from features.learner_state import T_LAST_ATTEMPT
from serving.engine.mastery import REST_MICROSECONDS, finished, mastered
from serving.state.catalogue import Catalogue


@dataclass(frozen=True)
class RankingOptions:
    """A caller's options for a recommendation.

    Attributes:
        count: maximum number of topics.
        exclude_mastered: exclude mastered topics, however long ago they were mastered.
        only_new: exclude topics that the learner has met.
        respect_prerequisites: exclude topics with an unfinished prerequisite.
    """

    count: int = 3
    exclude_mastered: bool = False
    only_new: bool = False
    respect_prerequisites: bool = False


def excluded_topics(options: RankingOptions, history: History, now_us: int) -> set[int]:
    """Return the topics met that may not be offered.

    The topic just studied is never offered; the gate evaluates models in the same way. Neither is a
    topic mastered so recently that it rests.
    """
    topics = history.topics
    if options.only_new:
        return set(topics)
    since = -math.inf if options.exclude_mastered else now_us - REST_MICROSECONDS
    excluded = {
        topic_id
        for topic_id, row in topics.items()
        if row[T_LAST_ATTEMPT] > since and mastered(row)
    }
    last = history.last_topic_id
    return excluded if last is None else excluded | {last}


def is_open(history: History, catalogue: Catalogue) -> Callable[[int], bool]:
    """Return a predicate on topic ids: true if the learner finished all prerequisites."""
    done = {topic_id for topic_id, row in history.topics.items() if finished(row)}
    return lambda topic_id: done.issuperset(catalogue.prerequisites(topic_id))


def offerable(
    options: RankingOptions,
    history: History,
    corpus: Corpus,
    catalogue: Catalogue,
    taken: NDArray[np.bool_],
    now_us: int,
) -> NDArray[np.bool_]:
    """Return (slots,) true if the topic of a slot may be offered.

    Args:
        options: the caller's options.
        history: the learner's history.
        corpus: slots of the topics.
        catalogue: prerequisites of the topics.
        taken: (slots,) true if a topic has the slot in the model that answers.
        now_us: microseconds since 1970.
    """
    slots, offered = corpus.slots, taken.copy()
    excluded = excluded_topics(options, history, now_us)
    if options.respect_prerequisites:
        excluded.update(itertools.filterfalse(is_open(history, catalogue), slots))
    for topic_id in excluded:
        index = slots.get(topic_id, 0) - 1  # -1: no slot
        if 0 <= index < len(offered):
            offered[index] = False
    return offered


def shares(probability: NDArray[np.float32], offered: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Normalise the probabilities over the offered topics.

    Args:
        probability: (n, slots).
        offered: (slots,) true for offered topics.

    Returns:
        (n, slots); each row sums to 1 if anything is offered, and is 0 for topics not offered.
    """
    share = probability * offered
    total = share.sum(axis=1, keepdims=True)
    normalised: NDArray[np.float32] = share / np.maximum(total, np.float32(1e-30))
    return normalised


def best(share: NDArray[np.float32], offered: NDArray[np.bool_], count: int) -> list[int]:
    """Return the slots of the largest shares among offered topics, largest first.

    Returns:
        At most `count` indices, from 0.
    """
    order = np.argsort(-share, kind="stable")
    indices: list[int] = order[offered[order]][:count].tolist()
    return indices
