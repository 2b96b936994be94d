"""Windows of drift, read by a trained bundle and by the networks it was exported from."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.history import FOLD_VERSION
from flows.tasks.drift_windows import ObservedLog, references, windows
from monitoring.drift.drift_score import measure_drift, unlinked
from sensei.bundle.bundle_format import Bundle
from sensei.contracts import DAY
from training.data.batching import BatchFeed
from training.fitting.train_loop import predict
from training.tracking.drift_reference import store_reference
from training.tracking.registry import Registry

DAYS = 4
MODELS = ("recommendation", "difficulty")


@pytest.fixture(scope="module")
def observed(taught):
    return ObservedLog.prepared(taught.prepared)


@pytest.fixture(scope="module")
def champion(taught):
    return Bundle.load(taught.bundle, FOLD_VERSION)


@pytest.fixture(scope="module")
def end(taught) -> datetime:
    return taught.events[-1]["timestamp"] + timedelta(microseconds=1)


def _registry(folder: Path) -> Registry:
    """With version 1 of either model, without their windows."""
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    run_id = registry.client.create_run(registry.experiment_id).info.run_id
    for model in MODELS:
        registry.client.create_registered_model(model)
        registry.client.create_model_version(model, "file:///none", run_id)
    return registry


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Registry:
    return _registry(tmp_path_factory.mktemp("registry"))


def kept(taught, observed, end) -> dict[str, pd.DataFrame]:
    """The training windows, as a run makes them of its networks before they are exported."""
    parts = {"recommendation": taught.prepared, "difficulty": taught.prepared.attempts}
    cutoff = int((end - timedelta(days=DAYS)).timestamp() * 1e6)

    def answering(model):
        return lambda rows: predict(taught.networks[model], BatchFeed(rows, model))

    trained = {m: (parts[m].statistics, answering(m), cutoff) for m in MODELS}
    return references(observed, trained, DAYS)


def test_a_training_window_holds_what_the_exported_bundle_reads_and_answers(
    taught, observed, champion, bare, end
):
    before = windows(observed, champion, bare, end, DAYS).reference
    references_frame = pd.concat(kept(taught, observed, end).values(), axis=1)
    assert len(references_frame) == 24
    assert list(references_frame) == list(before)
    for name in references_frame:
        if references_frame[name].dtype == float:
            np.testing.assert_allclose(
                references_frame[name], before[name], atol=1e-4, err_msg=name
            )
        else:
            assert references_frame[name].tolist() == before[name].tolist()


def test_the_last_days_are_compared_with_each_versions_own_window_where_it_has_one(
    taught, observed, champion, tmp_path, end
):
    registry = _registry(tmp_path)
    run_id = registry.client.get_model_version("difficulty", "1").run_id
    frames = kept(taught, observed, end)
    store_reference(registry, run_id, "difficulty", "1", unlinked(frames["difficulty"]))
    compared = windows(observed, champion, registry, end, DAYS)
    assert compared.against == (
        f"the training window of difficulty 1 (the {DAYS} days before for recommendation 1)"
    )
    store_reference(registry, run_id, "recommendation", "1", unlinked(frames["recommendation"]))
    compared = windows(observed, champion, registry, end, DAYS)
    assert compared.against == "the training window of recommendation 1 and difficulty 1"
    before = windows(observed, champion, registry, end - timedelta(days=DAYS), DAYS).current
    assert not compared.reference.equals(before), "no row is a learner's"
    alike = measure_drift(before, compared.reference).columns.values()
    assert max(column.value for column in alike if column.value is not None) < 1e-4


def test_without_a_champion_inputs_and_outcomes_are_compared_with_the_days_before(
    observed, bare, end
):
    compared = windows(observed, None, bare, end, DAYS)
    assert compared.against == f"the {DAYS} days before (no champion served yet)"
    assert len(compared.current) == len(compared.reference) == 24
    assert "recommended_topic" not in compared.current
    earlier = observed.inputs(*(int(end.timestamp() * 1e6) - k * DAYS * DAY for k in (2, 1)))
    pd.testing.assert_frame_equal(compared.reference, earlier)
