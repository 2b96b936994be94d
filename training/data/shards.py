"""A log in pieces of whole learners: one in memory where it is short, else files read in turn.

Learners are dealt to shards by a stable hash, so a shard is a fair sample of them, and what is
counted of learners adds up over shards. A shard is encoded once; going through the log again reads
numbers.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.events import Events, encode
from sensei.events.frames import from_arrow

IN_MEMORY = 1_000_000
"""A log of at most so many rows is one piece and stays in memory."""

SHARD_ROWS = 500_000
"""Rows of a shard, about; a learner is never parted."""

BATCH_ROWS = 131_072
"""Rows read at a time while a log is dealt out, and about as many as wait to be written."""

COLUMNS = (
    "event_id",
    "user_id",
    "interaction_type",
    "topic_id",
    "score",
    "duration_seconds",
    "timestamp",
    "item_id",
    "difficulty",
)

Log = Sequence[Events]
"""All events of a log in pieces; every learner whole in one of them."""


class Shards(Sequence[Events]):
    """Files of encoded events, each read anew whenever it is asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, place: int) -> Events: ...
    @overload
    def __getitem__(self, place: slice) -> "Shards": ...
    def __getitem__(self, place: int | slice) -> "Events | Shards":
        if isinstance(place, slice):
            return Shards(self.paths[place])
        return _load(self.paths[place])


def read_log(
    path: Path, folder: Path, in_memory: int = IN_MEMORY, shard_rows: int = SHARD_ROWS
) -> Log:
    """Read a Parquet file of valid interactions, or deal it out where it is too long for memory.

    Args:
        path: interactions in any order of rows; see the data contract.
        folder: where shards go; what an earlier run left there is replaced.
        in_memory: most rows of a log that is one piece.
        shard_rows: rows of a shard, about.
    """
    rows = pq.read_metadata(path).num_rows
    if rows <= in_memory:
        return (_encoded(path),)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("shard-*"):
        old.unlink()
    raw = _deal(path, folder, -(-rows // shard_rows))
    made = []
    for each in raw:
        events = _encoded(each)
        each.unlink()
        if len(events):
            made.append(each.with_suffix(".npz"))
            _save(made[-1], events)
    return Shards(made)


def hashes(user_ids: Sequence[str] | NDArray[np.object_], salt: str) -> NDArray[np.uint64]:
    """(L,) hash of each learner: arbitrary, but the same wherever and whenever it is computed."""
    digests = [hashlib.blake2b(f"{salt}:{u}".encode(), digest_size=8).digest() for u in user_ids]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def _deal(path: Path, folder: Path, count: int) -> list[Path]:
    """Write the rows of each learner into one of `count` files, a few row groups at a time."""
    paths = [folder / f"shard-{place:05}.parquet" for place in range(count)]
    source = pq.ParquetFile(path)
    names = [name for name in COLUMNS if name in source.schema_arrow.names]
    schema = pa.schema([_plain(source.schema_arrow.field(name)) for name in names])
    writers = [pq.ParquetWriter(each, schema) for each in paths]
    try:
        for batch in source.iter_batches(BATCH_ROWS, columns=names):
            table = pa.table(batch).cast(schema)
            place = _places(table["user_id"], count)
            order = np.argsort(place, kind="stable")
            bounds = np.searchsorted(place[order], np.arange(count + 1))
            table = table.take(order)
            for at, writer in enumerate(writers):
                if bounds[at] < bounds[at + 1]:
                    writer.write_table(table.slice(bounds[at], bounds[at + 1] - bounds[at]))
    finally:
        for writer in writers:
            writer.close()
    return paths


def _places(user_ids: pa.ChunkedArray, count: int) -> NDArray[np.int64]:
    """Shard of each row, by its learner."""
    encoded = user_ids.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    of_learner = hashes(encoded.dictionary.to_pylist(), "shard") % np.uint64(count)
    codes: NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return of_learner.astype(np.int64)[codes]


def _plain(field: pa.Field) -> pa.Field:
    """Text instead of categories, whose whole list would be written with every few rows."""
    if pa.types.is_dictionary(field.type):
        return pa.field(field.name, field.type.value_type)
    return pa.field(field.name, field.type)


def _encoded(path: Path) -> Events:
    source = pq.ParquetFile(path)
    names = [name for name in COLUMNS if name in source.schema_arrow.names]
    return encode(from_arrow(source.read(names)))


def _save(path: Path, events: Events) -> None:
    arrays: dict[str, Any] = {each.name: getattr(events, each.name) for each in fields(events)}
    for name in ("user_ids", "item_ids"):
        arrays[name] = arrays[name].astype(np.str_)
    np.savez(path, **arrays)


def _load(path: Path) -> Events:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name in ("user_ids", "item_ids"):
        arrays[name] = arrays[name].astype(object)
    return Events(**arrays)
