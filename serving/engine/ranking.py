"""Eligibility and ranking of topics for a learner."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.corpus.context import Corpus
from features.history import History
from features.learner_state import ROW_WIDTH, T_TIME
from serving.engine.mastery import REST_MICROSECONDS, finished, mastered, rests
from serving.state.catalogue import Catalogue

_UNTOUCHED = [0.0] * ROW_WIDTH


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


def is_offered(
    wanted: RankingOptions, history: History, catalogue: Catalogue, now_us: int
) -> Callable[[int], bool]:
    """Return a predicate on topic ids: true if the topic may be offered.

    The topic just studied is never offered; the gate evaluates models in the same way. Neither is a
    topic mastered so recently that it rests.
    """
    last = history.last_topic_id
    topics = history.topics

    def offered(topic_id: int) -> bool:
        row = topics.get(topic_id)
        if row is not None and (
            wanted.only_new
            or topic_id == last
            or rests(row, now_us)
            or (wanted.exclude_mastered and mastered(row))
        ):
            return False
        return not wanted.respect_prerequisites or all(
            finished(topics.get(each, _UNTOUCHED)) for each in catalogue.prerequisites(topic_id)
        )

    return offered


def offerable(
    wanted: RankingOptions,
    history: History,
    corpus: Corpus,
    catalogue: Catalogue,
    taken: NDArray[np.bool_],
    now_us: int,
) -> NDArray[np.bool_]:
    """Return (slots,) true if the topic of a slot may be offered.

    Args:
        wanted: the caller's options.
        history: the learner's history.
        corpus: slots of the topics.
        catalogue: prerequisites of the topics.
        taken: (slots,) true if a topic has the slot in the model that answers.
        now_us: microseconds since 1970.
    """
    offered = is_offered(wanted, history, catalogue, now_us)
    slots, kept = corpus.slots, taken.copy()
    if wanted.respect_prerequisites:
        asked: Iterable[int] = {**slots, **history.topics}
    elif wanted.only_new or wanted.exclude_mastered:
        asked = history.topics
    else:  # most requests: only the few topics studied recently can rest
        since = now_us - REST_MICROSECONDS
        asked = [each for each, row in history.topics.items() if row[T_TIME] > since]
        asked += [each for each in history.last_topics(1) if each is not None]
    for topic_id in asked:
        place = slots[topic_id] - 1  # -1: no slot
        if 0 <= place < len(kept) and not offered(topic_id):
            kept[place] = False
    return kept


def shares(probability: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Normalise the probabilities over the offered topics.

    Args:
        probability: (n, slots).
        kept: (slots,) true for offered topics.

    Returns:
        (n, slots); each row sums to 1 if anything is offered, and is 0 for topics not offered.
    """
    share = probability * kept
    total = share.sum(axis=1, keepdims=True)
    found: NDArray[np.float32] = share / np.maximum(total, np.float32(1e-30))
    return found


def best(share: NDArray[np.float32], kept: NDArray[np.bool_], count: int) -> list[int]:
    """Return the slots of the largest shares among offered topics, largest first.

    Returns:
        At most `count` indices, from 0.
    """
    order = np.argsort(-share, kind="stable")
    found: list[int] = order[kept[order]][:count].tolist()
    return found
