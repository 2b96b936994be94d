"""The frame of interactions: Arrow tables in the data contract become pandas frames."""

from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sensei.contracts import KINDS, LEVELS
from sensei.events.rules_arrow import CANONICAL

COLUMNS = ("id", *CANONICAL.names[:-1])
"""Columns of the log that make up a frame without metadata."""


def from_arrow(table: pa.Table, metadata: bool = False) -> pd.DataFrame:
    """Turn a table of interactions into a typed frame.

    Args:
        table: columns of the data contract in any order; `timestamp` as a timestamp or as
            microseconds since 1970; `item_id` and `difficulty` as columns, or inside `metadata`.
        metadata: keep the `metadata` column as JSON text.

    Returns:
        One row per interaction: `event_id` object, `user_id`, `interaction_type` (categories
        `KINDS`), `difficulty` (categories `LEVELS`) and `item_id` category, `topic_id` int64,
        `score` and `duration_seconds` float64 (NaN: none), `timestamp` datetime64[us, UTC],
        `interaction_id` int64; only those that the table has.
    """
    names = table.column_names
    frame: dict[str, Any] = {}
    if "id" in names:
        frame["interaction_id"] = table["id"].to_numpy()
    if "event_id" in names:
        frame["event_id"] = table["event_id"].cast(pa.string()).to_numpy()
    if "user_id" in names:
        frame["user_id"] = categories(table["user_id"])
    if "interaction_type" in names:
        frame["interaction_type"] = known(table["interaction_type"], KINDS)
    if "topic_id" in names:
        frame["topic_id"] = table["topic_id"].cast(pa.int64()).to_numpy()
    for name in ("score", "duration_seconds"):
        if name in names:
            frame[name] = table[name].cast(pa.float64()).to_numpy()
    if "timestamp" in names:
        frame["timestamp"] = _times(table["timestamp"])
    items = _inside_metadata(table) if "metadata" in names else {}
    if "item_id" in names or items:
        frame["item_id"] = categories(table["item_id"] if "item_id" in names else items["item_id"])
        levels = table["difficulty"] if "difficulty" in names else items["difficulty"]
        frame["difficulty"] = known(levels, LEVELS)
    if metadata and "metadata" in names:
        frame["metadata"] = table["metadata"].cast(pa.string()).to_numpy()
    return pd.DataFrame(frame, index=pd.RangeIndex(table.num_rows), copy=False)


def categories(column: pa.ChunkedArray) -> pd.Categorical:
    """Encode text as a category; the categories are in order of first appearance."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # a table without rows has no chunk to combine
        return pd.Categorical([], categories=[])
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    names = encoded.dictionary.to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(codes, categories=names)


def known(column: pa.ChunkedArray, names: tuple[str, ...]) -> Any:
    """Encode text as a pandas category of `names`, in their order; any other text becomes NaN."""
    found = pc.index_in(column.cast(pa.string()), value_set=pa.array(names, pa.string()))
    codes = pc.fill_null(found, -1).to_numpy()
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(names)))


def _times(column: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.timestamp("us", "UTC"))
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    moments = column.cast(pa.int64()).to_numpy().view("datetime64[us]")
    return pd.Series(moments).dt.tz_localize("UTC")


def _inside_metadata(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Extract item and difficulty from the metadata; each distinct text is parsed once."""
    if "item_id" in table.column_names and "difficulty" in table.column_names:
        return {}
    texts = table["metadata"].cast(pa.string()).dictionary_encode()
    encoded = texts.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        nothing = pa.chunked_array([pa.array([], pa.string())])
        return {"item_id": nothing, "difficulty": nothing}
    parsed = [orjson.loads(text) for text in encoded.dictionary.to_pylist()]
    found = {}
    for name in ("item_id", "difficulty"):
        values = [None if row.get(name) is None else str(row[name]) for row in parsed]
        taken = pa.array(values, pa.string()).take(encoded.indices)
        found[name] = pa.chunked_array([taken])
    return found


def microseconds(frame: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the frame's timestamps as (n,) int64 microseconds since 1970, UTC."""
    return frame["timestamp"].to_numpy(dtype="datetime64[us]").view(np.int64)
