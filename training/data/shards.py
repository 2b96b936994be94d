"""Log in pieces of whole learners: one piece in memory if it is short, else files read in turn.

Learners are assigned to shards by a stable hash. So a shard is a random sample of learners, and
counts over learners add up over shards. A shard is encoded once; each further pass reads arrays.
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
"""Maximum number of rows of a log that stays in memory as one piece."""

SHARD_ROWS = 500_000
"""Approximate number of rows per shard; a learner is never divided."""

BATCH_ROWS = 131_072
"""Number of rows read at a time while a log is divided into shards."""

COLUMNS = (
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
"""All events of a log in pieces; all events of a learner are in one piece."""


class Shards(Sequence[Events]):
    """Files of encoded events; each access reads the file again."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, place: int) -> Events: ...
    @overload
    def __getitem__(self, place: slice) -> "Shards": ...
    def __getitem__(self, index: int | slice) -> "Events | Shards":
        if isinstance(index, slice):
            return Shards(self.paths[index])
        return _load(self.paths[index])


def read_log(
    path: Path, folder: Path, in_memory: int = IN_MEMORY, shard_rows: int = SHARD_ROWS
) -> Log:
    """Read a Parquet file of valid interactions; divide it into shards if it exceeds memory.

    Args:
        path: interactions in order of arrival; see the data contract.
        folder: folder for shards; shards of an earlier run are replaced.
        in_memory: maximum number of rows of a log that is kept in one piece.
        shard_rows: approximate number of rows per shard.
    """
    rows = pq.read_metadata(path).num_rows
    if rows <= in_memory:
        return (_encoded(path),)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("shard-*"):
        old.unlink()
    raw = _deal(path, folder, -(-rows // shard_rows))
    encoded = []
    for raw_path in raw:
        events = _encoded(raw_path)
        raw_path.unlink()
        if len(events):
            encoded.append(raw_path.with_suffix(".npz"))
            _save(encoded[-1], events)
    return Shards(encoded)


def hashes(user_ids: Sequence[str] | NDArray[np.object_], salt: str) -> NDArray[np.uint64]:
    """Return (L,) uint64 hashes of the learners; they are stable across processes and machines."""
    digests = [hashlib.blake2b(f"{salt}:{u}".encode(), digest_size=8).digest() for u in user_ids]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def _deal(path: Path, folder: Path, count: int) -> list[Path]:
    """Write the rows of each learner into one of `count` files, one batch of rows at a time."""
    paths = [folder / f"shard-{shard:05}.parquet" for shard in range(count)]
    source = pq.ParquetFile(path)
    names = [name for name in COLUMNS if name in source.schema_arrow.names]
    schema = pa.schema([_plain(source.schema_arrow.field(name)) for name in names])
    writers = [pq.ParquetWriter(path_of_shard, schema) for path_of_shard in paths]
    try:
        for batch in source.iter_batches(BATCH_ROWS, columns=names):
            table = pa.table(batch).cast(schema)
            shard = _places(table["user_id"], count)
            order = np.argsort(shard, kind="stable")
            bounds = np.searchsorted(shard[order], np.arange(count + 1))
            table = table.take(order)
            for index, writer in enumerate(writers):
                if bounds[index] < bounds[index + 1]:
                    writer.write_table(
                        table.slice(bounds[index], bounds[index + 1] - bounds[index])
                    )
    finally:
        for writer in writers:
            writer.close()
    return paths


def _places(user_ids: pa.ChunkedArray, count: int) -> NDArray[np.int64]:
    """Return the shard of each row, by its learner."""
    encoded = user_ids.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    of_learner = hashes(encoded.dictionary.to_pylist(), "shard") % np.uint64(count)
    codes: NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return of_learner.astype(np.int64)[codes]


def _plain(field: pa.Field) -> pa.Field:
    """Replace a dictionary type by its value type: each batch would write the whole dictionary."""
    if pa.types.is_dictionary(field.type):
        return pa.field(field.name, field.type.value_type)
    return pa.field(field.name, field.type)


def _encoded(path: Path) -> Events:
    source = pq.ParquetFile(path)
    names = [name for name in COLUMNS if name in source.schema_arrow.names]
    return encode(from_arrow(source.read(names)))


def _save(path: Path, events: Events) -> None:
    arrays: dict[str, Any] = {field.name: getattr(events, field.name) for field in fields(events)}
    for name in ("user_ids", "item_ids"):
        arrays[name] = arrays[name].astype(np.str_)
    np.savez(path, **arrays)


def _load(path: Path) -> Events:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name in ("user_ids", "item_ids"):
        arrays[name] = arrays[name].astype(object)
    return Events(**arrays)
