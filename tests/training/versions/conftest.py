"""A real registry and a logged run, made once: MLflow takes seconds to set up its database."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle, write
from sensei.events.log import Log
from training.architectures import Network
from training.candidates import Candidate
from training.release import ledger
from training.release.ledger import PlannedPromotion
from training.release.promote import promote
from training.reports import plots
from training.tracking.registry import BUNDLE, Registry
from training.tracking.run_logging import DatasetSummary, LoggedRun, ModelSelection, log_candidates

MODELS = ("recommendation", "difficulty")
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    home = tmp_path_factory.mktemp("mlflow")
    return Registry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")


@pytest.fixture(scope="session")
def contests():
    """Two contests of small networks; the networks were chosen."""
    from training.tensorflow_import import import_tensorflow

    import_tensorflow()
    import keras

    def network(width, outputs, name):
        inputs = keras.Input((width,), name="inputs")
        scaler = keras.layers.Normalization(mean=[0.5] * width, variance=[2.0] * width)
        hidden = keras.layers.Dense(4, "relu")(scaler(inputs))
        answer = {o: keras.layers.Dense(3, act)(hidden) for o, act in outputs.items()}
        return keras.Model({"inputs": inputs}, answer, name=name)

    def candidate(model, vector):
        return Candidate("reference", "network", Network(model), vector, "A network.", curves)

    curves = {"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]}
    recommendation = network(20, {"probability": "softmax"}, "recommendation")
    difficulty = network(4, {"success": "sigmoid", "difficulty": "softmax"}, "difficulty")
    ranking = {
        "reference": {"new_ndcg_at_5": 0.5, "all_mrr": float("nan")},
        "most_frequent": {"new_ndcg_at_5": 0.25},
    }
    return [
        ModelSelection(
            "recommendation",
            {"reference": candidate(recommendation, "recommendation")},
            ranking,
            "reference",
            "Chosen for NDCG@5.",
        ),
        ModelSelection(
            "difficulty",
            {"reference": candidate(difficulty, "difficulty")},
            {"reference": {"log_loss": 0.4}},
            "reference",
            "Chosen for log loss.",
        ),
    ]


@pytest.fixture(scope="session")
def dataset():
    first, last = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
    return DatasetSummary("log", "d" * 64, 1000, 10, 3, first, last)


@pytest.fixture(scope="session")
def logged(registry, contests, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    plots.hit_rate_by_k(folder / "hit_rate.png", "NEW", {"reference": np.array([1.0, 2.0])})
    parameters = {"seed": 7, "window_days": 90}
    return log_candidates(registry, "a run", parameters, dataset, contests, folder)


@dataclass(frozen=True)
class Kept:
    """A log, a registry and a folder of bundles; versions are made as training makes them."""

    log: Log
    registry: Registry
    folder: Path
    planted: Bundle
    logged: LoggedRun

    def version(self, model: str, packaged: bool = True) -> str:
        """A new version, exported to a bundle of its own."""
        version = self.registry.register(
            model, self.logged.run_id, self.logged.models[model], "", {"candidate": "planted"}
        )
        if packaged:
            entry = self.planted.manifest.models[model].model_copy(update={"version": version})
            manifest = self.planted.manifest.model_copy(update={"models": {model: entry}})
            networks = {model: self.planted.networks[model]}
            statistics = {model: self.planted.statistics[model]}
            path = write(self.folder, manifest, networks, statistics)
            self.registry.tag(model, version, {BUNDLE: path.name})
        return version

    def promote(self, expected: str | None, version: str, model: str = "recommendation") -> str:
        """Promote one model as the gate does."""
        move = PlannedPromotion(model, expected, version)
        return promote(self.log, self.registry, self.folder, [move], "gate", NOW)

    def serves(self) -> dict[str, str]:
        """Model -> version, in the bundle that the pointer names."""
        bundle = Bundle.load(self.folder / self.log.pointer(), FOLD_VERSION)
        return {model: entry.version for model, entry in bundle.manifest.models.items()}

    def moved(self) -> list[tuple]:
        """(model, from, to, status) of each line of the ledger."""
        lines = ledger.read(self.log)
        return [(line.model, line.from_version, line.to_version, line.status) for line in lines]

    def agree(self) -> dict[str, str]:
        """The champions; ledger, pointer and aliases all say the same."""
        lines = ledger.read(self.log)
        assert all(line.status == "done" and line.finished_at for line in lines)
        champions = ledger.champions(lines)
        aliases = {model: self.registry.champion(model) for model in MODELS}
        assert {model: version for model, version in aliases.items() if version} == champions
        assert self.log.pointer() == (lines[-1].bundle if lines else None)
        assert not lines or self.serves() == champions
        return champions


@pytest.fixture
def kept(log, registry, logged, planted_bundle, tmp_path):
    """Nothing promoted yet, though the registry is not new."""
    for model in MODELS:
        if registry.champion(model):
            registry.uncrown(model)
        if registry.challenger(model):
            registry.client.delete_registered_model_alias(model, "challenger")
    planted = Bundle.load(planted_bundle, FOLD_VERSION)
    return Kept(log, registry, tmp_path / "bundles", planted, logged)
