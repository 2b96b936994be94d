"""Score cache on disk, so that an interrupted evaluation continues from the last finished model.

One folder per log, split, code and budget. It holds outcomes, ranks and codes of learners, but no
user ids. Removing the whole folder costs only time; erasing a learner does so.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from features.batch import Events
from sensei.model_name import ModelName
from sensei.pruning import keep_newest
from training.code_version import ROOT, digest_of_sources
from training.data.splits import SplitLabels
from training.fitting.keras_fit import Curves
from training.recipes import Budget
from training.scores import DifficultyScores, RecommendationScores

KEPT = 5
"""Number of folders kept: the most recently used ones."""

DECIDING = ("sensei", "features", "training")
"""Packages whose code affects scores."""

_CLASSES = {
    ModelName.RECOMMENDATION: RecommendationScores,
    ModelName.DIFFICULTY: DifficultyScores,
}


@dataclass(frozen=True)
class SeedRun:
    """One model trained with one seed: its scores per row, and its training curves.

    Attributes:
        validate: scores of the validation part.
        test: scores of the test part, not read before the choice is made.
        curves: metric -> value per epoch.
    """

    validate: Any
    test: Any
    curves: Curves


class ScoreCache:
    """Folder of one evaluation."""

    def __init__(self, root: Path, digest: str, fresh: bool = False) -> None:
        """Make the folder, and remove folders of other evaluations except the most recently used.

        Args:
            root: holds one folder per evaluation.
            digest: see `digest_of`.
            fresh: if True, remove the scores of earlier runs.
        """
        self._folder = root / digest
        if fresh:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        os.utime(self._folder)
        keep_newest(root.iterdir(), KEPT)

    def load(self, model_name: ModelName, candidate: str, seed: int) -> SeedRun | None:
        """Return a cached seed run; None if there is no readable one."""
        path = self._path(model_name, candidate, seed)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = dict(stored)
            names = [field.name for field in fields(_CLASSES[model_name])]
            parts = {
                part: _CLASSES[model_name](**{name: arrays[f"{part}_{name}"] for name in names})
                for part in ("validate", "test")
            }
            return SeedRun(**parts, curves=json.loads(str(arrays["curves"])))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None  # incomplete or foreign file: the model is trained again

    def save(self, model_name: ModelName, candidate: str, seed: int, seed_run: SeedRun) -> None:
        """Store a seed run atomically: a reader finds all of it or nothing."""
        arrays: dict[str, Any] = {
            f"{part}_{field.name}": getattr(scores, field.name)
            for part, scores in (("validate", seed_run.validate), ("test", seed_run.test))
            for field in fields(scores)
        }
        path = self._path(model_name, candidate, seed)
        with NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as file:
            np.savez_compressed(file, curves=np.array(json.dumps(seed_run.curves)), **arrays)
        Path(file.name).replace(path)

    def _path(self, model_name: ModelName, candidate: str, seed: int) -> Path:
        return self._folder / f"{model_name}-{candidate}-{seed}.npz"


def digest_of(events: Events, split: SplitLabels, budget: Budget) -> str:
    """Return a digest of rows, parts, code and budget; the number of seeds does not change it."""
    digest = hashlib.sha256(digest_of_sources(ROOT, DECIDING).encode())
    limits = {k: v for k, v in asdict(budget).items() if k not in ("name", "seeds", "slow")}
    digest.update(json.dumps(limits, sort_keys=True).encode())
    for name, values in _columns({**vars(events), **vars(split)}):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        texts = values.dtype == object
        digest.update("\0".join(map(str, values)).encode() if texts else values.tobytes())
    return digest.hexdigest()[:16]


def _columns(values: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, value in values.items():
        if isinstance(value, np.ndarray) and name != "row":  # the row order has no effect
            yield name, value
