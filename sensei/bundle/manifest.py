"""The manifest of a bundle: which models it holds, what they read, and the digest of every file."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from sensei.contracts import DIFFICULTY_INPUTS, EVENT_INPUTS, RECOMMENDATION_INPUTS
from sensei.errors import IncompatibleBundle

FORMAT_VERSION = 2
"""Raised when the layout of a bundle changes."""

MANIFEST = "manifest.json"

REMEDY = "make a new bundle with `sensei train`"

ModelName = Literal["recommendation", "difficulty"]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z_]+\.(tflite|npz)$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Record):
    """One model of a bundle: which version it is and what it reads and answers."""

    name: ModelName
    version: str  # in the registry
    candidate: str  # which architecture or baseline won
    inputs: dict[str, int]  # name -> width
    outputs: dict[str, int]  # name -> width
    trained_until: datetime  # no event at or after it was seen in training
    topic_ids: tuple[int, ...]  # slot i + 1 stands for topic_ids[i]; later slots are spare
    state: int = 0  # width of the hidden state; 0 where the model has none

    @property
    def file(self) -> str:
        """Name of the LiteRT file."""
        return f"{self.name}.tflite"

    @property
    def step(self) -> str | None:
        """Name of the LiteRT file that advances the hidden state; None without one."""
        return f"{self.name}_step.tflite" if self.state else None

    @property
    def statistics(self) -> str:
        """Name of the file with the corpus statistics."""
        return f"{self.name}.npz"

    @property
    def files(self) -> list[str]:
        """Names of all its files."""
        return [self.file, *filter(None, [self.step]), self.statistics]


class Manifest(_Record):
    """What a bundle holds; `files` is filled in by `bundle.write`."""

    fold_version: int
    models: dict[ModelName, ModelEntry]
    created_at: datetime
    format_version: int = FORMAT_VERSION
    recommendation_inputs: tuple[str, ...] = tuple(i.name for i in RECOMMENDATION_INPUTS)
    difficulty_inputs: tuple[str, ...] = tuple(i.name for i in DIFFICULTY_INPUTS)
    event_inputs: tuple[str, ...] = tuple(i.name for i in EVENT_INPUTS)
    files: dict[FileName, Digest] = {}

    @property
    def topic_ids(self) -> tuple[int, ...]:
        """Topics the recommendation model ranks; none without one."""
        entry = self.models.get("recommendation")
        return entry.topic_ids if entry else ()

    @classmethod
    def parse(cls, sealed: bytes) -> "Manifest":
        """Read a manifest.

        Raises:
            IncompatibleBundle: it is none.
        """
        try:
            return cls.model_validate_json(sealed)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or MANIFEST
            raise IncompatibleBundle(
                f"bundle: expected a valid manifest, got {where}: {first['msg']}; {REMEDY}"
            ) from error


def expect(what: str, expected: object, got: object) -> None:
    """Refuse a bundle of which something is not as it must be.

    Raises:
        IncompatibleBundle: it is not.
    """
    if expected != got:
        raise IncompatibleBundle(f"bundle, {what}: expected {expected}, got {got}; {REMEDY}")
