"""Encoded log: events as columns of numbers, sorted by learner and time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features.numba_bridge import compiled
from sensei.contracts import KINDS, LEVELS


@dataclass(frozen=True)
class Events:
    """n events of L learners, sorted by learner and timestamp; ties are in order of arrival.

    Attributes:
        user_ids: (L,) text, ascending.
        offsets: (L + 1,) the events of learner l are `offsets[l]:offsets[l + 1]`.
        kind: (n,) code of the kind, see `contracts.KINDS`.
        topic: (n,) index in `topic_ids`.
        topic_ids: (T,) ascending.
        item: (n,) index in `item_ids`; -1 if absent.
        item_ids: (I,) text, ascending.
        score: (n,) fraction; NaN if absent.
        duration: (n,) seconds; NaN if absent.
        time: (n,) microseconds since the epoch, UTC.
        level: (n,) code of `metadata.difficulty`, see `contracts.LEVELS`; -1 if absent.
        row: (n,) position of each event in its source frame.
    """

    user_ids: NDArray[np.object_]
    offsets: NDArray[np.int64]
    kind: NDArray[np.int8]
    topic: NDArray[np.int32]
    topic_ids: NDArray[np.int64]
    item: NDArray[np.int32]
    item_ids: NDArray[np.object_]
    score: NDArray[np.float64]
    duration: NDArray[np.float64]
    time: NDArray[np.int64]
    level: NDArray[np.int8]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time)

    @property
    def learner(self) -> NDArray[np.int64]:
        """(n,) index of each event's learner in `user_ids`."""
        return np.repeat(np.arange(len(self.user_ids)), np.diff(self.offsets))

    def of_learners(self, kept: NDArray[np.bool_]) -> "Events":
        """Select the events of some learners by an (L,) mask; topic and item codes stay."""
        mask = kept[self.learner]
        columns: dict[str, Any] = {name: getattr(self, name)[mask] for name in PER_EVENT}
        offsets = np.append(0, np.cumsum(np.diff(self.offsets)[kept]))
        return replace(self, user_ids=self.user_ids[kept], offsets=offsets, **columns)


PER_EVENT = ("kind", "topic", "item", "score", "duration", "time", "level", "row")
"""Names of the `Events` arrays that have one entry per event."""


def together(parts: Sequence[Events]) -> Events:
    """Combine parts that share no learner, at least one, into one log.

    Returns:
        The same as `encode` of all their rows at once, with two exceptions: `row` stays as it is
        in each part, and topics and items without events are kept.
    """
    topic_ids = np.unique(np.concatenate([part.topic_ids for part in parts]))
    item_ids = np.array(sorted({text for part in parts for text in part.item_ids}), object)
    user_ids = np.concatenate([part.user_ids for part in parts])
    learners = np.argsort(user_ids, kind="stable")
    length = np.concatenate([np.diff(part.offsets) for part in parts])
    start = np.append(0, np.cumsum(length))[:-1][learners]
    length = length[learners]
    offsets = np.append(0, np.cumsum(length))
    order = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], length)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])[order] for name in PER_EVENT
    }
    columns["topic"] = np.concatenate(
        [_codes(topic_ids, part.topic_ids)[part.topic] for part in parts]
    )[order]
    columns["item"] = np.concatenate(
        [np.append(_codes(item_ids, part.item_ids), np.int32(-1))[part.item] for part in parts]
    )[order]
    return Events(
        user_ids=user_ids[learners],
        offsets=offsets,
        topic_ids=topic_ids,
        item_ids=item_ids,
        **columns,
    )


def _codes(names: NDArray[Any], subset: NDArray[Any]) -> NDArray[np.int32]:
    """Return the index of each of `subset` in the ascending `names`, which contain all of them."""
    return np.searchsorted(names, subset).astype(np.int32)


