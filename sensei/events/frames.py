"""The frame of interactions: Arrow tables in the data contract become pandas frames."""

from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sensei.event_fields import CHECKED, ID, METADATA, EventField, FieldType

_FIELDS = (ID, *CHECKED)

COLUMNS = tuple(field.name for field in _FIELDS if field is not METADATA)
"""Columns of the log that make up a frame without metadata."""


def dtype(field: EventField) -> str:
    """Return the pandas dtype of a field; numbers that may be absent are floats, with NaN."""
    if field.type is FieldType.TIME:
        return "datetime64[us, UTC]"
    if field.type is FieldType.NUMBER or (field.type is FieldType.INTEGER and field.is_nullable):
        return "float64"
    if field.type in (FieldType.KEY, FieldType.INTEGER):
        return "int64"
    return "category" if field.type is FieldType.TEXT and field.is_repeated else "object"


def from_arrow(table: pa.Table, metadata: bool = False) -> pd.DataFrame:
    """Turn a table of interactions into a typed frame.

    Args:
        table: columns of the data contract in any order; `timestamp` as a timestamp or as
            microseconds since 1970; `item_id` and `difficulty` as columns, or inside `metadata`.
        metadata: keep the `metadata` column as JSON text.

    Returns:
        One row per interaction, with the columns that the table has, as `dtype`: the categories of
        `interaction_type` are `KINDS`, those of `difficulty` are `LEVELS`; the column `id` is named
        `interaction_id`.
    """
    columns = _inside_metadata(table) if "metadata" in table.column_names else {}
    columns |= {name: table[name] for name in table.column_names}
    frame = {
        "interaction_id" if field is ID else field.name: _encoded(field, columns[field.name])
        for field in _FIELDS
        if field.name in columns and (metadata or field is not METADATA)
    }
    return pd.DataFrame(frame, index=pd.RangeIndex(table.num_rows), copy=False)


def _encoded(field: EventField, column: pa.ChunkedArray) -> Any:
    """Return a column as values of the field's dtype."""
    kind = dtype(field)
    if field.choices:
        return known(column, field.choices)
    if kind == "category":
        return categories(column)
    if field.type is FieldType.TIME:
        return _times(column)
    return column.cast(pa.string() if kind == "object" else kind).to_numpy()


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
    positions = pc.index_in(column.cast(pa.string()), value_set=pa.array(names, pa.string()))
    codes = pc.fill_null(positions, -1).to_numpy()
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
    columns = {}
    for name in ("item_id", "difficulty"):
        values = [None if row.get(name) is None else str(row[name]) for row in parsed]
        columns[name] = pa.chunked_array([pa.array(values, pa.string()).take(encoded.indices)])
    return columns


def microseconds(frame: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the frame's timestamps as (n,) int64 microseconds since 1970, UTC."""
    return frame["timestamp"].to_numpy(dtype="datetime64[us]").view(np.int64)
