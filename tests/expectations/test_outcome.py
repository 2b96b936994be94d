from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.outcome import (
    RunBaseline,
    ValidationOutcome,
    bad_rows,
    by_expectation,
    reasons,
    refuse,
)
from expectations.suites import load
from sensei.errors import DataRefused
from sensei.events.refusals import Refusals


def score_rule():
    return next(
        rule
        for rule in load("interactions")
        if rule["type"].endswith("be_between") and rule["kwargs"]["column"] == "score"
    )


def outcome(total: int, scores: list[float]) -> ValidationOutcome:
    frame = pd.DataFrame({"score": scores, "interaction_id": range(100, 100 + len(scores))})
    bad = bad_rows(frame, [(score_rule(), frame.index.to_numpy())], {})
    return ValidationOutcome(frame[:0], bad, (), Path("docs.html"), RunBaseline(total, None))


def test_percentage_is_answered_with_the_fraction_to_send():
    said = reasons(score_rule(), pd.Series([85.0, -2.0, 850.0]), {})
    assert list(said) == [
        "score: expected a fraction in [0, 1], got 85; send 0.85",
        "score: expected a fraction in [0, 1], got -2; send a fraction",
        "score: expected a fraction in [0, 1], got 850; send a fraction",
    ]


@settings(deadline=None)  # speed is no rule here
@given(st.lists(st.floats(1.001, 1e6), min_size=1))
def test_every_value_gets_the_reason_it_would_get_alone(values):
    rule = score_rule()
    together = reasons(rule, pd.Series(values), {})
    assert list(together) == [reasons(rule, pd.Series([v]), {})[0] for v in values]


def test_row_that_breaks_two_rules_is_quarantined_once_with_the_first_reason():
    rules = [r for r in load("interactions") if r["meta"]["field"] == "user_id"][-2:]
    frame = pd.DataFrame({"user_id": [None, "a", None]})
    rows = frame.index.to_numpy()
    bad = bad_rows(frame, [(rules[0], rows[[0, 2]]), (rules[1], rows[[0, 1]])], {})
    assert list(bad["row"]) == [0, 1, 2]
    assert list(bad["expectation"].str.contains("not_be_null")) == [True, False, True]
    assert bad["interaction_id"].isna().all()


def test_rows_without_a_key_are_not_sent_to_the_log():
    bad = outcome(10, [85.0, 40.0]).bad
    bad.loc[1, "interaction_id"] = pd.NA
    ((expectation, why),) = by_expectation(bad)
    assert expectation == "expect_column_values_to_be_between(score)"
    assert why == {100: "score: expected a fraction in [0, 1], got 85; send 0.85"}


def test_share_at_the_limit_goes_on_and_above_it_stops():
    refuse(outcome(100, [85.0] * 5), max_share=0.05)
    with pytest.raises(DataRefused):
        refuse(outcome(100, [85.0] * 6), max_share=0.05)


def test_refusal_names_expectation_share_three_examples_and_the_next_step():
    with pytest.raises(DataRefused) as refused:
        refuse(outcome(8, [85.0, 40.0, 60.0, 70.0]), max_share=0.05)
    said = str(refused.value)
    assert "expect_column_values_to_be_between(score)" in said
    assert "50.0% (4 of 8)" in said
    assert said.count("got ") == 4  # the share and three examples
    assert "SENSEI_MAX_QUARANTINED_SHARE" in said
    assert "docs.html" in said


def test_rows_refused_before_validation_stop_a_run_too():
    arrivals = Refusals(stored=100, http=100, imported=800)
    with pytest.raises(DataRefused) as refused:
        refuse(replace(outcome(100, []), refusals=arrivals), max_share=0.05)
    said = str(refused.value)
    assert "900 of 1,000 rows (90.0%) were refused: 100 over HTTP, 800 at import" in said
    assert "SENSEI_MAX_QUARANTINED_SHARE" in said
    assert "docs.html" in said
    refuse(replace(outcome(100, []), refusals=arrivals), max_share=0.9)


def test_empty_log_is_not_refused_here():
    refuse(outcome(0, []), max_share=0.0)


@pytest.mark.parametrize("newest", [None, datetime(2026, 1, 1, tzinfo=UTC)])
def test_facts_survive_the_log(newest):
    assert RunBaseline.from_json(RunBaseline(3, newest).to_json()) == RunBaseline(3, newest)
