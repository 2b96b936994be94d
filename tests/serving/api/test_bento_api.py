"""BentoML's own client against the real server, and what the process above the workers loads."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pytest

from sensei.contracts import RECOMMENDATION_INPUTS
from sensei.events.log import open_log
from sensei.storage.database import upgrade


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, planted_bundle: Path, serve: Callable[..., Any]
) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("home")
    url = f"sqlite:///{home / 'sensei.db'}"
    upgrade(url)
    shutil.copytree(planted_bundle, home / "bundles" / planted_bundle.name)
    log = open_log(url)
    log.set_pointer(planted_bundle.name)
    before = datetime.now(UTC) - timedelta(hours=1)
    log.append(
        [
            {
                "user_id": "mia",
                "interaction_type": "quiz_complete",
                "topic_id": 11,
                "score": 1.0,
                "timestamp": before,
            }
        ]
    )
    log.close()
    with serve(SENSEI_HOME=str(home)) as server, bentoml.SyncHTTPClient(server.url) as client:
        yield client


def test_rows_are_predicted_together(client: Any) -> None:
    rows = np.zeros((3, len(RECOMMENDATION_INPUTS)), np.float32)
    rows[:, 0] = [1, 2, 3]
    found = np.asarray(client.predict(features=rows))
    np.testing.assert_array_equal(found.argmax(axis=1), [1, 2, 3])
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_the_same_engine_recommends_and_suggests(client: Any) -> None:
    found = client.recommend(user_id="mia", count=2)
    assert found["recommendations"][0]["topic_id"] == 12
    assert client.suggest_difficulty(user_id="mia", topic_id=11)["model"] == "planted"


def test_what_is_wrong_is_said(client: Any) -> None:
    with pytest.raises(bentoml.exceptions.BentoMLException, match="count: expected a whole"):
        client.recommend(user_id="mia", count=0)
    with pytest.raises(bentoml.exceptions.BentoMLException, match="features: expected"):
        client.predict(features=np.zeros((1, 7), np.float32))


def test_the_process_above_the_workers_loads_nothing_that_only_they_need() -> None:
    code = "import sys, serving.service; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(said.stdout.split())
    assert not loaded & {
        "pandas",
        "pyarrow",
        "ai_edge_litert",
        "serving.engine.engine",
        "sqlalchemy",
    }
