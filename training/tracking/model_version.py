"""Registered model version as shown in lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Version:
    """Summary of a registered version.

    Attributes:
        model: `recommendation` or `difficulty`.
        version: number of the version, as text.
        aliases: `champion`, `challenger`.
        candidate: name of the architecture or baseline.
        created_at: time of registration, UTC.
        measured: its main metric on the test part, in words.
        judged: verdict of the gate and the version it was compared with; empty before the gate ran.
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
        """Build a version from MLflow's entity and its tags."""
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
    """Return the gate's verdict from a version's tags; see `training.reports.version_page.tags`."""
    verdict = f"gate: {tags['gate']}" if tags.get("gate") else ""
    return f"{verdict}, gain {tags['gain']} over {tags['against']}" if tags.get("gain") else verdict
