"""Which topics may be offered to a learner, and in which order."""

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
    """What a caller wants offered.

    Attributes:
        count: most topics.
        exclude_mastered: none that is mastered, however long ago.
        only_new: none that the learner has met.
        respect_prerequisites: none that builds on a topic not finished.
    """

    count: int = 3
    exclude_mastered: bool = False
    only_new: bool = False
    respect_prerequisites: bool = False


def is_offered(
    wanted: RankingOptions, history: History, catalogue: Catalogue, now_us: int
) -> Callable[[int], bool]:
    """Whether a topic may be offered.

    Never the topic just studied (the gate judges models in the same way), nor one mastered so
    lately that it rests.
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
    """(slots,) whether the topic of a slot may be offered.

    Args:
        wanted: by the caller.
        history: of the learner.
        corpus: which topic has which slot.
        catalogue: what builds on what.
        taken: (slots,) whether a topic has the slot of the model that answers.
        now_us: microseconds since 1970.
    """
    offered = is_offered(wanted, history, catalogue, now_us)
    slots, kept = corpus.slots, taken.copy()
    if wanted.respect_prerequisites:
        asked: Iterable[int] = {**slots, **history.topics}
    elif wanted.only_new or wanted.exclude_mastered:
        asked = history.topics
    else:  # the way of most requests: few topics were studied so lately that they may rest
        since = now_us - REST_MICROSECONDS
        asked = [each for each, row in history.topics.items() if row[T_TIME] > since]
        asked += [each for each in history.last_topics(1) if each is not None]
    for topic_id in asked:
        place = slots[topic_id] - 1  # -1: no slot
        if 0 <= place < len(kept) and not offered(topic_id):
            kept[place] = False
    return kept


def shares(probability: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The probabilities among what is offered.

    Args:
        probability: (n, slots).
        kept: (slots,) what is offered.

    Returns:
        (n, slots) rows that sum to 1, where anything is offered; 0 at what is not.
    """
    share = probability * kept
    total = share.sum(axis=1, keepdims=True)
    found: NDArray[np.float32] = share / np.maximum(total, np.float32(1e-30))
    return found


def best(share: NDArray[np.float32], kept: NDArray[np.bool_], count: int) -> list[int]:
    """Places of the greatest shares among what is offered, greatest first, at most `count`."""
    order = np.argsort(-share, kind="stable")
    found: list[int] = order[kept[order]][:count].tolist()
    return found
