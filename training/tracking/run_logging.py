"""Logging of a training run in MLflow: data, metrics, chosen models, code version.

No data of a learner is stored: only a data set's digest and counts, and a synthetic input example.
"""

import hashlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sensei.contracts import DIFFICULTY_INPUTS, RECOMMENDATION_INPUTS
from training.code_version import code_version
from training.tracking.registry import Registry, stored

if TYPE_CHECKING:
    import keras
    import pandas as pd

_DIGESTED = ("user_id", "interaction_type", "topic_id", "score", "duration_seconds", "timestamp")

_BATCH = 1_000  # maximum number of metrics per MLflow call


class CandidateInfo(Protocol):
    """Attributes of a candidate that run logging uses; see `training.candidates.Candidate`."""

    @property
    def kind(self) -> str:
        """`network` or `counting`."""

    @property
    def model(self) -> "keras.Model":
        """Keras model with named inputs and outputs."""

    @property
    def description(self) -> str:
        """Description of the model in one sentence."""

    @property
    def curves(self) -> Mapping[str, Sequence[float]]:
        """Values per epoch, by metric."""


@dataclass(frozen=True)
class DatasetSummary:
    """Summary of a training data set in aggregates: no rows, no ids of learners."""

    name: str
    digest: str
    interactions: int
    learners: int
    topics: int
    first: datetime
    last: datetime

    @classmethod
    def of(cls, frames: "Iterable[pd.DataFrame]", name: str) -> "DatasetSummary":
        """Summarise interactions, at least one; the order of rows and frames has no effect."""
        import pandas as pd

        sums = np.zeros(3, np.uint64)
        learners: set[str] = set()
        topics: set[int] = set()
        times = []
        for frame in frames:
            rows = pd.util.hash_pandas_object(frame[list(_DIGESTED)], index=False).to_numpy()
            sums += np.array([len(rows), rows.sum(), (rows * rows).sum()], np.uint64)
            learners.update(frame["user_id"].unique())
            topics.update(frame["topic_id"].unique())
            times += [frame["timestamp"].min(), frame["timestamp"].max()]
        return cls(
            name,
            hashlib.sha256(":".join(str(part) for part in sums).encode()).hexdigest(),
            int(sums[0]),
            len(learners),
            len(topics),
            min(times).to_pydatetime(),
            max(times).to_pydatetime(),
        )


@dataclass(frozen=True)
class ModelSelection:
    """One model's candidates in a run, and the chosen one.

    Attributes:
        model: `recommendation` or `difficulty`.
        candidates: candidates by name.
        metrics: candidate or baseline -> metric -> value; values that are not finite are left out.
        chosen: name of the candidate that becomes a version.
        description: text for the reviewer of the version.
    """

    model: str
    candidates: Mapping[str, CandidateInfo]
    metrics: Mapping[str, Mapping[str, float]]
    chosen: str
    description: str


@dataclass(frozen=True)
class LoggedRun:
    """Logged run; `models` holds the URI of the chosen candidate by model."""

    run_id: str
    models: Mapping[str, str]


def log_candidates(
    registry: Registry,
    name: str,
    parameters: Mapping[str, Any],
    dataset: DatasetSummary,
    contests: Sequence[ModelSelection],
    plots: Path | None = None,
) -> LoggedRun:
    """Store one training run: data, metrics, and the chosen models.

    Args:
        registry: target of the log.
        name: name of the run, as shown in the list of runs.
        parameters: window, seed, epochs and similar.
        dataset: summary of the training data.
        contests: candidates and choice of each model.
        plots: folder of figures to attach to the run.

    Raises:
        StorageUnavailable: MLflow or its artifacts cannot be written.
    """
    import mlflow

    mlflow.set_tracking_uri(registry.tracking_uri)
    code = code_version()
    tags = {"code_digest": code.digest, "git_commit": code.commit or "none"}
    description = "\n\n".join(f"## {c.model}\n{c.description}" for c in contests)
    run = mlflow.start_run(
        experiment_id=registry.experiment_id, run_name=name, tags=tags, description=description
    )
    with run, stored():
        run_id = run.info.run_id
        _log_numbers(registry, run_id, parameters, contests)
        _log_dataset(dataset)
        if plots is not None:
            registry.client.log_artifacts(run_id, str(plots), "plots")
        models = {c.model: _log_model(c.model, c.candidates[c.chosen]) for c in contests}
    return LoggedRun(run_id, models)


def _log_numbers(
    registry: Registry,
    run_id: str,
    parameters: Mapping[str, Any],
    contests: Sequence[ModelSelection],
) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    values = [
        Metric(f"{contest.model}/{candidate}/{metric}", value, now, step)
        for contest in contests
        for candidate, metric, value, step in _numbers(contest)
        if math.isfinite(value)
    ]
    chosen = {f"{c.model}_chosen": c.chosen for c in contests}
    settings = [Param(k, str(v)) for k, v in {**parameters, **chosen}.items()]
    registry.client.log_batch(run_id, values[:_BATCH], settings)
    for start in range(_BATCH, len(values), _BATCH):
        registry.client.log_batch(run_id, values[start : start + _BATCH])


def _log_dataset(dataset: DatasetSummary) -> None:
    import mlflow
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    facts = {key: str(value) for key, value in asdict(dataset).items()}
    source = CodeDatasetSource(tags=facts)
    # MLflow stores at most 36 characters of a digest; that is enough to distinguish data sets
    mlflow.log_input(
        MetaDataset(source, name=dataset.name, digest=dataset.digest[:36]),
        context="training",
        tags=facts,
    )


def _numbers(contest: ModelSelection) -> Iterator[tuple[str, str, float, int]]:
    """Yield candidate, metric, value and step: final metrics at step 0, curves from epoch 1."""
    for name, metrics in contest.metrics.items():
        for metric, value in metrics.items():
            yield name, metric, float(value), 0
    for name, candidate in contest.candidates.items():
        for metric, values in candidate.curves.items():
            for epoch, value in enumerate(values, start=1):
                yield name, f"curve/{metric}", float(value), epoch


def synthetic_example(model: "keras.Model") -> dict[str, NDArray[np.float32]]:
    """Return one synthetic row per input: 1 for ids, mid-range values up to 1 for others."""
    contracts = {len(inputs): inputs for inputs in (RECOMMENDATION_INPUTS, DIFFICULTY_INPUTS)}
    example = {}
    for name, tensor in model.input.items():
        width = tensor.shape[-1]
        row = [
            1.0 if contract.is_id else min(1.0, (contract.low + contract.high) / 2)
            for contract in contracts.get(width, ())
        ]
        example[name] = np.array([row or [1.0] * width], np.float32)
    return example


def _log_model(name: str, candidate: CandidateInfo) -> str:
    import keras
    import mlflow.tensorflow
    from mlflow.models import infer_signature

    example = synthetic_example(candidate.model)
    answer = {key: np.asarray(value) for key, value in candidate.model(example).items()}
    interactive = keras.config.is_interactive_logging_enabled()
    keras.config.disable_interactive_logging()  # MLflow runs the example, with a progress bar
    try:
        info = mlflow.tensorflow.log_model(
            candidate.model,
            name=name,
            signature=infer_signature(example, answer),
            input_example=example,
            pip_requirements=[f"tensorflow=={installed('tensorflow')}"],
        )
    finally:
        if interactive:
            keras.config.enable_interactive_logging()
    return str(info.model_uri)