def encode(frame: pd.DataFrame) -> Events:
    """Encode and sort a frame of interactions.

    Args:
        frame: Interactions; see the data contract. Columns `user_id`, `interaction_type`,
            `topic_id`, `score`, `duration_seconds`, `timestamp`; `item_id` and `difficulty` are
            optional. The rows of one learner and one time are in order of arrival.

    Returns:
        The encoded events; apart from `row`, only ties depend on the order of the rows.
    """
    learner, user_ids = _text_codes(frame["user_id"])
    topic, topic_ids = _topic_codes(frame["topic_id"].to_numpy(np.int64))
    time = frame["timestamp"].dt.as_unit("us").astype("int64").to_numpy()
    order, offsets = _order(learner, len(user_ids), time)
    item: NDArray[np.int32] = np.full(len(frame), -1, np.int32)
    item_ids: NDArray[np.object_] = np.empty(0, object)
    if "item_id" in frame:
        item, item_ids = _text_codes(frame["item_id"])
    return Events(
        user_ids=user_ids,
        offsets=offsets,
        kind=_fixed_codes(frame["interaction_type"], KINDS)[order],
        topic=topic[order],
        topic_ids=topic_ids,
        item=item[order],
        item_ids=item_ids,
        score=frame["score"].to_numpy(np.float64)[order],
        duration=frame["duration_seconds"].to_numpy(np.float64)[order],
        time=time[order],
        level=(
            _fixed_codes(frame["difficulty"], LEVELS)[order]
            if "difficulty" in frame
            else np.full(len(frame), -1, np.int8)
        ),
        row=order,
    )


def _text_codes(column: "pd.Series[Any]") -> tuple[NDArray[np.int32], NDArray[np.object_]]:
    """Encode a text column by the ascending order of the texts that occur; -1 for null."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        raw: NDArray[Any] = column.cat.codes.to_numpy()
        names = column.cat.categories.to_numpy(object)
    else:
        encoded = pa.array(column, pa.large_string(), from_pandas=True).dictionary_encode()
        raw = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        names = encoded.dictionary.to_numpy(zero_copy_only=False)
    occurs = np.bincount(raw + 1, minlength=len(names) + 1)[1:] > 0
    return _ranked(raw, names, np.flatnonzero(occurs))


def _topic_codes(ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    raw, names = pd.factorize(ids)
    return _ranked(raw, names, np.arange(len(names)))


def _ranked(raw: NDArray[Any], names: NDArray[Any], occurring: NDArray[np.intp]) -> tuple[Any, Any]:
    occurring = occurring[np.argsort(names[occurring], kind="stable")]
    rank = np.full(len(names) + 1, -1, np.int32)
    rank[occurring] = np.arange(len(occurring), dtype=np.int32)
    return rank[raw], names[occurring]


def _fixed_codes(column: "pd.Series[Any]", names: tuple[str, ...]) -> NDArray[np.int8]:
    """Encode a column with a fixed set of values; -1 for null."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return np.asarray(pd.Categorical(column, categories=names).codes, np.int8)
    code_of = {name: code for code, name in enumerate(names)}
    codes = [code_of.get(name, -1) for name in column.cat.categories] + [-1]
    return np.array(codes, np.int8)[column.cat.codes.to_numpy()]


def _order(
    learner: NDArray[np.int32], learners: int, time: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort rows by learner and time, stably; return their positions and learner offsets."""
    order = np.arange(len(time))
    if (time[1:] < time[:-1]).any():
        order = np.argsort(time, kind="stable")
    return _grouped(learner, order, learners)


def _grouped(
    code: NDArray[np.int32], order: NDArray[np.int64], codes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group rows by code, in `order` within a code; return them and the (codes + 1,) offsets."""
    offsets = np.append(0, np.cumsum(np.bincount(code, minlength=codes)))
    grouped = np.empty_like(order)
    compiled(group)(code, order, offsets[:-1].copy(), grouped)
    return grouped, offsets


def group(
    code: NDArray[np.int32],
    order: NDArray[np.int64],
    next_position: NDArray[np.int64],
    grouped: NDArray[np.int64],
) -> None:
    """Group rows by code with a counting sort; the order within a code stays.

    Args:
        code: (n,) code of each row.
        order: (n,) rows in the order to keep.
        next_position: (codes,) start of each code in `grouped`; changed in place to the end of
            each code.
        grouped: (n,) output: the rows by code.
    """
    for index in range(len(order)):
        row = order[index]
        grouped[next_position[code[row]]] = row
        next_position[code[row]] += 1
