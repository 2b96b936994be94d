"""Planted answers that several rooms test with."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PLANTED_TOPICS = (11, 12, 13, 14)


@pytest.fixture(scope="session")
def planted_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose answers are known: after topic 11 comes 12, ..., after 14 comes 11.

    Success at easy, medium and hard is sigmoid(proficiency + 2), sigmoid(proficiency + 1) and
    sigmoid(proficiency - 1). Topic 13 is the most popular, then 12, 11, 14; all are passed as
    often as failed.
    """
    from features.history import FOLD_VERSION
    from features.statistics import Statistics
    from sensei import bundle
    from training.export import import_tensorflow

    import_tensorflow()

    width = len(PLANTED_TOPICS)
    counts = dict.fromkeys(
        ("topic_attempts", "topic_passes", "plain_attempts", "plain_passes"), np.full(width, 10)
    )
    counts |= {name: np.full(width, 5) for name in ("topic_passes", "plain_passes")}
    statistics = Statistics(
        topic_ids=np.array(PLANTED_TOPICS, np.int64),
        topic_events=np.array([20, 30, 40, 10], np.int64),
        item_ids=np.array([], np.str_),
        item_attempts=np.array([], np.int64),
        item_passes=np.array([], np.int64),
        trained_until=np.array(0, np.int64),
        **counts,
    ).to_arrays()
    models = {"recommendation": _successor(width), "difficulty": _from_proficiency()}
    outputs = {"recommendation": {"probability": width}, "difficulty": {"success": 3}}
    entries = {
        name: bundle.ModelEntry(
            name=name,
            version="7",
            candidate="planted",
            inputs={"inputs": 20 if name == "recommendation" else 4},
            outputs=outputs[name],
            trained_until=datetime(2026, 1, 1, tzinfo=UTC),
            topic_ids=PLANTED_TOPICS,
        )
        for name in models
    }
    manifest = bundle.Manifest(
        fold_version=FOLD_VERSION, models=entries, created_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    folder = tmp_path_factory.mktemp("bundles")
    return bundle.write(folder, manifest, models, dict.fromkeys(models, statistics))


def _successor(width: int) -> bytes:
    import keras

    after = np.full((width + 1, width), 0.1 / (width - 1), np.float32)
    after[0] = 1 / width
    for slot in range(1, width + 1):
        after[slot, slot % width] = 0.9
    inputs = keras.Input((20,), name="inputs")
    probability = keras.layers.Embedding(width + 1, width)(inputs[:, 0])
    return _litert(inputs, {"probability": probability}, [after])


def _from_proficiency() -> bytes:
    import keras

    kernel = np.zeros((4, 3), np.float32)
    kernel[0] = 1.0
    inputs = keras.Input((4,), name="inputs")
    success = keras.layers.Dense(3, activation="sigmoid")(inputs)
    return _litert(inputs, {"success": success}, [kernel, np.array([2, 1, -1], np.float32)])


def _litert(inputs: Any, outputs: dict[str, Any], weights: list[Any]) -> bytes:
    import keras

    from training.export import to_litert

    model = keras.Model({"inputs": inputs}, outputs)
    model.set_weights(weights)
    return to_litert(model)
