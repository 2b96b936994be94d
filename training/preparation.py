"""From a split log to the examples of its three parts, or the reason why it is too small."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import statistics as corpus
from features.batch import Events, Examples, examples, joined
from features.recency import Recency
from features.statistics import Statistics
from sensei.contracts import ATTEMPT_KINDS, KINDS
from sensei.errors import NotEnoughData
from training.splits import CONTEXT, TEST, TRAIN, VALIDATE, Split, folds, split_attempts

MIN_TARGETS = 20
"""Fewer training targets, or scored attempts, teach nothing that could be measured."""


FOLDS = 5
"""Folds of learners whose training rows are read with the statistics of the others."""


@dataclass(frozen=True)
class Parts:
    """Targets of the three parts, and the statistics they were read with.

    Attributes:
        statistics: corpus tables of the events known in training.
        train: targets to learn from, read with statistics of other learners only.
        validate: targets to choose by.
        test: targets to open once, after the choice.
        visible: (n_events,) events that recent popularity may count.
        kind: how the parts were made, in words.
    """

    statistics: Statistics
    train: Examples
    validate: Examples
    test: Examples
    visible: NDArray[np.bool_]
    kind: str

    @property
    def topics(self) -> int:
        """Number of topics with a slot."""
        return len(self.statistics.topic_ids)

    @property
    def counts(self) -> dict[str, int]:
        """Part -> number of targets."""
        return {part: len(getattr(self, part)) for part in ("train", "validate", "test")}


@dataclass(frozen=True)
class Prepared(Parts):
    """The targets of the recommendation model, and beside them those of the difficulty model.

    Attributes:
        attempts: scored attempts; None where `no_success` says why none can be learned from.
        no_success: why no difficulty model can be trained; empty where one can.
    """

    attempts: Parts | None
    no_success: str


def prepare(events: Events, split: Split, extra_topics: Iterable[int] = ()) -> Prepared:
    """Fit the statistics and read the examples of every part.

    Args:
        events: the encoded log.
        split: the part of each event.
        extra_topics: topics of the catalogue that get a slot though nobody met them yet.

    Raises:
        NotEnoughData: one learner, one topic, or a part without targets.
    """
    _check(events, split)
    extra = tuple(extra_topics)
    parts = _parts(events, split, extra)
    attempts, no_success = _attempts(events, split, extra)
    return Prepared(**vars(parts), attempts=attempts, no_success=no_success)


def _parts(events: Events, split: Split, extra_topics: Iterable[int]) -> Parts:
    tables = corpus.fit(events, split.known, extra_topics)
    recency = Recency.of(events, tables, split.visible)
    nobody = np.zeros(len(events), bool)
    later = examples(events, tables, split.part > TRAIN, nobody, recency)
    part = split.part[later.event]
    validate, test = (later.take(part == p) for p in (VALIDATE, TEST))
    train = _cross_fitted(events, split, tables, recency)
    return Parts(tables, train, validate, test, split.visible, split.kind)


def _attempts(
    events: Events, split: Split, extra_topics: Iterable[int]
) -> tuple[Parts | None, str]:
    """The scored attempts in their parts, or why success cannot be learned from them."""
    attempt = np.isin(events.kind, [KINDS.index(kind) for kind in ATTEMPT_KINDS])
    if not attempt.any():
        return None, "no quiz or practice attempt in the log"
    if np.isnan(events.score[attempt]).all():
        return None, "no attempt carries a score"
    try:
        of_attempts = split_attempts(events, split)
    except NotEnoughData:
        return None, "the scored attempts fall on fewer than three different times"
    parts = _parts(events, of_attempts, extra_topics)
    outcome = parts.train.passed
    if len(outcome) < MIN_TARGETS:
        return None, f"{len(outcome)} scored attempts in the training part, {MIN_TARGETS} needed"
    if outcome.min() == outcome.max():
        said = "passed" if outcome[0] else "failed"
        return None, f"every attempt of the training part was {said}"
    for name, rows in (("validation", parts.validate), ("test", parts.test)):
        if not len(rows):
            return None, f"no scored attempt in the {name} part"
    return parts, ""


def _cross_fitted(events: Events, split: Split, tables: Statistics, recency: Recency) -> Examples:
    """Training examples, each read with the statistics of the learners outside its own fold.

    Leaving out the one learner alone would tell his outcome: in a topic that each learner attempts
    once, those who passed would all see a rate a little lower than those who failed, and a network
    learns exactly that, upside down.
    """
    fold = folds(events, FOLDS)
    nobody = np.zeros(len(events), bool)
    parts = []
    for each in range(FOLDS):
        others = corpus.fit(events, split.known & (fold != each), tables.topic_ids)
        mine = (split.part == TRAIN) & (fold == each)
        parts.append(examples(events, others, mine, nobody, recency))
    return joined(parts)


def _check(events: Events, split: Split) -> None:
    learners, topics = len(events.user_ids), len(np.unique(events.topic[split.part != CONTEXT]))
    if learners < 2:
        raise NotEnoughData(
            f"user_id: expected at least two learners, got {learners}; import more learners"
        )
    if topics < 2:
        raise NotEnoughData(
            f"topic_id: expected learning events on at least two topics, got {topics}; "
            "there is nothing to choose from until more topics are studied"
        )
    needed = {"training": (TRAIN, MIN_TARGETS), "validation": (VALIDATE, 1), "test": (TEST, 1)}
    for name, (part, least) in needed.items():
        count = int(np.count_nonzero(split.part == part))
        if count < least:
            raise NotEnoughData(
                f"events: expected at least {least} learning events in the {name} part, "
                f"got {count}; import more events or choose another split"
            )
