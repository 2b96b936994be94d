import numpy as np
import pandas as pd
import pytest

from monitoring.drift.drift_score import FEWEST_ROWS, METHOD, measure_drift, unlinked


def window(n: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Learners' inputs: eight numbers, two categories; `shift` in standard deviations."""
    r = np.random.default_rng(seed)
    topics = r.choice(20, n, p=np.full(20, 0.05)) // (2 if shift else 1)
    return pd.DataFrame(
        {f"number_{i}": r.normal(shift, 1, n) for i in range(8)}
        | {"topic": pd.Categorical(topics), "kind": r.integers(0, 5, n) + int(shift)}
    )


def test_identical_windows_score_zero():
    same = window(500, 1)
    drift = measure_drift(same, same)
    assert drift.score == 0
    assert all(column.value == 0 for column in drift.columns.values())


@pytest.mark.parametrize("n", [FEWEST_ROWS, 300, 2_000])
def test_two_samples_of_one_distribution_do_not_alarm(n):
    assert measure_drift(window(n, 1), window(n, 2)).score <= 0.1


@pytest.mark.parametrize("n", [FEWEST_ROWS, 300, 2_000])
def test_planted_shift_scores_high(n):
    drift = measure_drift(window(n, 1, shift=1.0), window(n, 2))
    assert drift.score >= 0.9
    assert not drift.small


def test_score_is_the_share_of_drifted_columns():
    current = window(1_000, 1)
    current["number_0"] += 1
    current["number_1"] *= 4
    drift = measure_drift(current, window(1_000, 2))
    assert drift.score == pytest.approx(0.2)
    assert sorted(drift.drifted) == ["number_0", "number_1"]


def test_small_windows_are_marked_and_cannot_alarm():
    drift = measure_drift(window(FEWEST_ROWS - 1, 1, 5.0), window(1_000, 2))
    assert drift.small
    assert drift.score == 0
    assert drift.columns["number_0"].value > 0.5


def test_empty_absent_and_constant_columns_are_reported_not_fatal():
    current, reference = window(200, 1), window(200, 2)
    current["empty"], reference["empty"] = np.nan, 1.0
    current["infinite"], reference["infinite"] = np.inf, 1.0
    current["new"] = 1.0
    current["mixed"], reference["mixed"] = 1.0, "one"
    current["constant"], reference["constant"] = 3.0, 3.0
    current["moved"], reference["moved"] = 3.0, 4.0
    columns = measure_drift(current, reference).columns
    assert columns["empty"].method == columns["infinite"].method == "empty in the current window"
    assert columns["new"].method == "absent in the reference window"
    assert columns["mixed"].value is None
    assert columns["constant"].value == 0
    assert columns["moved"].drifted
    assert columns["moved"].method == METHOD


def test_nothing_to_compare_is_no_drift():
    drift = measure_drift(window(0, 1), window(0, 2))
    assert (drift.score, drift.compared, drift.small) == (0, [], True)


def test_a_column_with_few_known_values_never_counts_as_drifted():
    current, reference = window(500, 1), window(500, 2)
    current.loc[FEWEST_ROWS - 1 :, "number_0"] = np.nan
    current["number_0"] += 10
    drift = measure_drift(current, reference)
    assert drift.columns["number_0"].value > 0.5
    assert drift.drifted == []
    current["number_0"] = 10.0
    assert measure_drift(current, reference).drifted == ["number_0"]


def test_unlinked_columns_keep_their_values_and_lose_their_rows():
    frame = pd.DataFrame({name: np.arange(1_000.0) for name in "abc"})
    shuffled = unlinked(frame)
    assert all(sorted(shuffled[name]) == list(frame[name]) for name in frame)
    for left, right in ("ab", "bc", "ac"):
        assert (shuffled[left] == shuffled[right]).sum() < 10  # 1 is expected by chance


def test_input_frames_are_not_changed():
    current, reference = window(150, 1), window(150, 2)
    before = current.copy(deep=True)
    measure_drift(current, reference)
    pd.testing.assert_frame_equal(current, before)
