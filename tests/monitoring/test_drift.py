import json

import numpy as np
import pandas as pd
import pytest

from monitoring.drift import FEWEST_ROWS, METHOD, drift_report


def window(n: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Learners' inputs: eight numbers, two categories; `shift` in standard deviations."""
    r = np.random.default_rng(seed)
    topics = r.choice(20, n, p=np.full(20, 0.05)) // (2 if shift else 1)
    return pd.DataFrame(
        {f"number_{i}": r.normal(shift, 1, n) for i in range(8)}
        | {"topic": pd.Categorical(topics), "kind": r.integers(0, 5, n) + int(shift)}
    )


def test_identical_windows_score_zero(tmp_path):
    same = window(500, 1)
    drift = drift_report(same, same, tmp_path)
    assert drift.score == 0
    assert all(column.value == 0 for column in drift.columns.values())


@pytest.mark.parametrize("n", [FEWEST_ROWS, 300, 2_000])
def test_two_samples_of_one_distribution_do_not_alarm(tmp_path, n):
    assert drift_report(window(n, 1), window(n, 2), tmp_path).score <= 0.1


@pytest.mark.parametrize("n", [FEWEST_ROWS, 300, 2_000])
def test_planted_shift_scores_high(tmp_path, n):
    drift = drift_report(window(n, 1, shift=1.0), window(n, 2), tmp_path)
    assert drift.score >= 0.9
    assert not drift.small


def test_score_is_the_share_of_columns_that_moved(tmp_path):
    current = window(1_000, 1)
    current["number_0"] += 1
    current["number_1"] *= 4
    drift = drift_report(current, window(1_000, 2), tmp_path)
    assert drift.score == pytest.approx(0.2)
    assert [name for name, c in drift.columns.items() if c.drifted] == ["number_0", "number_1"]


def test_small_windows_are_said_to_be_small_and_cannot_alarm(tmp_path):
    drift = drift_report(window(FEWEST_ROWS - 1, 1, 5.0), window(1_000, 2), tmp_path)
    assert drift.small
    assert drift.score == 0
    assert drift.columns["number_0"].value > 0.5
    assert "Data drift detected" not in drift.html.read_text()


def test_empty_absent_and_constant_columns_are_said_not_fatal(tmp_path):
    current, reference = window(200, 1), window(200, 2)
    current["empty"], reference["empty"] = np.nan, 1.0
    current["infinite"], reference["infinite"] = np.inf, 1.0
    current["new"] = 1.0
    current["mixed"], reference["mixed"] = 1.0, "one"
    current["constant"], reference["constant"] = 3.0, 3.0
    current["moved"], reference["moved"] = 3.0, 4.0
    columns = drift_report(current, reference, tmp_path).columns
    assert columns["empty"].method == columns["infinite"].method == "empty in the current window"
    assert columns["new"].method == "absent in the reference window"
    assert columns["mixed"].value is None
    assert columns["constant"].value == 0
    assert columns["moved"].drifted
    assert columns["moved"].method == METHOD


def test_nothing_to_compare_is_no_drift(tmp_path):
    drift = drift_report(window(0, 1), window(0, 2), tmp_path)
    assert (drift.score, drift.html, drift.small) == (0, None, True)
    assert drift.json.exists()


def test_reports_name_no_learner_and_read_offline(tmp_path):
    current, reference = window(200, 1), window(200, 2)
    current["user_id"] = reference["user_id"] = "canary"
    drift = drift_report(current, reference, tmp_path)
    assert "user_id" not in drift.columns
    page = drift.html.read_text()
    assert "canary" not in page + drift.json.read_text()
    assert "<link" not in page
    assert "<script src" not in page


def test_json_holds_what_is_returned(tmp_path):
    drift = drift_report(window(200, 1, 1.0), window(200, 2), tmp_path)
    told = json.loads(drift.json.read_text())
    assert told["score"] == drift.score
    assert told["columns"]["number_0"]["value"] == drift.columns["number_0"].value
    assert (told["n_current"], told["n_reference"]) == (200, 200)


def test_only_the_newest_reports_are_kept(tmp_path):
    made = [drift_report(window(120, s), window(120, 9), tmp_path, kept=2) for s in range(3)]
    assert set(tmp_path.iterdir()) == {p for d in made[1:] for p in (d.html, d.json)}


def test_input_frames_are_not_changed(tmp_path):
    current, reference = window(150, 1), window(150, 2)
    before = current.copy(deep=True)
    drift_report(current, reference, tmp_path)
    pd.testing.assert_frame_equal(current, before)
