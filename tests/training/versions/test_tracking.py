import json
import sqlite3
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sensei.contracts import RECOMMENDATION_INPUTS
from training.code_version import code_version
from training.tracking.run_logging import DatasetSummary, log_candidates, synthetic_example


def test_a_run_stores_parameters_metrics_of_all_models_and_the_choice(registry, logged):
    run = registry.client.get_run(logged.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "seed": "7",
        "window_days": "90",
        "recommendation_chosen": "reference",
        "difficulty_chosen": "reference",
    }
    assert run.data.metrics["recommendation/reference/new_ndcg_at_5"] == 0.5
    assert run.data.metrics["recommendation/most_frequent/new_ndcg_at_5"] == 0.25
    assert "recommendation/reference/all_mrr" not in run.data.metrics  # was no number
    assert "Chosen for NDCG@5." in run.data.tags["mlflow.note.content"]


def test_curves_are_stored_by_epoch(registry, logged):
    name = "recommendation/reference/curve/val_loss"
    history = registry.client.get_metric_history(logged.run_id, name)
    assert [(point.step, point.value) for point in history] == [(1, 1.1), (2, 0.7)]


def test_more_numbers_than_one_call_takes_are_all_stored(registry, contests, dataset):
    candidate = replace(contests[1].candidates["reference"], curves={"loss": [0.5] * 1100})
    contest = replace(contests[1], candidates={"reference": candidate})
    run = log_candidates(registry, "long", {}, dataset, [contest])
    name = "difficulty/reference/curve/loss"
    assert len(registry.client.get_metric_history(run.run_id, name)) == 1100


def test_a_run_names_its_data_by_digest_and_counts(registry, logged):
    (dataset_input,) = registry.client.get_run(logged.run_id).inputs.dataset_inputs
    assert dataset_input.dataset.digest == "d" * 36
    facts = json.loads(dataset_input.dataset.source)["tags"]
    assert facts["interactions"] == "1000"
    assert facts["digest"] == "d" * 64
    assert facts["last"] == "2024-03-01 00:00:00+00:00"


def test_a_run_names_its_code(registry, logged):
    tags = registry.client.get_run(logged.run_id).data.tags
    assert tags["code_digest"] == code_version().digest
    assert tags["git_commit"] == (code_version().commit or "none")


def test_a_run_shows_its_plots(registry, logged):
    (file,) = registry.client.list_artifacts(logged.run_id, "plots")
    assert file.path == "plots/hit_rate.png"


def test_a_logged_model_has_a_signature_and_a_made_up_example(logged):
    from mlflow.models import Model

    model = Model.load(logged.models["recommendation"])
    assert model.signature.inputs.input_names() == ["inputs"]
    assert model.signature.inputs.inputs[0].shape == (-1, 20)
    assert model.signature.outputs.input_names() == ["probability"]
    example = model.load_input_example()["inputs"]
    for value, contract in zip(np.ravel(example), RECOMMENDATION_INPUTS, strict=True):
        assert contract.low <= value <= contract.high


def test_an_example_has_a_row_for_every_input(contests):
    example = synthetic_example(contests[1].candidates["reference"].model)
    assert {name: row.shape for name, row in example.items()} == {"inputs": (1, 4)}


def test_a_run_that_breaks_is_marked_failed(registry, contests, dataset):
    with pytest.raises(KeyError):
        log_candidates(registry, "broken", {}, dataset, [replace(contests[0], chosen="nobody")])
    run = registry.client.search_runs([registry.experiment_id], "attributes.run_name = 'broken'")
    assert run[0].info.status == "FAILED"


def _frame(learner="ann"):
    stamps = pd.to_datetime(["2024-01-01", "2024-01-03", "2024-01-02"], utc=True)
    return pd.DataFrame(
        {
            "event_id": ["a", "b", "c"],
            "user_id": pd.Categorical([learner, "bob", learner]),
            "interaction_type": pd.Categorical(["video_view", "quiz_complete", "video_view"]),
            "topic_id": [1, 2, 2],
            "score": [np.nan, 0.5, np.nan],
            "duration_seconds": [10.0, np.nan, 20.0],
            "timestamp": stamps.astype("datetime64[us, UTC]"),
        }
    )


def test_the_digest_of_a_log_depends_on_its_rows_not_their_order():
    summary = DatasetSummary.of([_frame()], "log")
    assert summary == DatasetSummary.of([_frame().iloc[[2, 0, 1]]], "log")
    assert summary.digest != DatasetSummary.of([_frame().assign(topic_id=[1, 2, 3])], "log").digest
    assert summary.digest != DatasetSummary.of([_frame(), _frame()], "log").digest
    assert (summary.interactions, summary.learners, summary.topics) == (3, 2, 2)
    assert summary.last.isoformat() == "2024-01-03T00:00:00+00:00"


def test_no_learner_is_stored_in_mlflow(registry, contests):
    summary = DatasetSummary.of([_frame("zz-learner-zz")], "log")
    log_candidates(registry, "private", {}, summary, [contests[1]])
    uri = registry.tracking_uri.removeprefix("sqlite:///")
    with sqlite3.connect(uri) as database:
        assert not any("zz-learner-zz" in line for line in database.iterdump())


def test_the_code_digest_follows_sources_and_ignores_the_rest(tmp_path):
    code_version.cache_clear()
    (tmp_path / "sensei").mkdir()
    (tmp_path / "sensei" / "a.py").write_text("1")
    first = code_version(tmp_path)
    (tmp_path / "sensei" / "a.pyc").write_text("compiled")
    code_version.cache_clear()
    assert code_version(tmp_path) == first
    assert first.commit == ""
    (tmp_path / "sensei" / "a.py").write_text("2")
    code_version.cache_clear()
    assert code_version(tmp_path).digest != first.digest
