"""Splits of events into training, validation and test targets: by learner or by a column.

A split marks targets only; a learner's history before a target is always read whole. `known` marks
the events that corpus statistics and counts may use. So nothing of the validation and test parts
leaks into an input.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.batch import Events
from sensei.contracts import LEARNING_KINDS
from sensei.errors import InvalidInput, NotEnoughData
from training.data.shards import Log, hashes

TRAIN, VALIDATE, TEST, CONTEXT = 0, 1, 2, -1

TEST_SHARE = 0.2
VALIDATE_SHARE = 0.1
"""Validation share of the targets that remain after the test part is removed."""

_PART_OF_VALUE = {
    "train": TRAIN,
    "training": TRAIN,
    "valid": VALIDATE,
    "validate": VALIDATE,
    "validation": VALIDATE,
    "dev": VALIDATE,
    "test": TEST,
}


@dataclass(frozen=True)
class SplitLabels:
    """Part of every event.

    Attributes:
        part: (n_events,) int8: 0 train, 1 validate, 2 test, -1 context only (history, never a
            target).
        known: (n_events,) bool: events that statistics and counts may use.
        kind: description of the split: `time`, `learner` or `column`.
    """

    part: NDArray[np.int8]
    known: NDArray[np.bool_]
    kind: str

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(n_events,) bool: events that daily counts may include.

        In a split by time these are all events, because an input only uses the days before it. In
        other splits the events of held-out learners are excluded.
        """
        return np.ones(len(self.part), bool) if self.kind == "time" else self.known


Rule = Callable[[Events], SplitLabels]
"""Function that returns the parts of whole learners of the log it was built for."""


def split_by_learner(events: Events) -> SplitLabels:
    """Return the parts that `by_learner` assigns to a log in memory."""
    return by_learner((events,))(events)


def by_learner(log: Log, start: int | None = None, end: int | None = None) -> Rule:
    """Test on 20 % of learners, validate on 10 % of the others, by a stable hash of `user_id`.

    Args:
        log: all events.
        start: first moment of the target window, microseconds since the epoch; by default the
            beginning of the log.
        end: end of the target window (exclusive); statistics use no event from this moment on. By
            default after the last event.

    Raises:
        NotEnoughData: the log has fewer than three learners.
    """
    places, validating = zip(*(_two_hashes(events) for events in log), strict=True)
    test_hash, validate_hash = np.concatenate(places), np.concatenate(validating)
    count = len(test_hash)
    if count < 3:
        raise NotEnoughData(
            f"user_id: expected three or more learners to split by learner, got {count}; "
            "import more learners"
        )
    last_test = np.sort(test_hash)[_at_least_one(count, TEST_SHARE) - 1]
    others = np.sort(validate_hash[test_hash > last_test])
    last_validate = others[_at_least_one(len(others), VALIDATE_SHARE) - 1]

    def rule(events: Events) -> SplitLabels:
        test_hash, validate_hash = _two_hashes(events)
        part = np.where(validate_hash <= last_validate, VALIDATE, TRAIN)
        part = np.where(test_hash <= last_test, TEST, part).astype(np.int8)
        split = _whole_learners(events, part[events.learner], "learner")
        return within(split, events, start, end)

    return rule


def _two_hashes(events: Events) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    return hashes(events.user_ids, "test"), hashes(events.user_ids, "validate")


def split_by_column(events: Events, values: Sequence[object] | NDArray[np.object_]) -> SplitLabels:
    """Return the parts named in a column of the file.

    If the column names no validation part, 10 % of the train learners become the validation part.

    Args:
        events: all events.
        values: (n_events,) `train`, `test` and optionally `validation`, in the order of the source
            frame's rows. Rows with another value are history only.

    Raises:
        InvalidInput: no row says train, or none says test.
        NotEnoughData: train has one learner, so none is left for validation.
    """
    names = np.array([str(v).strip().lower() for v in values], dtype=object)[events.row]
    unique, code = np.unique(names.astype(str), return_inverse=True)
    part = np.array([_PART_OF_VALUE.get(name, CONTEXT) for name in unique], np.int8)[code]
    for needed, name in ((TRAIN, "train"), (TEST, "test")):
        if not (part == needed).any():
            raise InvalidInput(
                "split column: expected rows that say train and rows that say test, got none for "
                f"{name} among {', '.join(map(repr, unique[:5].tolist()))}; name another column"
            )
    if not (part == VALIDATE).any():
        learner = events.learner
        of_learner = np.full(len(events.user_ids), CONTEXT, np.int8)
        of_learner[learner[part == TRAIN]] = TRAIN
        _take_validation(events.user_ids, of_learner)
        part[(part == TRAIN) & (of_learner[learner] == VALIDATE)] = VALIDATE
    return _whole_learners(events, part, "column")


def within(split: SplitLabels, events: Events, start: int | None, end: int | None) -> SplitLabels:
    """Restrict the targets to a window; history before it stays.

    Args:
        split: parts made without a window.
        events: the events that were split.
        start: first moment of the target window, microseconds since the epoch.
        end: end of the target window (exclusive); statistics use no event from this moment on.
    """
    part = np.where(inside(events, start, end), split.part, CONTEXT).astype(np.int8)
    return SplitLabels(part, split.known & inside(events, None, end), split.kind)


def inside(events: Events, start: int | None, end: int | None) -> NDArray[np.bool_]:
    """Return (n_events,) bool: events of a half-open window, in microseconds since the epoch."""
    least = np.iinfo(np.int64)
    first, stop = least.min if start is None else start, least.max if end is None else end
    is_inside: NDArray[np.bool_] = (events.time >= first) & (events.time < stop)
    return is_inside


def folds(log: Log, count: int) -> Callable[[Events], NDArray[np.int64]]:
    """Return a function that gives (n_events,) the fold of each event, 0..count - 1.

    Learners are distributed evenly by a stable hash; 8 bytes per learner stay in memory.
    """
    order = np.sort(np.concatenate([hashes(events.user_ids, "fold") for events in log]))

    def fold(events: Events) -> NDArray[np.int64]:
        of_learner = np.searchsorted(order, hashes(events.user_ids, "fold")) % count
        return of_learner[events.learner]

    return fold


def _whole_learners(events: Events, part: NDArray[np.int8], kind: str) -> SplitLabels:
    targets = np.where(learning(events), part, CONTEXT).astype(np.int8)
    return SplitLabels(targets, part == TRAIN, kind)


def _take_validation(user_ids: NDArray[np.object_], part_of_learner: NDArray[np.int8]) -> None:
    """Move 10 % of the train learners to validation, in place."""
    train = np.flatnonzero(part_of_learner == TRAIN)
    if len(train) < 2:
        raise NotEnoughData(
            f"user_id: expected two or more learners besides the test part, got {len(train)}; "
            "import more learners"
        )
    order = train[_hash_order(user_ids[train], "validate")]
    part_of_learner[order[: _at_least_one(len(train), VALIDATE_SHARE)]] = VALIDATE


def _at_least_one(count: int, share: float) -> int:
    return max(1, round(count * share))


def _hash_order(user_ids: NDArray[np.object_], salt: str) -> NDArray[np.int64]:
    return np.argsort(hashes(user_ids, salt))


def learning(events: Events) -> NDArray[np.bool_]:
    """Return (n_events,) bool: events that may be targets; codes of learning kinds come first."""
    is_learning: NDArray[np.bool_] = events.kind < len(LEARNING_KINDS)
    return is_learning
