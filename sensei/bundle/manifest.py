"""The manifest of a bundle: its models, their inputs, and the digest of every other file."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from sensei.contracts import DIFFICULTY_INPUTS, EVENT_INPUTS, RECOMMENDATION_INPUTS
from sensei.errors import IncompatibleBundle
from sensei.model_name import ModelName

FORMAT_VERSION = 2
"""Version of the bundle's layout; increase it when the layout changes."""

MANIFEST = "manifest.json"

REMEDY = "make a new bundle with `sensei train`"


def _of_model(name: str) -> str:
    """Return the plain string, because orjson takes no other keys."""
    return ModelName(name).value


ModelKey = Annotated[str, AfterValidator(_of_model)]
"""Value of a `ModelName`."""

FileName = Annotated[str, StringConstraints(pattern=r"^[a-z_]+\.(tflite|npz)$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Record):
    """One model of a bundle: its version, inputs and outputs."""

    name: ModelKey
    version: str  # version in the registry
    candidate: str  # architecture or baseline that was selected
    inputs: dict[str, int]  # name -> width
    outputs: dict[str, int]  # name -> width
    trained_until: datetime  # training saw no event at or after this time
    topic_ids: tuple[int, ...]  # slot i + 1 is topic_ids[i]; later slots are spare
    state: int = 0  # width of the hidden state; 0 if the model has none

    @property
    def file(self) -> str:
        """Name of the LiteRT file."""
        return f"{self.name}.tflite"

    @property
    def step(self) -> str | None:
        """Name of the LiteRT file that advances the hidden state; None without a hidden state."""
        return f"{self.name}_step.tflite" if self.state else None

    @property
    def statistics(self) -> str:
        """Name of the file with the corpus statistics."""
        return f"{self.name}.npz"

    @property
    def files(self) -> list[str]:
        """Names of all files of the model."""
        return [self.file, *filter(None, [self.step]), self.statistics]


class Manifest(_Record):
    """Content of a bundle; `bundle_format.write` fills in `files`."""

    fold_version: int
    models: dict[ModelKey, ModelEntry]
    created_at: datetime
    format_version: int = FORMAT_VERSION
    recommendation_inputs: tuple[str, ...] = tuple(i.name for i in RECOMMENDATION_INPUTS)
    difficulty_inputs: tuple[str, ...] = tuple(i.name for i in DIFFICULTY_INPUTS)
    event_inputs: tuple[str, ...] = tuple(i.name for i in EVENT_INPUTS)
    files: dict[FileName, Digest] = {}

    @property
    def topic_ids(self) -> tuple[int, ...]:
        """Topics that the recommendation model ranks; empty without that model."""
        entry = self.models.get(ModelName.RECOMMENDATION)
        return entry.topic_ids if entry else ()

    @classmethod
    def parse(cls, content: bytes) -> "Manifest":
        """Read a manifest.

        Raises:
            IncompatibleBundle: the bytes are not a valid manifest.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first_error = error.errors()[0]
            location = ".".join(str(key) for key in first_error["loc"]) or MANIFEST
            raise IncompatibleBundle(
                f"bundle: expected a valid manifest, got {location}: {first_error['msg']}; {REMEDY}"
            ) from error


def expect(subject: str, expected: object, got: object) -> None:
    """Refuse a bundle if a part of it differs from the expected value.

    Raises:
        IncompatibleBundle: the values differ.
    """
    if expected != got:
        raise IncompatibleBundle(f"bundle, {subject}: expected {expected}, got {got}; {REMEDY}")
