"""Log statistics from one pass: enough to check if training is possible and whom to hold out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.corpus.daily_counts import DailyCounts
from features.events import Events
from features.learner_state import PRACTICE, QUIZ
from sensei.contracts import PASS_SCORE
from sensei.errors import NotEnoughData
from training.data.shards import Log, hashes
from training.data.splits import CONTEXT, TEST, TRAIN, VALIDATE, Rule, SplitLabels

HELD = (VALIDATE, TEST)
PARTS = (TRAIN, *HELD)
HELD_OUT_SALT = "held out"

MIN_TARGETS = 20
"""Minimum number of training targets, and of scored training attempts."""

HELD_OUT = 500_000
"""Maximum number of validation targets, and of test targets, of a log that exceeds memory."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LogStatistics:
    """Counts of a log and of its parts.

    Attributes:
        learners, topics: counts over the whole log.
        attempts, scored: attempts in the whole log, and those with a score.
        rows: events in the whole log.
        first, last: moments of the first and the last event, microseconds since the epoch.
        daily: visible learning events per topic and day.
        counts: (shards, 3) targets of the training, validation and test part.
        kind: description of the split: `time`, `learner` or `column`.
        topic_ids: (k,) topics of the targets, ascending.
        learned: (k,) training targets per topic of `topic_ids`.
        outcomes: scored training targets that were failed, and that were passed.
        hashes: (L,) hash of every learner; selects learners if the log has too many held-out
            targets.
        held_out: (L, 2) validation and test targets of each learner.
    """

    learners: int
    topics: int
    attempts: int
    scored: int
    rows: int
    first: int
    last: int
    daily: DailyCounts
    counts: Ints
    kind: str
    topic_ids: Ints
    learned: Ints
    outcomes: tuple[int, int]
    hashes: NDArray[np.uint64]
    held_out: Ints

    @classmethod
    def of(cls, log: Log, rule: Rule) -> "LogStatistics":
        """Count in one pass over the log."""
        daily: DailyCounts | None = None
        pieces = []
        ids: set[int] = set()
        for events in log:
            split = rule(events)
            ids.update(events.topic_ids.tolist())
            counted = DailyCounts.of(events, split.visible)
            daily = DailyCounts.merged([daily, counted]) if daily else counted
            pieces.append(_piece(events, split))
        assert daily is not None, "a log has a piece"
        columns = {name: [piece[name] for piece in pieces] for name in pieces[0]}
        named, learned = (np.concatenate(columns[name]) for name in ("named", "learned"))
        topic_ids, position = np.unique(named, return_inverse=True)
        failed, passed = np.sum(columns["outcomes"], axis=0).tolist()
        return cls(
            learners=sum(columns["learners"]),
            topics=len(ids),
            attempts=sum(columns["attempts"]),
            scored=sum(columns["scored"]),
            rows=sum(columns["rows"]),
            first=min(columns["first"]),
            last=max(columns["last"]),
            daily=daily,
            counts=np.array(columns["counts"]),
            kind=split.kind,
            topic_ids=topic_ids,
            learned=np.bincount(position, learned, len(topic_ids)).astype(np.int64),
            outcomes=(failed, passed),
            hashes=np.concatenate(columns["hashes"]),
            held_out=np.concatenate(columns["held_out"]),
        )

    def check(self) -> None:
        """Check that the log suffices for training.

        Raises:
            NotEnoughData: the log has one learner, one topic, or a part without enough targets.
        """
        if self.learners < 2:
            raise NotEnoughData(
                f"user_id: expected at least two learners, got {self.learners}; "
                "import more learners"
            )
        if len(self.topic_ids) < 2:
            raise NotEnoughData(
                "topic_id: expected learning events on at least two topics, got "
                f"{len(self.topic_ids)}; import events on more "
                "topics"
            )
        needed = {"training": MIN_TARGETS, "validation": 1, "test": 1}
        for (name, least), count in zip(needed.items(), self.counts.sum(axis=0), strict=True):
            if count < least:
                raise NotEnoughData(
                    f"events: expected at least {least} learning events in the {name} part, "
                    f"got {count}; import more events or choose another split"
                )

    @property
    def share(self) -> float:
        """Share of the learners whose validation and test targets are used, in (0, 1]."""
        return float(np.mean(self.hashes <= self.last_hash))

    @property
    def last_hash(self) -> int:
        """Highest hash of a learner whose held-out targets are used.

        In the order of their hashes, learners are added while neither part exceeds `HELD_OUT`
        targets. More are added if needed until both parts have a target.
        """
        order = np.argsort(self.hashes, kind="stable")
        targets = np.cumsum(self.held_out[order], axis=0)
        fitting = int(np.count_nonzero((targets <= HELD_OUT).all(axis=1)))
        least = int(np.count_nonzero((targets == 0).any(axis=1))) + 1
        return int(self.hashes[order[min(max(fitting, least), len(order)) - 1]])


def _piece(events: Events, split: SplitLabels) -> dict[str, Any]:
    """Return the additive counts of one shard."""
    attempt = (events.kind == QUIZ) | (events.kind == PRACTICE)
    scored = attempt & ~np.isnan(events.score)
    targets, train = split.part != CONTEXT, split.part == TRAIN
    topics = np.bincount(events.topic[targets], minlength=len(events.topic_ids))
    named = np.flatnonzero(topics)
    learned = np.bincount(events.topic[train], minlength=len(events.topic_ids))
    passed = events.score[train & scored] >= PASS_SCORE
    people = len(events.user_ids)
    held_out = [np.bincount(events.learner[split.part == p], minlength=people) for p in HELD]
    return {
        "learners": people,
        "attempts": int(np.count_nonzero(attempt)),
        "scored": int(np.count_nonzero(scored)),
        "rows": len(events),
        "first": int(events.time.min(initial=np.iinfo(np.int64).max)),
        "last": int(events.time.max(initial=-1)),
        "counts": [int(np.count_nonzero(split.part == part)) for part in PARTS],
        "named": events.topic_ids[named],
        "learned": learned[named],
        "outcomes": np.bincount(passed, minlength=2),
        "hashes": hashes(events.user_ids, HELD_OUT_SALT),
        "held_out": np.stack(held_out, axis=1),
    }
