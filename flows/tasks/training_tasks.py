"""Tasks of a training run, from the log to the evaluation."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pandas as pd
from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from expectations.outcome import RunBaseline, by_expectation, refuse
from expectations.validate import validate_features, validate_interactions
from features.corpus.catalogue_features import CatalogueFeatures
from flows.local.local_log import refuse_empty
from flows.presentation.terminal import EPOCH, TrainingEpoch
from flows.tasks.run_folders import keep_run_folders
from sensei import curriculum
from sensei.contracts import DAY
from sensei.errors import NotEnoughData, SenseiError, StorageUnavailable
from sensei.events.aggregates import outside_catalogue
from sensei.events.log import open_log
from sensei.events.refusals import recent_refusals
from sensei.model_name import ModelName
from sensei.settings import Settings
from training.candidates import Candidates, train_again, train_candidates
from training.code_version import code_version
from training.data.dataset import Dataset, Splits, prepare_log
from training.data.shards import BATCH_ROWS, read_log
from training.data.splits import by_learner
from training.data.time_split import by_time
from training.evaluation.protocol import choose, measure
from training.evaluation.result import EvaluationEvidence, Result, result_of
from training.recipes import EFFORTS
from training.tensorflow_import import import_tensorflow

KEPT_RUNS = 3
"""Number of newest run folders that are kept for the cache.

Folders that a run uses are kept in addition.
"""

PREVIOUS_RUN = "previous_run"

P = ParamSpec("P")
R = TypeVar("R")


def _passing_fault(_task: Any, _run: Any, state: Any) -> bool:
    """Tell if a retry may help: storage may come back, a refused log stays refused."""
    try:
        state.result()
    except StorageUnavailable:
        return True
    except SenseiError:
        return False
    except Exception:
        return True
    return False


IO: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [2, 10],
    "retry_condition_fn": _passing_fault,
}
"""Options of every task that reads or writes storage."""

IN_MEMORY: dict[str, Any] = {"cache_policy": NO_CACHE}
"""Options of every task with examples or models as arguments.

Prefect would pickle them to compute a cache key.
"""


@dataclass(frozen=True)
class RunSnapshot:
    """Input of a run: the log up to `as_of` (excluded, UTC), at one revision, by one code."""

    as_of: datetime
    revision: str
    code: str

    def folder(self, settings: Settings) -> Path:
        """Return the folder of files made from this moment of the log."""
        return settings.runs / self.key

    @property
    def key(self) -> str:
        """Name of the folder and of the cache entries of this moment."""
        text = f"{self.as_of.isoformat()} {self.revision} {self.code}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Validation:
    """Path of the valid rows, and the results of validation."""

    path: Path
    read: int
    bad: int
    reasons: dict[str, int]
    warnings: tuple[str, ...]
    docs: Path


@task(name="read the moment", **IO)
def read_moment(settings: Settings, as_of: datetime | None) -> RunSnapshot:
    """Fix the input of this run; by default the window ends after the log's last event."""
    log = open_log(settings.log_url)
    refuse_empty(log)
    last_event = log.last_event()
    if last_event is None:
        raise NotEnoughData(
            "log: expected valid interactions to train on, got none: all are in quarantine or on "
            "topics that the catalogue does not have; `sensei doctor` names the topics"
        )
    end = (as_of or last_event + timedelta(microseconds=1)).astimezone(UTC)
    return RunSnapshot(end, str(log.log_revision()), code_version().digest)


def _cache_key(step: str) -> Any:
    return lambda _context, parameters: f"{step}-{parameters['moment'].key}"


