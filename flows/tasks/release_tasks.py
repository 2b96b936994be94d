"""Tasks from evaluation to serving: export, register, promote, keep bundles."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
from prefect import get_run_logger, task

from features.history import FOLD_VERSION
from flows.tasks.training_tasks import IN_MEMORY, IO, Features, Validation
from sensei.app_state import DEMO
from sensei.bundle import bundle_format
from sensei.bundle.bundle_format import Manifest, ModelEntry
from sensei.events.log import open_log
from sensei.model_name import ModelName
from sensei.settings import Settings
from training.candidates import Candidate, Candidates, curves_of
from training.code_version import code_version
from training.data.batching import BatchFeed
from training.evaluation.result import EvaluationEvidence, Result
from training.release import bundles
from training.release.export import Exported
from training.release.export import export as to_serving
from training.release.gate import Decision
from training.release.ledger import PlannedPromotion
from training.release.promote import promote
from training.reports import run_description
from training.reports.evaluation_figures import draw
from training.reports.model_card import Provenance, card, short
from training.tracking.registry import BUNDLE, Registry
from training.tracking.run_logging import DatasetSummary, ModelSelection, log_candidates

KEPT_BUNDLES = 20
"""Number of bundles that are kept of versions that never became champion."""


@task(name="export", **IN_MEMORY)
def export(
    features: Features, candidates: Mapping[ModelName, Candidate]
) -> dict[ModelName, Exported]:
    """Convert the chosen candidates and compare their answers with Keras on held-out rows."""
    exported = {}
    for model_name, candidate in candidates.items():
        rows = features.parts(model_name).test
        exported[model_name] = to_serving(candidate.network, BatchFeed(rows, model_name))
        parity = exported[model_name].parity
        get_run_logger().info("Export: %s answers within %.1e of Keras", model_name, parity)
    return exported


def chosen(candidates: Candidates, evidence: EvaluationEvidence) -> dict[ModelName, Candidate]:
    """Return by model the candidate that was chosen on validation."""
    return {
        model_name: candidates[model_name][name] for model_name, name in evidence.chosen.items()
    }


@dataclass(frozen=True)
class Registered:
    """MLflow run with the version and provenance of each model."""

    experiment_id: str
    run_id: str
    versions: dict[str, str]
    made: dict[str, Provenance]

    def page(self, port: int) -> str:
        """Return the address of the run's page while `mlflow ui` listens on a local port."""
        return f"http://127.0.0.1:{port}/#/experiments/{self.experiment_id}/runs/{self.run_id}"


@task(name="register", **IO, **IN_MEMORY)
def register(
    settings: Settings,
    validation: Validation,
    features: Features,
    candidates: Candidates,
    evidence: EvaluationEvidence,
    result: Result,
    exported: Mapping[ModelName, Exported],
    parameters: Mapping[str, Any],
) -> Registered:
    """Store the run in MLflow and register the chosen candidates as versions."""
    get_run_logger().info("Register: MLflow stores run, plots and models")
    registry = Registry(settings.tracking_uri, settings.artifacts)
    batches = pq.ParquetFile(validation.path).iter_batches()
    dataset = DatasetSummary.of((batch.to_pandas() for batch in batches), "valid_interactions")
    contests = run_description.contests(
        candidates, evidence.tested, evidence.chosen, features.prepared.kind
    )
    with TemporaryDirectory() as folder:
        draw(Path(folder), curves_of(candidates), evidence, result)
        name = f"train {dataset.last:%Y-%m-%d}"
        run = log_candidates(registry, name, parameters, dataset, contests, Path(folder))
    demo = bool(open_log(settings.log_url).get_fact(DEMO))
    provenances = {
        contest.model: _made(contest, exported[ModelName(contest.model)], dataset, demo, parameters)
        for contest in contests
    }
    cards = "\n\n".join(card(result, provenance) for provenance in provenances.values())
    registry.attach(run.run_id, {"model_card.md": cards, "evaluation.json": result.to_json()})
    versions = {}
    for contest in contests:
        tags = {
            "candidate": contest.chosen,
            "measured": run_description.headline(contest),
            "parity": f"{exported[ModelName(contest.model)].parity:.1e}",
        }
        versions[contest.model] = registry.register(
            contest.model,
            run.run_id,
            run.models[contest.model],
            short(result, provenances[contest.model]),
            tags,
        )
        get_run_logger().info("Register: %s version %s", contest.model, versions[contest.model])
    return Registered(registry.experiment_id, run.run_id, versions, provenances)


