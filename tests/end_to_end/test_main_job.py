"""From an empty folder to a champion that answers, in one command, without network."""

import json
import re
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest

from features.history import FOLD_VERSION
from sensei.bundle.bundle_format import Bundle

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def home(tmp_path_factory, sensei) -> Path:
    home = tmp_path_factory.mktemp("main") / "home"
    sensei(home, "simulate", "--learners", "60", "--days", "30", "--seed", "3")
    (home.parent / "first.txt").write_text(sensei(home, "run").stdout)
    return home


@pytest.fixture(scope="module")
def printed(home) -> str:
    return (home.parent / "first.txt").read_text()


def _one(home: Path, query: str):
    with sqlite3.connect(home / "sensei.db") as connection:
        return connection.execute(query).fetchone()[0]


def test_no_network_is_needed(isolation, printed):
    if not isolation:
        pytest.skip("this system allows no network namespaces")
    assert "sensei results" in printed


def test_the_summary_counts_rows_read_and_refused_and_models_trained_and_promoted(home, printed):
    rows = _one(home, "select count(*) from user_interactions")
    assert f"{rows:,} interactions of 60 simulated learners (a demo)" in " ".join(printed.split())
    output = " ".join(printed.split())
    assert "0 rows refused" in output
    assert re.search(r"recommendation (Better|No better|Worse) than counting: NDCG@5", output)
    assert re.search(r"Version 1 \([^)]*\) promoted", output)
    assert "serves now recommendation 1 since" in output
    assert "curl http://127.0.0.1:8000/api/user/learner-00001/recommendations" in printed


def test_all_figures_are_one_command_away(home, printed, sensei):
    results = sensei(home, "results").stdout
    for model in ("most popular", "repeat last", "reference network"):
        assert model in results
    assert "Next topic, where the topic changes" in results


def test_the_first_run_says_that_no_champion_served_the_days_that_drift_compares(printed):
    assert "against the 7 days before (no champion served yet)" in " ".join(printed.split())


def test_long_steps_keep_talking(printed):
    seconds = [int(s) for s in re.findall(r"^ *(\d+) s ", printed, re.MULTILINE)]
    assert len(seconds) > 10
    assert max(b - a for a, b in pairwise(seconds)) < 90  # 30 s where the machine is not busy


def test_the_pointer_names_a_bundle_that_loads_with_the_registered_versions(home):
    digest = _one(home, "select bundle from serving_state")
    bundle = Bundle.load(home / "bundles" / digest, FOLD_VERSION)
    assert {m: e.version for m, e in bundle.manifest.models.items()} == {
        "recommendation": "1",
        "difficulty": "1",
    }
    assert _one(home, "select count(*) from promotions where status = 'done'") == 2
    bentos = json.dumps(sorted(p.name for p in (home / "bentoml" / "bentos").rglob("bento.yaml")))
    assert "bento.yaml" in bentos


def test_card_and_all_figures_hang_on_the_run(home):
    (text,) = (p.read_text() for p in (home / "mlartifacts").rglob("model_card.md"))
    for model in ("recommendation", "difficulty"):
        assert f"# Model card: {model}, " in text
    assert "of 60 simulated learners" in text
    assert "Learners are simulated" in text
    assert "answers within" in text
    (evaluation,) = (
        json.loads(p.read_text()) for p in (home / "mlartifacts").rglob("evaluation.json")
    )
    assert {"reference", "sequence", "most_popular"} <= evaluation["next_topic"]["new"].keys()
    assert evaluation["data"]["budget"]["name"] == "quick"


def test_no_learner_is_named_in_reports_or_registry(home):
    learner = _one(home, "select user_id from user_interactions limit 1").encode()
    files = [
        p
        for d in ("reports", "mlartifacts", "evidently")
        for p in (home / d).rglob("*")
        if p.is_file()
    ]
    files.append(home / "mlflow.db")
    assert len(files) > 10
    assert [p for p in files if learner in p.read_bytes()] == []


@pytest.mark.slow
def test_same_log_again_with_one_model_keeps_the_champion_and_reads_nothing_twice(home, sensei):
    files = sorted((home / "runs").rglob("*.parquet"))
    before = {p: p.stat().st_mtime_ns for p in files}
    printed = sensei(home, "train", "--models", "reference").stdout
    assert "reference network" in printed
    assert "sequence" not in printed
    assert "not promoted" in printed
    assert _one(home, "select count(*) from promotions") == 2
    assert {p: p.stat().st_mtime_ns for p in sorted((home / "runs").rglob("*.parquet"))} == before


@pytest.mark.slow
def test_the_drift_of_a_run_that_promotes_is_that_from_the_champion_before(sensei, tmp_path):
    """Not from the new one: its reference is of the very days that are compared."""
    second_home = tmp_path / "home"
    sensei(second_home, "simulate", "--learners", "60", "--days", "30", "--seed", "3")
    sensei(second_home, "train", "--models", "most_popular,global_mean")
    printed = sensei(second_home, "train").stdout
    output = " ".join(printed.split())
    assert re.search(r"Version 2 \([^)]*\) promoted", output)
    assert "against the training window of recommendation 1" in output


def test_a_demo_refuses_an_import_in_one_sentence(home, sensei, tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("user_id,interaction_type,topic_id,timestamp\nu,text_read,1,2026-01-01\n")
    completed = sensei(home, "import", str(file), ok=False)
    assert completed.returncode == 1
    assert "set SENSEI_HOME to another folder" in completed.stdout
    assert "Traceback" not in completed.stdout + completed.stderr


def test_a_learner_erased_after_all_that_is_named_nowhere_in_the_home(home, sensei, tmp_path):
    name = "learner-00001"
    assert "rows written" in sensei(home, "learner", "export", name, "--out", tmp_path / "x").stdout
    events = _one(home, f"select count(*) from user_interactions where user_id = '{name}'")
    tables = json.loads((tmp_path / "x").read_text())["held"]
    assert len(tables["user_interactions"]) == events > 0
    erased = sensei(home, "learner", "erase", name).stdout
    assert "sensei train" in erased
    files = [p for p in home.rglob("*") if p.is_file() and name.encode() in p.read_bytes()]
    assert files == []
    assert _one(home, "select count(*) from user_interactions") > 0
