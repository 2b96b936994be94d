"""A real registry and a logged run, made once: MLflow takes seconds to set up its database."""

from datetime import UTC, datetime

import numpy as np
import pytest

from training import plots
from training.architectures import Network
from training.candidates import Candidate
from training.registry import Registry
from training.tracking import Contest, Dataset, log_candidates


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    home = tmp_path_factory.mktemp("mlflow")
    return Registry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")


@pytest.fixture(scope="session")
def contests():
    """Two contests of small networks; the networks were chosen."""
    from training.export import import_tensorflow

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
        Contest(
            "recommendation",
            {"reference": candidate(recommendation, "recommendation")},
            ranking,
            "reference",
            "Chosen for NDCG@5.",
        ),
        Contest(
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
    return Dataset("log", "d" * 64, 1000, 10, 3, first, last)


@pytest.fixture(scope="session")
def logged(registry, contests, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    plots.hit_rate_by_k(folder / "hit_rate.png", "NEW", {"reference": np.array([1.0, 2.0])})
    parameters = {"seed": 7, "window_days": 90}
    return log_candidates(registry, "a run", parameters, dataset, contests, folder)
