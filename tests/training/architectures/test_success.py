"""Networks of success: what holds of them whatever they learned."""

import numpy as np
import pytest

from sensei.contracts import ITEM_INPUTS
from training.architectures import Network, blend, success
from training.architectures.success import SuccessSize
from training.data.dataset import Dataset
from training.tensorflow_import import import_tensorflow


@pytest.fixture(scope="module")
def networks(prepared: Dataset) -> list[Network]:
    """Two of them, with weights as no training would leave them."""
    import_tensorflow()
    rows, topics = prepared.attempts.train, prepared.topics
    sizes = {"history": SuccessSize(), "tracing": SuccessSize(state=8)}
    built = [success.difficulty(rows, topics, size, name) for name, size in sizes.items()]
    rng = np.random.default_rng(0)
    for network in built:
        weights = [rng.normal(0, 3, w.shape) for w in network.scores.get_weights()]
        network.scores.set_weights(weights)
    return built


def test_a_harder_level_never_has_a_higher_probability_of_success(networks: list[Network]) -> None:
    rng = np.random.default_rng(1)
    for network in (*networks, blend.of(networks, "both")):
        inputs = {
            name: rng.normal(0, 3, (200, tensor.shape[-1])).astype(np.float32)
            for name, tensor in network.scores.input.items()
        }
        assert inputs["item"].shape[1] == len(ITEM_INPUTS)
        answer = network.scores(inputs)
        for name in ("success", "levels"):
            odds = np.asarray(answer[name])
            assert (np.diff(odds, axis=1) <= 1e-4).all()
            assert np.diff(odds, axis=1).min() < -1
