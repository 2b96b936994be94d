"""`sensei evaluate` on a file: tables, JSON, pictures; a second call goes on from the first."""

import csv
import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)

MODELS = "most_popular,markov_1,topic_mean"


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """Forty learners walk round six topics; topic 1 is always failed."""
    path = tmp_path_factory.mktemp("evaluate") / "log.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "interaction_type", "topic_id", "score", "timestamp"])
        for learner in range(40):
            for step in range(20):
                topic = (learner + step) % 6 + 1
                score = 0.0 if topic == 1 else (learner * step % 3) / 2
                moment = f"2026-03-{step + 1:02d}T10:{learner:02d}:00Z"
                rows.writerow([f"person-{learner}", "quiz_complete", topic, score, moment])
    return path


@pytest.mark.slow
def test_figures_json_and_pictures_and_the_second_call_trains_nothing(log, sensei, tmp_path):
    home, result_path, plots = tmp_path / "home", tmp_path / "out.json", tmp_path / "plots"
    arguments = ["evaluate", str(log), "--split", "learner", "--models", MODELS]
    first = sensei(home, *arguments, "--out", str(result_path), "--plots", str(plots)).stdout
    assert re.search(r"Markov, last topic +(\(chosen\) +)?0\.9\d+", first)
    assert re.search(r"\[0\.9\d+, 0\.9\d+\]", first)
    assert "topic mean (chosen)" in first
    assert "neither item nor level known: 160" in first
    assert "Not measured" not in first, "the others were not wanted"
    result = json.loads(result_path.read_text())
    assert list(result["next_topic"]["new"]) == ["most_popular", "markov_1"]
    assert result["data"]["selected"] == {"recommendation": "markov_1", "difficulty": "topic_mean"}
    assert (plots / "hit_rate_new.png").exists()
    assert not (home / "sensei.db").exists()
    contents = [p.read_bytes() for p in (home / "evaluations").rglob("*.npz")]
    assert len(contents) == 3
    assert not any(b"person-" in content for content in contents)
    again = sensei(home, *arguments, "--out", str(tmp_path / "again.json")).stdout
    assert "Cached: markov_1 recommendation" in again
    assert "Train:" not in again
    assert (tmp_path / "again.json").read_text() == result_path.read_text()
    assert "Train: markov_1" in sensei(home, *arguments, "--fresh").stdout


def test_unknown_model_is_refused_in_one_sentence(log, sensei, tmp_path):
    completed = sensei(tmp_path / "home", "evaluate", str(log), "--models", "markov_7", ok=False)
    assert completed.returncode == 1
    assert "expected names among most_popular" in completed.stdout
    assert "got 'markov_7'" in completed.stdout
