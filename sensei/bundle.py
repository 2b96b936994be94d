"""The bundle: an immutable folder with everything serving needs, and no TensorFlow.

`bundles/<digest>/` holds `manifest.json` and, for each model, its LiteRT file and the corpus
statistics its inputs are computed with. Statistics and topic vocabulary belong to a model, not
to the bundle: a model that is kept while the other one is replaced needs those it was trained
with. The digest is the SHA-256 of the manifest, which records the SHA-256 of every other file.
"""

import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from sensei.contracts import DIFFICULTY_INPUTS, RECOMMENDATION_INPUTS
from sensei.errors import IncompatibleBundle, InvalidInput, StorageUnavailable
from sensei.litert import Runner

FORMAT_VERSION = 1
"""Raised when the layout of a bundle changes."""

MANIFEST = "manifest.json"

_REMEDY = "make a new bundle with `sensei train`"

ModelName = Literal["recommendation", "difficulty"]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z]+\.(tflite|npz)$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Arrays = dict[str, NDArray[Any]]


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
    topic_ids: tuple[int, ...]  # slot i + 1 stands for topic_ids[i]

    @property
    def file(self) -> str:
        """Name of the LiteRT file."""
        return f"{self.name}.tflite"

    @property
    def statistics(self) -> str:
        """Name of the file with the corpus statistics."""
        return f"{self.name}.npz"


class Manifest(_Record):
    """What a bundle holds; `files` is filled in by `write`."""

    fold_version: int
    models: dict[ModelName, ModelEntry]
    created_at: datetime
    format_version: int = FORMAT_VERSION
    recommendation_inputs: tuple[str, ...] = tuple(i.name for i in RECOMMENDATION_INPUTS)
    difficulty_inputs: tuple[str, ...] = tuple(i.name for i in DIFFICULTY_INPUTS)
    files: dict[FileName, Digest] = {}

    @property
    def topic_ids(self) -> tuple[int, ...]:
        """Topics the recommendation model ranks; none without one."""
        entry = self.models.get("recommendation")
        return entry.topic_ids if entry else ()


def write(
    folder: Path,
    manifest: Manifest,
    models: Mapping[str, bytes],
    statistics: Mapping[str, Mapping[str, NDArray[Any]]],
) -> Path:
    """Write a bundle under its digest, whole or not at all.

    Args:
        folder: the folder of all bundles.
        manifest: what the bundle holds, without `files`.
        models: name -> LiteRT file.
        statistics: name -> arrays of the statistics that model was trained with.

    Returns:
        `folder/<digest>`; the same content gives the same folder, which may already exist.

    Raises:
        InvalidInput: manifest, models and statistics do not name the same models.
        StorageUnavailable: the folder cannot be written.
    """
    if not manifest.models.keys() == models.keys() == statistics.keys():
        raise InvalidInput(
            f"bundle: expected content for {sorted(manifest.models)}, got models "
            f"{sorted(models)} and statistics {sorted(statistics)}; pass the same names"
        )
    contents: dict[str, bytes] = {}
    for name, entry in manifest.models.items():
        contents[entry.file] = models[name]
        contents[entry.statistics] = _pack(statistics[name])
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    sealed = manifest.model_copy(update={"files": files}).model_dump_json(indent=1).encode()
    target = folder / hashlib.sha256(sealed).hexdigest()
    try:
        _place(target, {**contents, MANIFEST: sealed})
    except OSError as error:
        raise StorageUnavailable(
            f"bundles: expected to write {folder}, got {error.strerror}; "
            "free some space or set SENSEI_HOME to a writable folder"
        ) from error
    return target


def _pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Equal arrays give equal bytes: NumPy stamps every archive with the same date."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    return buffer.getvalue()


