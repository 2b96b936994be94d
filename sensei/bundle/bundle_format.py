"""The bundle: an immutable folder with everything serving needs, without TensorFlow.

`bundles/<digest>/` holds `manifest.json` and, for each model, its LiteRT file and the corpus
statistics of its inputs. A model with a hidden state has a second LiteRT file, which advances the
state by one event. Statistics and topic vocabulary belong to a model, not to the bundle: a model
that stays while the other one is replaced needs those it was trained with. The digest is the
SHA-256 of the manifest, which records the SHA-256 of every other file.
"""

import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sensei.bundle.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    REMEDY,
    Manifest,
    ModelEntry,
    expect,
)
from sensei.bundle.runtime import Runner
from sensei.contracts import EVENT_INPUTS
from sensei.errors import IncompatibleBundle, InvalidInput, StorageUnavailable
from sensei.model_name import ModelName

__all__ = ["Bundle", "LiteRtNetwork", "Manifest", "ModelEntry", "write"]

Arrays = dict[str, NDArray[Any]]


class LiteRtNetwork(NamedTuple):
    """A model's LiteRT files: inference, and the update of its hidden state, if it has one."""

    read: bytes
    step: bytes | None = None


def write(
    folder: Path,
    manifest: Manifest,
    models: Mapping[str, LiteRtNetwork],
    statistics: Mapping[str, Mapping[str, NDArray[Any]]],
) -> Path:
    """Write a bundle under its digest, whole or not at all.

    Args:
        folder: the folder of all bundles.
        manifest: the bundle's manifest, without `files`.
        models: name -> its LiteRT files.
        statistics: name -> arrays of the statistics that the model was trained with.

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
        contents[entry.file] = models[name].read
        if entry.step:
            contents[entry.step] = models[name].step or b""
        contents[entry.statistics] = _pack(statistics[name])
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest_bytes = manifest.model_copy(update={"files": files}).model_dump_json(indent=1).encode()
    target = folder / hashlib.sha256(manifest_bytes).hexdigest()
    try:
        _place(target, {**contents, MANIFEST: manifest_bytes})
    except OSError as error:
        raise StorageUnavailable(
            f"bundles: expected to write {folder}, got {error.strerror}; "
            "free some space or set SENSEI_HOME to a writable folder"
        ) from error
    return target


def _pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Pack arrays; equal arrays give equal bytes, as NumPy sets the same date in every archive."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    return buffer.getvalue()


def _place(target: Path, contents: Mapping[str, bytes]) -> None:
    """Write into a temporary folder next to the target, flush to disk, then rename."""
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
        if not target.is_dir():  # otherwise another process wrote the same bundle first
            raise


class Bundle:
    """Verified bundle in memory, ready for inference; threads may share it."""

    def __init__(self, digest: str, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
        self.digest = digest
        self.manifest = manifest
        self.statistics: dict[str, Arrays] = {}
        self.networks: dict[str, LiteRtNetwork] = {}
        self._runners: dict[str, Runner] = {}
        self._steps: dict[str, Runner] = {}
        for name, entry in manifest.models.items():
            step = contents[entry.step] if entry.step else None
            self.networks[name] = LiteRtNetwork(contents[entry.file], step)
            expect("state of " + name, entry.state, entry.inputs.get("state", 0))
            if step is not None:
                self._steps[name] = advancing = Runner(step)
                expected = {"event": len(EVENT_INPUTS), "state": entry.state}
                expect("step inputs of " + name, expected, advancing.inputs)
                expect("step outputs of " + name, {"next_state": entry.state}, advancing.outputs)
            with np.load(io.BytesIO(contents[entry.statistics]), allow_pickle=False) as arrays:
                self.statistics[name] = dict(arrays)
            self._runners[name] = runner = Runner(contents[entry.file])
            expect("inputs of " + name, entry.inputs, runner.inputs)
            expect("outputs of " + name, entry.outputs, runner.outputs)
        if recommendation := manifest.models.get(ModelName.RECOMMENDATION):
            width = recommendation.outputs.get("probability", 0)
            expect("a slot for each topic", True, width >= len(recommendation.topic_ids))

    @classmethod
    def load(cls, path: Path, fold_version: int) -> "Bundle":
        """Read and verify a bundle.

        Args:
            path: the bundle's folder; if its name has the form of a digest, it must match the
                manifest.
            fold_version: version of the learner-state fold that will compute the inputs.

        Raises:
            IncompatibleBundle: a part is missing, unexpected, altered or of another version.
        """
        try:
            return cls._load(Path(path), fold_version)
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: not a LiteRT model
            raise IncompatibleBundle(
                f"bundle {path}: expected a readable bundle, got {error}; {REMEDY}"
            ) from error

    @classmethod
    def _load(cls, path: Path, fold_version: int) -> "Bundle":
        manifest_bytes = (path / MANIFEST).read_bytes()
        digest = hashlib.sha256(manifest_bytes).hexdigest()
        if re.fullmatch("[0-9a-f]{64}", path.name):
            expect("digest of " + MANIFEST, path.name, digest)
        manifest = Manifest.parse(manifest_bytes)
        expect("format version", FORMAT_VERSION, manifest.format_version)
        expect("fold version", fold_version, manifest.fold_version)
        fields = Manifest.model_fields
        for field in ("recommendation_inputs", "difficulty_inputs", "event_inputs"):
            expect(field, fields[field].default, getattr(manifest, field))
        entries = manifest.models.values()
        named = sorted(file for entry in entries for file in entry.files)
        expect("files of the manifest", named, sorted(manifest.files))
        present_files = sorted(file.name for file in path.iterdir() if file.name != MANIFEST)
        expect("files", named, present_files)
        contents = {name: (path / name).read_bytes() for name in manifest.files}
        for name, content in contents.items():
            expect("digest of " + name, manifest.files[name], hashlib.sha256(content).hexdigest())
        return cls(digest, manifest, contents)

    def answer(
        self, name: str, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]]:
        """Run a model.

        Args:
            name: `recommendation` or `difficulty`.
            inputs: name -> (n, width) float32; names the model lacks are ignored. See
                `features.corpus.context.Corpus` for how each is computed.

        Returns:
            For `recommendation`, `probability` (n, slots): rows sum to 1, column i belongs to
            `manifest.topic_ids[i]`, later columns to topics added after training. For `difficulty`,
            `success` (n, 3) for easy, medium and hard. Other outputs of the model are included.
        """
        return self._run(name, inputs)

    def start(self, name: str) -> NDArray[np.float32] | None:
        """Return the (1, state) initial hidden state; None if the model has no hidden state."""
        width = self.manifest.models[name].state
        return np.zeros((1, width), np.float32) if width else None

    def advance(
        self, name: str, state: NDArray[np.float32], event: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the hidden state after one more learning event.

        Args:
            name: `recommendation` or `difficulty`.
            state: (n, state) as `start` or `advance` returned it.
            event: (n, 9), see `contracts.EVENT_INPUTS`.
        """
        return self._steps[name]({"state": state, "event": event})["next_state"]

    def _run(
        self, name: str, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]]:
        try:
            runner = self._runners[name]
        except KeyError:
            raise IncompatibleBundle(
                f"{name}: expected a model, got a bundle of {sorted(self.manifest.models)}; "
                "train on a log with its targets"
            ) from None
        return runner(inputs)
