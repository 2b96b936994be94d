"""References of versions, in a real registry."""

import numpy as np
import pandas as pd
import pytest

from training.tracking.drift_reference import MOST_ROWS, load_reference, store_reference
from training.tracking.registry import Registry


@pytest.fixture
def registry(tmp_path):
    return Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")


def version(registry: Registry) -> tuple[str, str]:
    """A run, and a version without a model."""
    client = registry.client
    run_id = client.create_run(registry.experiment_id).info.run_id
    client.create_registered_model("recommendation")
    return run_id, client.create_model_version("recommendation", "file:///none", run_id).version


def test_a_reference_comes_back_as_it_was_stored_and_is_bounded(registry):
    run_id, version_number = version(registry)
    n = MOST_ROWS + 1
    window = pd.DataFrame({"a": np.arange(n, dtype=float), "topic": ["7", None] * (n // 2) + ["5"]})
    store_reference(registry, run_id, "recommendation", version_number, window)
    reference = load_reference(registry, "recommendation", version_number)
    pd.testing.assert_frame_equal(reference, window.head(MOST_ROWS))


def test_without_a_reference_or_a_version_there_is_none(registry):
    _, version_number = version(registry)
    assert load_reference(registry, "recommendation", version_number) is None
    assert load_reference(registry, "recommendation", "99") is None


def test_a_reference_whose_file_is_missing_is_none_and_is_logged(registry, tmp_path, caplog):
    run_id, version_number = version(registry)
    store_reference(registry, run_id, "recommendation", version_number, pd.DataFrame({"a": [1.0]}))
    (file,) = (tmp_path / "artifacts").rglob("recommendation.parquet")
    file.unlink()
    assert load_reference(registry, "recommendation", version_number) is None
    assert "expected a file" in caplog.text