def cached(step: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a step that Prefect caches, and repeat it without the cache if a file is gone.

    Old run folders and reports are deleted, and an erasure empties the run folders. The cache does
    not notice it.
    """
    result = step(*args, **kwargs)
    files = [result] if isinstance(result, Path) else vars(result).values()
    if all(file.exists() for file in files if isinstance(file, Path)):
        return result
    get_run_logger().info(
        "%s: repeated, a file of its cached result is missing", step.name.capitalize()
    )
    return step.with_options(refresh_cache=True)(*args, **kwargs)


@task(name="extract", **IO, persist_result=True, cache_key_fn=_cache_key("extract"))
def extract(settings: Settings, moment: RunSnapshot) -> Path:
    """Write the valid interactions up to the moment into a Parquet file."""
    frame = open_log(settings.log_url).read(until=moment.as_of)
    folder = moment.folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    keep_run_folders(settings.runs, KEPT_RUNS)
    path = folder / "interactions.parquet"
    _write_parquet(frame, path)
    get_run_logger().info("Extract: %s interactions up to %s", f"{len(frame):,}", moment.as_of)
    return path


def _write_parquet(frame: pd.DataFrame, path: Path, **options: Any) -> None:
    """Write a file atomically: another run of the same moment may be reading it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    frame.to_parquet(temporary, index=False, **options)
    temporary.replace(path)


@task(name="validate", **IO, persist_result=True, cache_key_fn=_cache_key("validate"))
def validate(settings: Settings, moment: RunSnapshot, extracted: Path) -> Validation:
    """Validate the rows against the suite and quarantine the bad ones; stop if too many are bad."""
    logger = get_run_logger()
    logger.info("Validate: Great Expectations reads the rows")
    log = open_log(settings.log_url)
    previous = log.get_fact(PREVIOUS_RUN)
    catalogue = {topic.topic_id for topic in curriculum.read(log.engine).topics}
    frame = pd.read_parquet(extracted)
    validated = validate_interactions(
        frame,
        catalogue,
        RunBaseline.from_json(previous) if previous else None,
        moment.as_of,
        settings.reports / "data_docs",
        settings.kept_reports,
        recent_refusals(log.engine),
    )
    refuse(validated, settings.max_quarantined_share)
    for expectation, rows in by_expectation(validated.bad):
        log.quarantine_interactions(rows, expectation)
    log.set_fact(PREVIOUS_RUN, validated.statistics.to_json())
    path = extracted.with_name("valid.parquet")
    _write_parquet(validated.good, path, row_group_size=BATCH_ROWS)
    reasons = Counter(validated.bad["expectation"].tolist())
    warnings, outside = validated.warnings, outside_catalogue(log.engine)
    if outside:
        warnings += (f"topic_id: {curriculum.describe_outside(outside)}",)
    for warning in warnings:
        logger.info("Validate: note: %s", warning)
    logger.info(
        "Validate: %s rows good, %s quarantined", f"{len(validated.good):,}", len(validated.bad)
    )
    return Validation(path, len(frame), len(validated.bad), dict(reasons), warnings, validated.docs)


@dataclass(frozen=True)
class Features:
    """Log and examples of every part, with the validation page of their inputs."""

    prepared: Dataset
    docs: Path

    def parts(self, model_name: ModelName) -> Splits:
        """Return targets and statistics of a model that was trained."""
        parts = self.prepared.parts(model_name)
        assert parts is not None, f"{model_name} was trained"
        return parts


@task(name="features")
def build_features(
    settings: Settings, moment: RunSnapshot, validation: Validation, window_days: int, split: str
) -> Features:
    """Fold every learner's history into as-of inputs; targets lie inside the window."""
    logger = get_run_logger()
    log = read_log(validation.path, validation.path.with_name("shards"))
    end = int(moment.as_of.timestamp() * 1e6)
    start = end - window_days * DAY
    rule = by_time(log, start, end, fresh=True) if split == "time" else by_learner(log, start, end)
    catalogue = curriculum.read(open_log(settings.log_url).engine).topics
    prepared = prepare_log(log, rule, CatalogueFeatures.of(catalogue))
    docs = validate_features(
        prepared.extremes(),
        moment.as_of,
        settings.reports / "data_docs",
        settings.kept_reports,
        len(prepared.training),
    )
    for target_kind, dataset in (("targets", prepared), ("scored attempts", prepared.attempts)):
        if dataset:
            counts = ", ".join(f"{count:,} {name}" for name, count in dataset.counts.items())
            logger.info("Features: %s: %s", target_kind, counts)
    if prepared.scored_share < 1:
        logger.info(
            "Features: %d shards; validation and test are of %.0f %% of the learners",
            len(log),
            100 * prepared.scored_share,
        )
    if prepared.no_success:
        logger.info("Features: no difficulty model: %s", prepared.no_success)
    return Features(prepared, docs)


@dataclass(frozen=True)
class Trained:
    """All candidates of the first seed, and the networks again for each further seed."""

    candidates: Candidates
    again: tuple[Candidates, ...]


@task(name="train", **IN_MEMORY)
def train(features: Features, seed: int, effort: str, models: Sequence[str] | None) -> Trained:
    """Count the baselines and fit the networks, each with the number of seeds of the effort."""
    logger = get_run_logger()
    logger.info("Train: loading TensorFlow")
    import_tensorflow()
    logger.info("Train: counting models, then networks")

    def progress(name: str, epoch: int, logs: Mapping[str, float]) -> None:
        loss, epochs = logs["val_loss"], int(logs["epochs"])
        logger.info(
            "Train: %s, epoch %d: validation loss %.4f",
            name,
            epoch,
            loss,
            extra={EPOCH: TrainingEpoch(name, epoch, epochs, loss)},
        )

    budget = EFFORTS[effort]
    further = range(seed + 1, seed + budget.seeds)
    return Trained(
        train_candidates(features.prepared, seed, budget, models, progress),
        train_again(features.prepared, further, budget, models, progress),
    )


@task(name="evaluate", **IN_MEMORY)
def evaluate(
    features: Features, trained: Trained, split: str, seed: int, effort: str
) -> tuple[EvaluationEvidence, Result]:
    """Choose on the validation part, then measure everything on the test part."""
    prepared = features.prepared
    get_run_logger().info("Evaluate: ranking all topics for %s targets", f"{len(prepared.test):,}")
    validated = measure(trained.candidates, prepared, "validate", trained.again)
    chosen = choose(validated)
    tested = measure(trained.candidates, prepared, "test", trained.again)
    get_run_logger().info("Evaluate: chosen on validation: %s", " and ".join(chosen.values()))
    evidence = EvaluationEvidence(chosen, validated, tested)
    return evidence, result_of(split, seed, EFFORTS[effort], prepared, evidence)
