import os
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from mlflow import MlflowClient

from sensei.errors import StorageUnavailable
from training.tracking.registry import Registry
from training.tracking.run_logging import log_candidates, synthetic_example


def _register(registry, logged, model="recommendation", **tags):
    return registry.register(model, logged.run_id, logged.models[model], "In words.", tags)


def test_a_new_version_is_the_challenger_with_description_and_tags(registry, logged):
    version = _register(registry, logged, candidate="reference")
    assert registry.challenger("recommendation") == version
    entry = registry.client.get_model_version("recommendation", version)
    assert entry.description == "In words."
    assert entry.tags == {"candidate": "reference"}
    assert entry.run_id == logged.run_id
    assert int(_register(registry, logged)) == int(version) + 1


def test_a_model_never_registered_has_no_champion(registry):
    assert registry.champion("nothing") is None
    assert registry.challenger("nothing") is None
    assert not registry.exists("nothing", "1")


def test_crowning_moves_the_alias_and_ends_the_challenge(registry, logged):
    first = _register(registry, logged, "difficulty")
    registry.crown("difficulty", first)
    assert registry.champion("difficulty") == first
    assert registry.challenger("difficulty") is None
    second = _register(registry, logged, "difficulty")
    registry.crown("difficulty", first)  # back to an older one: the challenger remains
    assert registry.challenger("difficulty") == second
    assert registry.exists("difficulty", second)
    assert not registry.exists("difficulty", "999")


def test_a_version_comes_back_as_the_model_that_was_trained(registry, logged, contests):
    version = _register(registry, logged)
    loaded = registry.load("recommendation", version)
    trained = contests[0].candidates["reference"].model
    rows = {"inputs": np.random.default_rng(0).random((9, 20), np.float32)}
    np.testing.assert_array_equal(
        np.asarray(loaded(rows)["probability"]), np.asarray(trained(rows)["probability"])
    )
    assert {name: tensor.shape for name, tensor in loaded.input.items()} == {"inputs": (None, 20)}


def test_a_version_is_registered_whatever_store_mlflow_used_last(registry, logged):
    import mlflow

    mlflow.set_tracking_uri("http://127.0.0.1:9")
    assert registry.exists("recommendation", _register(registry, logged))


def test_tags_can_be_added_later(registry, logged):
    version = _register(registry, logged)
    registry.tag("recommendation", version, {"bundle": "abc"})
    assert registry.client.get_model_version("recommendation", version).tags == {"bundle": "abc"}


def test_storage_that_cannot_be_written_is_reported_with_the_next_step(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageUnavailable, match="SENSEI_HOME"):
        Registry(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", tmp_path)


def test_registering_is_quiet(registry, contests, dataset, capfd):
    run = log_candidates(registry, "quiet", {}, dataset, [contests[1]])
    _register(registry, run, "difficulty")
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{tmp_path / 'm.db'}"]
    artifacts = ["--artifacts-destination", str(tmp_path / "kept")]
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *store, *artifacts, *address],
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


@pytest.mark.slow
def test_all_of_it_works_against_a_server(server, tmp_path, contests, dataset):
    remote = Registry(server, tmp_path / "unused")
    run = log_candidates(remote, "served", {"seed": 1}, dataset, contests)
    version = _register(remote, run)
    remote.crown("recommendation", version)
    assert remote.champion("recommendation") == version
    model = remote.load("recommendation", version)
    assert model(synthetic_example(model))["probability"].shape == (1, 3)
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize(
    "ask",
    [
        lambda registry: registry.champion("recommendation"),
        lambda registry: registry.exists("recommendation", "1"),
        lambda registry: registry.crown("recommendation", "1"),
        lambda registry: registry.tag("recommendation", "1", {"bundle": "b"}),
        lambda registry: registry.versions(),
    ],
    ids=["alias", "version", "crown", "tag", "list"],
)
def test_a_server_that_died_meanwhile_is_reported(registry, monkeypatch, ask):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    disconnected = object.__new__(Registry)  # connected once; the port has nobody now
    disconnected.client = MlflowClient("http://127.0.0.1:9")
    with pytest.raises(StorageUnavailable, match=r"MLflow: expected an answer, got .*repeat"):
        ask(disconnected)


def test_a_versions_words_are_replaced_and_figures_join_its_run(registry, logged):
    uri = logged.models["recommendation"]
    version = registry.register("recommendation", logged.run_id, uri, "before", {})
    registry.describe("recommendation", version, "**after**")
    assert registry.client.get_model_version("recommendation", version).description == "**after**"
    for _ in range(2):  # a task that is tried again says it once
        registry.note(logged.run_id, "- kept back")
    note = registry.client.get_run(logged.run_id).data.tags["mlflow.note.content"]
    assert note.startswith("- kept back\n\n## recommendation")
    registry.measure(logged.run_id, {"recommendation/gate/gain": 0.25})
    metrics = registry.client.get_run(logged.run_id).data.metrics
    assert metrics["recommendation/gate/gain"] == 0.25
    assert metrics["recommendation/reference/new_ndcg_at_5"] == 0.5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_that_open_a_new_database_at_once_both_find_it(tmp_path):
    code = (
        "import sys; from pathlib import Path; from training.tracking.registry import Registry; "
        "print(Registry(sys.argv[1], Path(sys.argv[2])).experiment_id)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    stores = f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "artifacts")
    processes = [
        subprocess.Popen([*command, *stores], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1] != ""
