"""The real server over HTTP: one, started for all of these tests."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sensei import curriculum
from sensei.access import key_store
from sensei.events.log import Log, open_log
from sensei.storage.database import upgrade

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC)


def attempt(learner: str, topic_id: int, minute: int, score: float = 1.0) -> dict[str, Any]:
    return {
        "event_id": f"{minute}-{topic_id}",
        "user_id": learner,
        "interaction_type": "practice_attempt",
        "topic_id": topic_id,
        "score": score,
        "timestamp": NOW - timedelta(minutes=60 - minute),
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, planted_bundle: Path) -> Path:
    home = tmp_path_factory.mktemp("home")
    upgrade(f"sqlite:///{home / 'sensei.db'}")
    shutil.copytree(planted_bundle, home / "bundles" / planted_bundle.name)
    return home


@pytest.fixture(scope="module")
def log(home: Path, planted_bundle: Path) -> Iterator[Log]:
    log = open_log(f"sqlite:///{home / 'sensei.db'}")
    curriculum.store(log.engine, curriculum.load_file())
    log.set_pointer(planted_bundle.name)
    yield log
    log.close()


@pytest.fixture(scope="module")
def server(home: Path, log: Log, serve: Callable[..., Any]) -> Iterator[Any]:
    with serve(SENSEI_HOME=str(home)) as server:
        yield server


def test_an_event_appended_a_moment_ago_moves_the_next_answer(server: Any, log: Log) -> None:
    path = "/api/user/mia/recommendations?count=2"
    assert server.get(path).json()["fallback"] == "unknown_learner"
    for minute, (topic_id, successor) in enumerate([(11, 12), (13, 14), (12, 13), (14, 11)]):
        log.append([attempt("mia", topic_id, minute)])
        answer = server.get(path).json()
        assert answer["recommendations"][0]["topic_id"] == successor
        assert answer["fallback"] is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells a umask in /proc")
def test_workers_write_files_that_only_their_owner_may_read(server: Any) -> None:
    states = [Path(f"/proc/{process.pid}/status").read_text() for process in server.family()]
    workers = [state for state in states if "Umask:\t0077" in state]
    assert workers


def test_failing_quizzes_lowers_the_suggested_difficulty(server: Any, log: Log) -> None:
    path = "/api/learning/topic/11/difficulty/suggest?username=lea"
    log.append([attempt("lea", 11, minute) for minute in range(12)])
    before = server.get(path).json()
    log.append([attempt("lea", 11, 20 + minute, 0.0) for minute in range(30)])
    after = server.get(path).json()
    assert (before["difficulty"], after["difficulty"]) == ("hard", "easy")
    assert before["title"] == curriculum.load_file().topics[10].title


def test_a_learner_never_seen_and_one_with_any_name_are_answered(server: Any) -> None:
    for name in ("testuser", "%E5%AD%A6%E7%94%9F", "a%20b", "o'neill;--"):
        answer = server.get(f"/api/user/{name}/recommendations?count=5")
        assert answer.status_code == 200
        assert answer.json()["fallback"] == "unknown_learner"
        assert len(answer.json()["recommendations"]) == 4


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/user/mia/recommendations?count=0", "count"),
        ("/api/user/mia/recommendations?count=51", "count"),
        ("/api/user/mia/recommendations?count=many", "count"),
        ("/api/user/mia/recommendations?cuont=5", "cuont"),
        ("/api/learning/topic/one/difficulty/suggest?username=mia", "topic_id"),
        ("/api/learning/topic/1/difficulty/suggest", "username"),
        ("/api/learning/topic/1/difficulty/suggest?username=", "username"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(server: Any, path: str, field: str) -> None:
    answer = server.get(path)
    assert answer.status_code == 422
    assert re.fullmatch(rf"{field}: expected .+, got .+; .+", answer.json()["error"])


def test_the_page_names_the_version_and_loads_nothing_from_elsewhere(server: Any) -> None:
    page = server.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "version 7" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "<script" not in page.text


def test_readiness_names_what_is_missing_and_health_the_serving_models(
    server: Any, planted_bundle: Path
) -> None:
    assert server.get("/livez").json() == {"alive": True}
    ready = server.get("/readyz").json()
    assert (ready["ready"], ready["troubles"], ready["keys"]["state"]) == (True, [], "none")
    health = server.get("/healthz").json()
    assert health["champion"] == {
        "bundle": planted_bundle.name,
        "versions": {"recommendation": "7", "difficulty": "7"},
    }
    assert (health["challenger"], health["log"], health["answers_lost"]) == (None, True, 0)
    assert health["polled_seconds"] < 60
    assert health["worker"] in [process.pid for process in server.family()]


def test_metrics_count_serving_models_fallbacks_and_appended_events(server: Any) -> None:
    server.get("/api/user/nobody-knows-me/recommendations")
    quiz = {"topic_id": 11, "score": 0.9}
    httpx.post(f"{server.url}/api/learning/ida/submit-quiz", json=quiz).raise_for_status()
    metrics = server.get("/metrics").text
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    assert samples["sensei_models_serving", "7", "planted", "recommendation"] == 1
    assert samples["sensei_fallbacks_total", "recommendation", "unknown_learner"] >= 1
    assert samples["sensei_events_appended_total",] >= 1
    assert samples["sensei_predictions_lost_total",] == 0
    assert "nobody-knows-me" not in metrics
    assert "ida" not in re.findall(r"\w+", metrics)


def test_it_listens_on_loopback_only(server: Any) -> None:
    listening = {
        connection.laddr.ip
        for process in server.family()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_nothing_of_the_training_libraries_is_loaded(server: Any) -> None:
    mapped = {mapping.path for process in server.family() for mapping in process.memory_maps()}
    of_training = re.compile("tensorflow|numba|llvmlite|mlflow|pandas|pyarrow")
    assert not [path for path in mapped if of_training.search(path)]


def test_without_a_log_and_without_a_bundle_it_answers_and_ctrl_c_leaves_no_process(
    tmp_path: Path, serve: Callable[..., Any]
) -> None:
    # The variable makes BentoML print what it would send home, where it would.
    with serve(SENSEI_HOME=str(tmp_path), __BENTOML_DEBUG_USAGE="true") as server:
        answer = server.get("/api/user/testuser/recommendations?count=5")
        assert answer.json()["fallback"] == "no_model"
        ready = server.get("/readyz")
        assert ready.status_code == 200
        assert [trouble.split(":")[0] for trouble in ready.json()["troubles"]] == ["log", "models"]
        assert [
            recommendation["topic_id"] for recommendation in answer.json()["recommendations"]
        ] == [1, 2, 3, 4, 5]
        family = server.family()
        assert server.interrupt() == 0
        assert psutil.wait_procs(family, 30)[1] == []
        with pytest.raises(httpx.ConnectError):
            server.get("/livez")
        output = server.output.read_text()
    assert "sensei db upgrade" in output
    assert "Tracking" not in output
    assert "Traceback" not in output
    assert not (tmp_path / "sensei.db").exists()


def test_bentomls_own_endpoints_ask_for_a_key_and_a_revoked_one_opens_nothing_soon(
    tmp_path: Path, serve: Callable[..., Any]
) -> None:
    url = f"sqlite:///{tmp_path / 'sensei.db'}"
    upgrade(url)
    log = open_log(url)
    key, secret = key_store.create(log.engine, "platform")
    with serve(SENSEI_HOME=str(tmp_path)) as server:
        path = "/api/user/testuser/recommendations"
        headers = {"X-API-Key": secret}
        for native in (path, "/schema.json", "/metrics"):
            assert server.get(native).status_code == 401, native
        assert server.get("/livez").status_code == 200
        assert httpx.get(server.url + path, headers=headers).status_code == 200
        key_store.revoke(log.engine, key.key_id)
        deadline = time.monotonic() + 30
        while httpx.get(server.url + path, headers=headers).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        output = server.output.read_text()
    log.close()
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    request_lines = [line for line in lines if line["logger"] == "serving.requests"]
    expected = {"route": "/api/user/{username}/recommendations", "key": key.key_id, "status": 200}
    assert [line for line in request_lines if expected.items() <= line.items()]
    assert secret.rpartition("_")[2] not in output
    assert "testuser" not in output


def test_on_an_address_that_others_reach_it_does_not_start_without_a_key(tmp_path: Path) -> None:
    command = ["bentoml", "serve", "serving.service:SenseiService", "--host", "0.0.0.0"]
    completed = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={"SENSEI_HOME": str(tmp_path), "BENTOML_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert completed.returncode == 1
    assert "error: keys: expected at least one for a service on 0.0.0.0" in completed.stderr
    assert "`sensei keys create`" in completed.stderr
    assert "Traceback" not in completed.stderr
