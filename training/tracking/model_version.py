"""A registered version as a person lists it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Version:
    """What is known of a version.

    Attributes:
        model: `recommendation` or `difficulty`.
        version: its number, as text.
        aliases: `champion`, `challenger`.
        candidate: the architecture or baseline it is.
        created_at: UTC.
        measured: its leading figure on the test part, in words.
        judged: what the gate found and beside which version; empty before it looked.
    """

    model: str
    version: str
    aliases: tuple[str, ...]
    candidate: str
    created_at: datetime
    measured: str
    judged: str = ""

    @classmethod
    def of(cls, model: str, entry: Any, aliases: tuple[str, ...]) -> "Version":
        """A version from MLflow's entity and its tags."""
        return cls(
            model,
            str(entry.version),
            aliases,
            entry.tags.get("candidate", ""),
            datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
            entry.tags.get("measured", ""),
            judged(entry.tags),
        )


def judged(tags: Mapping[str, str]) -> str:
    """What the gate found, of a version's tags (see `training.reports.version_page.tags`)."""
    said = f"gate: {tags['gate']}" if tags.get("gate") else ""
    return f"{said}, gain {tags['gain']} over {tags['against']}" if tags.get("gain") else said