def _made(
    contest: ModelSelection,
    exported: Exported,
    dataset: DatasetSummary,
    demo: bool,
    parameters: Mapping[str, Any],
) -> Provenance:
    candidate, code = contest.candidates[contest.chosen], code_version()
    return Provenance(
        model=contest.model,
        description=candidate.description,
        epochs=max(map(len, candidate.curves.values()), default=0),
        dataset=dataset,
        demo=demo,
        parameters=parameters,
        code=f"`{code.digest[:16]}`" + (f", commit {code.commit[:12]}" if code.commit else ""),
        state=exported.network.step is not None,
        size=sum(len(model_bytes) for model_bytes in exported.network if model_bytes),
        parity=exported.parity,
    )


@task(name="promote", **IO)
def promote_versions(
    settings: Settings,
    registered: Registered,
    decisions: Mapping[str, Decision],
    champions: Mapping[str, str],
) -> str | None:
    """Promote the versions that passed the gate, in place of the champions compared with them.

    Returns:
        Digest of the bundle that serves; None if nothing passed.
    """
    moves = [
        PlannedPromotion(name, champions.get(name), registered.versions[name], _reason(decision))
        for name, decision in decisions.items()
        if decision.promote
    ]
    if not moves:
        return None
    log = open_log(settings.log_url)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    digest = promote(log, registry, settings.bundles, moves, "gate", datetime.now(UTC))
    changed_versions = " and ".join(f"{move.model} {move.version}" for move in moves)
    get_run_logger().info("Promote: bundle %s serves %s", digest[:12], changed_versions)
    return digest


def _reason(decision: Decision) -> dict[str, Any]:
    """Convert a decision to JSON values; NaN and infinities, unknown to JSON, become None."""
    reason: dict[str, Any] = json.loads(json.dumps(asdict(decision)), parse_constant=lambda _: None)
    return reason


@task(name="keep bundles", **IO, **IN_MEMORY)
def keep_bundles(
    settings: Settings,
    features: Features,
    candidates: Mapping[ModelName, Candidate],
    exported: Mapping[ModelName, Exported],
    registered: Registered,
) -> None:
    """Write a bundle of each new version, so that a person may promote it later.

    The bundle does not depend on the gate's decision.
    """
    log = open_log(settings.log_url)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    for model_name, candidate in candidates.items():
        version = registered.versions[model_name]
        entry = _entry(model_name, candidate, version, features)
        manifest = Manifest(
            fold_version=FOLD_VERSION, models={entry.name: entry}, created_at=datetime.now(UTC)
        )
        statistics = {model_name.value: features.parts(model_name).statistics.to_arrays()}
        networks = {model_name.value: exported[model_name].network}
        path = bundle_format.write(settings.bundles, manifest, networks, statistics)
        registry.tag(model_name, version, {BUNDLE: path.name})
    bundles.prune(settings.bundles, bundles.used(log, registry), KEPT_BUNDLES)


def _entry(
    model_name: ModelName, candidate: Candidate, version: str, features: Features
) -> ModelEntry:
    statistics, network = features.parts(model_name).statistics, candidate.network
    return ModelEntry(
        name=model_name,
        version=version,
        candidate=candidate.name,
        inputs={name: int(x.shape[-1]) for name, x in network.read.input.items()},
        outputs={name: int(y.shape[-1]) for name, y in network.read.output.items()},
        trained_until=datetime.fromtimestamp(trained_until(features, model_name) / 1e6, UTC),
        topic_ids=tuple(int(topic) for topic in statistics.topic_ids),
        state=network.state,
    )


def trained_until(features: Features, model_name: ModelName) -> int:
    """Return the first moment after all training and validation events of a model.

    The unit is microseconds since 1970.
    """
    dataset = features.parts(model_name)
    by_time = dataset.kind == "time"
    return int(dataset.test.time.min() if by_time else features.prepared.census.last + 1)
