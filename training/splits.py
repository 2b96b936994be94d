"""Which events may be targets of which part: by time, by learner, or as the file says.

Splits mark targets only; a learner's history before a target is always read whole. `known` marks
what corpus
statistics and counts may use, so that nothing of the validation and test parts leaks into an input.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.batch import Events
from sensei.contracts import ATTEMPT_KINDS, KINDS, LEARNING_KINDS
from sensei.errors import InvalidInput, NotEnoughData

TRAIN, VALIDATE, TEST, CONTEXT = 0, 1, 2, -1

TEST_SHARE = 0.2
VALIDATE_SHARE = 0.1
"""Share of what is left after the test part was taken."""

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
class Split:
    """The part of every event.

    Attributes:
        part: (n_events,) int8: 0 train, 1 validate, 2 test, -1 context only (history, never a
            target).
        known: (n_events,) bool: events that statistics and counts may use.
        kind: how the parts were made, in words.
    """

    part: NDArray[np.int8]
    known: NDArray[np.bool_]
    kind: str

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(n_events,) bool: events that a later day may know of, whoever asks.

        By time all of them, for the log knows its past; learners held out stay unseen.
        """
        return np.ones(len(self.part), bool) if self.kind == "time" else self.known


def split_by_time(events: Events, start: int | None = None, end: int | None = None) -> Split:
    """Test on the last 20 % of the window's targets in time, validate on the 10 % before them.

    Events of one moment are never parted. Source: Ji et al. 2023, TOIS 41(3) (global timeline).

    Args:
        events: all events, history before the window included.
        start: first moment of a target, microseconds since the epoch; by default the beginning.
        end: first moment that is no target any more (half-open); by default after the last event.

    Raises:
        NotEnoughData: the window's events fall on fewer than three moments.
    """
    window = _learning(events)
    if start is not None:
        window &= events.time >= start
    if end is not None:
        window &= events.time < end
    return _on_timeline(events, window)


def split_attempts(events: Events, split: Split) -> Split:
    """Parts of the scored attempts among a split's targets.

    By time they get a timeline of their own: courses examine on a few days, and the last fifth of
    all events may hold no attempt. Otherwise an attempt stays in its part.

    Raises:
        NotEnoughData: the attempts fall on fewer than three moments.
    """
    attempt = np.isin(events.kind, [KINDS.index(kind) for kind in ATTEMPT_KINDS])
    scored = attempt & ~np.isnan(events.score) & (split.part != CONTEXT)
    if split.kind == "time":
        return _on_timeline(events, scored)
    return Split(np.where(scored, split.part, CONTEXT).astype(np.int8), split.known, split.kind)


def _on_timeline(events: Events, targets: NDArray[np.bool_]) -> Split:
    moments = np.sort(events.time[targets])
    test_from = _cut(moments, TEST_SHARE)
    validate_from = _cut(moments[moments < test_from], VALIDATE_SHARE)
    part = (events.time >= validate_from).astype(np.int8) + (events.time >= test_from)
    part = np.where(targets, part, CONTEXT).astype(np.int8)
    return Split(part, events.time < validate_from, "time")


def _cut(moments: NDArray[np.int64], share: float) -> int:
    """First moment of the last `share` of sorted moments, later than the first moment."""
    if len(moments) == 0 or moments[0] == moments[-1]:
        raise NotEnoughData(
            "timestamp: expected learning events at three or more different times, got fewer; "
            "import more events or split by learner"
        )
    cut = moments[int(len(moments) * (1 - share))]
    return int(cut if cut > moments[0] else moments[moments > moments[0]][0])


def split_by_learner(events: Events) -> Split:
    """Test on 20 % of learners, validate on 10 % of the others, by a stable hash of `user_id`.

    Raises:
        NotEnoughData: fewer than three learners.
    """
    count = len(events.user_ids)
    if count < 3:
        raise NotEnoughData(
            f"user_id: expected three or more learners to split by learner, got {count}; "
            "import more learners"
        )
    order = _hash_order(events.user_ids, "test")
    test = order[: _at_least_one(count, TEST_SHARE)]
    part_of_learner = np.full(count, TRAIN, np.int8)
    part_of_learner[test] = TEST
    _take_validation(events.user_ids, part_of_learner)
    return _whole_learners(events, part_of_learner[_learner(events)], "learner")


def split_by_column(events: Events, values: Sequence[object] | NDArray[np.object_]) -> Split:
    """Parts as a column of the file names them; without a validation part, 10 % of train learners.

    Args:
        events: all events.
        values: (n_events,) `train`, `test` and perhaps `validation`, in the order of the source
            frame's rows;
            rows with another value are history only.

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
                f"{name} among {', '.join(map(repr, unique[:5]))}; name another column"
            )
    if not (part == VALIDATE).any():
        learner = _learner(events)
        of_learner = np.full(len(events.user_ids), CONTEXT, np.int8)
        of_learner[learner[part == TRAIN]] = TRAIN
        _take_validation(events.user_ids, of_learner)
        part[(part == TRAIN) & (of_learner[learner] == VALIDATE)] = VALIDATE
    return _whole_learners(events, part, "column")


def within(split: Split, events: Events, start: int, end: int) -> Split:
    """Keep as targets only the events of a window; history before it stays.

    Args:
        split: parts made without a window.
        events: the events that were split.
        start: first moment of a target, microseconds since the epoch.
        end: first moment that is no target any more (half-open); nothing after it is known either.
    """
    inside = (events.time >= start) & (events.time < end)
    part = np.where(inside, split.part, CONTEXT).astype(np.int8)
    return Split(part, split.known & (events.time < end), split.kind)


def folds(events: Events, count: int) -> NDArray[np.int64]:
    """(n_events,) fold of each event, 0..count - 1: learners dealt out evenly by a stable hash."""
    fold_of_learner = np.empty(len(events.user_ids), np.int64)
    fold_of_learner[_hash_order(events.user_ids, "fold")] = np.arange(len(events.user_ids)) % count
    return fold_of_learner[_learner(events)]


def _whole_learners(events: Events, part: NDArray[np.int8], kind: str) -> Split:
    targets = np.where(_learning(events), part, CONTEXT).astype(np.int8)
    return Split(targets, part == TRAIN, kind)


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
    """Order of learners by hash: arbitrary, but the same wherever and whenever it is computed."""
    digests = [hashlib.blake2b(f"{salt}:{u}".encode(), digest_size=8).digest() for u in user_ids]
    return np.argsort(np.array([int.from_bytes(d, "big") for d in digests], np.uint64))


def _learner(events: Events) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(events.user_ids)), np.diff(events.offsets))


def _learning(events: Events) -> NDArray[np.bool_]:
    """Events that may be targets: the codes of learning kinds come first in the contract."""
    learning: NDArray[np.bool_] = events.kind < len(LEARNING_KINDS)
    return learning
