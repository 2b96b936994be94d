"""Event ids of rows that came without one: the same row always gets the same id.

Arrow is imported only in the functions that work on columns. Serving writes single rows and runs
without Arrow.
"""

import hashlib
import struct
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from sensei.event_fields import PAYLOAD, USER_ID

if TYPE_CHECKING:
    import pyarrow as pa

NAMESPACE = uuid.UUID("6f1d3c52-1b0a-5c0e-9a55-3d7c8a4b6e21")
_END = "0"
"""Last part of every name. It once counted identical rows; without it, stored ids would change."""


def event_ids(table: "pa.Table") -> "pa.Array":
    """Return the UUIDv5 of each canonical row; identical rows have the same one.

    Args:
        table: checked rows (`sensei.events.rules_arrow.CANONICAL`); their event ids are not read.

    Returns:
        (n,) text of 36 characters.
    """
    sha1 = hashlib.sha1
    digests = [sha1(name, usedforsecurity=False).digest() for name in _names(table)]
    raw = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 20)[:, :16].copy()
    return _uuid5_text(raw)


def event_id(
    user_id: str,
    interaction_type: str,
    topic_id: int,
    score: float | None,
    duration_seconds: int | None,
    timestamp: int,
    metadata: str | None,
) -> str:
    """Return the id that `event_ids` gives one checked row, without Arrow.

    Args:
        user_id: id of the learner.
        interaction_type: one of the kinds.
        topic_id: id of the topic.
        score: a fraction in [0, 1], or None.
        duration_seconds: whole seconds, or None.
        timestamp: microseconds since 1970.
        metadata: canonical JSON text, or None.
    """
    bits = None if score is None else struct.unpack("<q", struct.pack("<d", score))[0]
    parts = (user_id, interaction_type, topic_id, bits, duration_seconds, timestamp, metadata)
    texts = ["" if part is None else str(part) for part in parts]
    name = "\x1f".join([*texts, _END]).encode()
    digest = hashlib.sha1(NAMESPACE.bytes + b"\x1f" + name, usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def superseding_id(event_id: str, content: str) -> str:
    """Return the id of the row that supersedes an event with other content."""
    return str(uuid.uuid5(NAMESPACE, f"{event_id}\x1f{content}"))


def _names(table: "pa.Table") -> list[bytes]:
    """Return each row's namespace, text and end; floats as their bits, times in us."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {name: table[name] for name in (USER_ID.name, *PAYLOAD)}
    bits = pc.add(columns["score"].combine_chunks(), 0.0)
    columns["score"] = pa.chunked_array([bits]).combine_chunks().view(pa.int64())
    columns["timestamp"] = columns["timestamp"].cast(pa.int64())
    texts = [
        pc.fill_null(column.cast(pa.string()), "").cast(pa.binary()) for column in columns.values()
    ]
    parts = (pa.scalar(NAMESPACE.bytes), *texts, _END.encode())
    joined: list[bytes] = pc.binary_join_element_wise(*parts, b"\x1f").to_pylist()
    return joined


def _uuid5_text(raw: np.ndarray[Any, np.dtype[np.uint8]]) -> "pa.Array":
    """Return (n, 16) bytes as UUIDs of version 5, formatted as text without a Python loop."""
    import pyarrow as pa

    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x50
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.full((len(raw), 36), ord("-"), np.uint8)
    positions = [position for position in range(36) if position not in (8, 13, 18, 23)]
    text[:, positions[0::2]] = digits[raw >> 4]
    text[:, positions[1::2]] = digits[raw & 0x0F]
    offsets = np.arange(0, 36 * len(raw) + 1, 36, dtype=np.int32)
    return pa.StringArray.from_buffers(
        len(raw), pa.py_buffer(offsets), pa.py_buffer(text.tobytes())
    )