def _place(target: Path, contents: Mapping[str, bytes]) -> None:
    """Write into a temporary folder beside the target, flush to disk, rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        return
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
    try:
        for name, content in contents.items():
            with (temporary / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(0o755)  # mkdtemp's 0700 would lock out a service of another user
        temporary.rename(target)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not target.is_dir():  # else another process wrote the same bundle first
            raise


class Bundle:
    """A verified bundle in memory, ready to answer; safe to share between threads."""

    def __init__(self, digest: str, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
        self.digest = digest
        self.manifest = manifest
        self.statistics: dict[str, Arrays] = {}
        self.litert: dict[str, bytes] = {}
        self._runners: dict[str, Runner] = {}
        for name, entry in manifest.models.items():
            self.litert[name] = contents[entry.file]
            with np.load(io.BytesIO(contents[entry.statistics]), allow_pickle=False) as arrays:
                self.statistics[name] = dict(arrays)
            self._runners[name] = runner = Runner(contents[entry.file])
            _expect("inputs of " + name, entry.inputs, runner.inputs)
            _expect("outputs of " + name, entry.outputs, runner.outputs)
        if recommendation := manifest.models.get("recommendation"):
            width = recommendation.outputs.get("probability")
            _expect("topics", len(recommendation.topic_ids), width)

    @classmethod
    def load(cls, path: Path, fold_version: int) -> "Bundle":
        """Read and verify a bundle.

        Args:
            path: the bundle's folder; where its name is a digest, it must be the right one.
            fold_version: version of the history fold that will compute the inputs.

        Raises:
            IncompatibleBundle: something is missing, foreign, altered or of another version.
        """
        try:
            return cls._load(Path(path), fold_version)
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: not a LiteRT model
            raise IncompatibleBundle(
                f"bundle {path}: expected a readable bundle, got {error}; {_REMEDY}"
            ) from error

    @classmethod
    def _load(cls, path: Path, fold_version: int) -> "Bundle":
        sealed = (path / MANIFEST).read_bytes()
        digest = hashlib.sha256(sealed).hexdigest()
        if re.fullmatch("[0-9a-f]{64}", path.name):
            _expect("digest of " + MANIFEST, path.name, digest)
        manifest = _parse(sealed)
        _expect("format version", FORMAT_VERSION, manifest.format_version)
        _expect("fold version", fold_version, manifest.fold_version)
        ours = Manifest.model_fields
        for field in ("recommendation_inputs", "difficulty_inputs"):
            _expect(field, ours[field].default, getattr(manifest, field))
        entries = manifest.models.values()
        named = sorted(file for entry in entries for file in (entry.file, entry.statistics))
        _expect("files of the manifest", named, sorted(manifest.files))
        found = sorted(file.name for file in path.iterdir() if file.name != MANIFEST)
        _expect("files", named, found)
        contents = {name: (path / name).read_bytes() for name in manifest.files}
        for name, content in contents.items():
            _expect("digest of " + name, manifest.files[name], hashlib.sha256(content).hexdigest())
        return cls(digest, manifest, contents)

    def recommend(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of each topic being the next.

        Args:
            inputs: (n, 20), in the order of `contracts.RECOMMENDATION_INPUTS`.

        Returns:
            (n, T) in [0, 1], rows sum to 1; column i stands for `manifest.topic_ids[i]`.
        """
        return self._run("recommendation", {"inputs": inputs})["probability"]

    def difficulty(
        self, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]]:
        """Expected success at each level.

        Args:
            inputs: `inputs` (n, 4) in the order of `contracts.DIFFICULTY_INPUTS` and `topic`
                (n, 1) slots; the model takes those that it has.

        Returns:
            `success` (n, 3) in [0, 1] for easy, medium and hard, and `difficulty` (n, 3), rows
            sum to 1, where the model has it.
        """
        return self._run("difficulty", inputs)

    def _run(
        self, name: str, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]]:
        try:
            runner = self._runners[name]
        except KeyError:
            raise IncompatibleBundle(
                f"{name}: expected a model, got a bundle of {sorted(self.manifest.models)}; "
                "train on a log that has what it learns from"
            ) from None
        return runner(inputs)


def _parse(sealed: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(sealed)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or MANIFEST
        raise IncompatibleBundle(
            f"bundle: expected a valid manifest, got {where}: {first['msg']}; {_REMEDY}"
        ) from error


def _expect(what: str, expected: object, got: object) -> None:
    if expected != got:
        raise IncompatibleBundle(f"bundle, {what}: expected {expected}, got {got}; {_REMEDY}")
