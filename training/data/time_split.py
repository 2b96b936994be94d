"""Split by time: train, then validate, then test; and the split of the scored attempts."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.batch import Events
from sensei.contracts import ATTEMPT_KINDS, DAY, KINDS
from sensei.errors import NotEnoughData
from training.data.shards import Log
from training.data.splits import (
    CONTEXT,
    TEST_SHARE,
    VALIDATE_SHARE,
    Rule,
    SplitLabels,
    inside,
    learning,
)

FRESH_DAYS = 3
"""Days per held-out part in a fresh split.

The two parts cover less than a week, so the model learns from changes of a week ago.
"""

ENOUGH = 1_000
"""Minimum number of targets per held-out part if the last days hold fewer."""

SAMPLED_MOMENTS = 2**20
"""Maximum number of moments searched for the cuts; a longer log is sampled per shard."""


def split_by_time(events: Events, start: int | None = None, end: int | None = None) -> SplitLabels:
    """Return the parts that `by_time` assigns to a log in memory."""
    return by_time((events,), start, end)(events)


def by_time(
    log: Log, start: int | None = None, end: int | None = None, fresh: bool = False
) -> "TimeSplit":
    """Test on the last 20 % of the window's targets or fewer; validate on those just before.

    Events of one moment always get the same part. In a log of more than `SAMPLED_MOMENTS` rows a
    cut is approximate: it may be off by one sampled moment per shard, some thousandths of a
    percent.

    Source: Ji et al. 2023, TOIS 41(3) (global timeline).

    Args:
        log: all events, history before the window included.
        start: first moment of the target window, microseconds since the epoch; by default the
            beginning of the log.
        end: end of the target window (exclusive); by default after the last event.
        fresh: hold out only as much as an evaluation needs, so that the model learns from recent
            events. Each held-out part covers the last `FRESH_DAYS`, or `ENOUGH` targets if these
            days hold fewer. The test part has at most 20 %, validation at most 10 % of the rest.

    Raises:
        NotEnoughData: the window's events fall on fewer than three moments.
    """

    def window(events: Events) -> NDArray[np.bool_]:
        targets: NDArray[np.bool_] = learning(events) & inside(events, start, end)
        return targets

    return TimeSplit.of(log, window, fresh)


def of_attempts(log: Log, rule: Rule) -> Rule:
    """Return the split of the scored attempts among the targets of a rule.

    In a split by time the attempts get a timeline of their own. Courses hold exams on a few days,
    so the last fifth of all events may have no attempt. In other splits an attempt stays in its
    part.

    Raises:
        NotEnoughData: the attempts fall on fewer than three moments.
    """

    def attempts(events: Events) -> SplitLabels:
        split = rule(events)
        attempt = np.isin(events.kind, [KINDS.index(kind) for kind in ATTEMPT_KINDS])
        scored = attempt & ~np.isnan(events.score)
        part = np.where(scored, split.part, CONTEXT).astype(np.int8)
        return SplitLabels(part, split.known, split.kind)

    def targets(events: Events) -> NDArray[np.bool_]:
        is_target: NDArray[np.bool_] = attempts(events).part != CONTEXT
        return is_target

    if rule(log[0]).kind == "time":
        return TimeSplit.of(log, targets, isinstance(rule, TimeSplit) and rule.fresh)
    return attempts


def of_offered(rule: Rule, offered: Collection[int]) -> Rule:
    """Return a rule in which only events on offered topics are targets.

    Args:
        rule: assigns each event to a part.
        offered: topic ids; empty without a catalogue, then the rule itself is returned.
    """
    if not offered:
        return rule
    ids = np.fromiter(offered, np.int64)

    def is_offered(events: Events) -> NDArray[np.bool_]:
        by_topic: NDArray[np.bool_] = np.isin(events.topic_ids, ids)
        return by_topic[events.topic]

    if isinstance(rule, TimeSplit):
        targets = rule.targets
        return replace(rule, targets=lambda events: targets(events) & is_offered(events))

    def parts(events: Events) -> SplitLabels:
        split = rule(events)
        part = np.where(is_offered(events), split.part, CONTEXT).astype(np.int8)
        return replace(split, part=part)

    return parts


@dataclass(frozen=True)
class TimeSplit:
    """Split by time: train, then validate, then test.

    Attributes:
        targets: returns (n_events,) bool, the events that may be targets.
        fresh: if True, only as much is held out as an evaluation needs.
        validate_from, test_from: first moments of these parts, microseconds since the epoch.
    """

    targets: Callable[[Events], NDArray[np.bool_]]
    fresh: bool
    validate_from: int
    test_from: int

    @classmethod
    def of(
        cls, log: Log, targets: Callable[[Events], NDArray[np.bool_]], fresh: bool
    ) -> "TimeSplit":
        """Find the cuts.

        Raises:
            NotEnoughData: the targets fall on fewer than three moments.
        """
        moments, per_moment = _moments(log, targets)
        enough = ENOUGH / per_moment if fresh else None
        test_from = _cut(moments, TEST_SHARE, enough)
        validate_from = _cut(moments[moments < test_from], VALIDATE_SHARE, enough)
        return cls(targets, fresh, validate_from, test_from)

    def __call__(self, events: Events) -> SplitLabels:
        """Return the parts of any whole learners of the log."""
        part = (events.time >= self.validate_from).astype(np.int8)
        part += events.time >= self.test_from
        part = np.where(self.targets(events), part, CONTEXT).astype(np.int8)
        return SplitLabels(part, events.time < self.validate_from, "time")


def _moments(
    log: Log, targets: Callable[[Events], NDArray[np.bool_]]
) -> tuple[NDArray[np.int64], float]:
    """Return the sorted moments of the targets, and the number of targets per returned moment.

    A log in one piece returns all moments, a log in shards every k-th of each shard.
    """
    sorted_times: list[NDArray[np.int64]] = []
    count = 0
    for events in log:
        step = -(-len(events) * len(log) // SAMPLED_MOMENTS) if len(log) > 1 else 1
        times = events.time[targets(events)]
        sorted_times.append(np.sort(times)[::step])
        count += len(times)
    moments = np.sort(np.concatenate(sorted_times))
    return moments, max(count, 1) / max(len(moments), 1)


def _cut(moments: NDArray[np.int64], share: float, enough: float | None) -> int:
    """Return the first moment of the last `share` of sorted moments, later than the first moment.

    Args:
        moments: sorted moments.
        share: maximum share that is held out.
        enough: if given, at most this number of moments is held out, or the moments of the last
            `FRESH_DAYS` if these are more.
    """
    if len(moments) == 0 or moments[0] == moments[-1]:
        raise NotEnoughData(
            "timestamp: expected learning events at three or more different times, got fewer; "
            "import more events or split by learner"
        )
    index = int(len(moments) * (1 - share))
    if enough is not None:
        first_fresh = int(np.searchsorted(moments, moments[-1] - FRESH_DAYS * DAY))
        index = max(index, min(first_fresh, len(moments) - math.ceil(enough)))
    cut = moments[index]
    return int(cut if cut > moments[0] else moments[moments > moments[0]][0])
