"""The same main job on slices of real learners' logs, where they are at hand."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

VARIABLE = "SENSEI_TEST_DATA"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _log(name: str) -> pa.Table:
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder with real logs")
    path = Path(folder) / name
    if not path.is_file():
        pytest.skip(f"{VARIABLE}: no {name} in it")
    return pq.read_table(path)


def _some_learners(table: pa.Table, count: int) -> pa.Table:
    chosen = pc.unique(table["user_id"]).sort()[:count]
    return table.filter(pc.is_in(table["user_id"], chosen))


def test_import_and_run_on_a_real_course(sensei, tmp_path):
    table = _some_learners(_log("oulad_bbb2013b.parquet"), 80)
    pq.write_table(table, tmp_path / "course.parquet")
    home = tmp_path / "home"
    first = sensei(home, "import", str(tmp_path / "course.parquet")).stdout
    assert f"{table.num_rows:,} rows read: {table.num_rows:,} new, 0 already stored" in first
    again = sensei(home, "import", str(tmp_path / "course.parquet")).stdout
    assert f"0 new, {table.num_rows:,} already stored" in again
    printed = sensei(home, "run", "--days", "60").stdout
    last = pc.max(table["timestamp"]).as_py()
    assert f"up to {str(last)[:10]}" in printed
    assert f"{table.num_rows:,} interactions" in printed
    assert "simulated" not in printed
    assert "promoted" in printed


def test_evaluate_by_the_files_own_split(sensei, tmp_path):
    table = _some_learners(_log("assist09_skillbuilder.parquet"), 50)
    pq.write_table(table, tmp_path / "log.parquet")
    result_path = tmp_path / "result.json"
    split = "column:metadata.split"
    sensei(
        tmp_path / "none", "evaluate", str(tmp_path / "log.parquet"), "--split", split,
        "--out", str(result_path),
    )  # fmt: skip
    result = json.loads(result_path.read_text())
    assert set(result) >= {"next_topic", "success", "topic_only", "slices", "seeds", "data"}
    for mode in ("all", "new"):
        models = result["next_topic"][mode]
        assert {"most_popular", "repeat_last", "markov_2", "reference", "sequence"} <= set(models)
        for figures in models.values():
            assert set(figures) == {"hr_at_1", "hr_at_3", "hr_at_5", "ndcg_at_5", "mrr", "n"}
    for figures in result["success"].values():
        assert set(figures) == {"auc", "accuracy", "log_loss", "brier", "ece", "n"}
    assert not (tmp_path / "none" / "sensei.db").exists()
