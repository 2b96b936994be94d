"""Moments and figures as a person says them."""

from datetime import UTC, datetime, timedelta

import pytest

from flows.presentation.phrases import (
    ago,
    figures_in_words,
    monitored_at,
    trial_in_words,
    verdict_in_words,
)
from sensei.ab_test_state import AbTest

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TRIAL = AbTest("b" * 64, 0.1, "recommendation", "4", "3", "2026-04-30T12:00:00+00:00")
FOUND = {
    "computed_at": "2026-05-01T11:00:00+00:00",
    "recommendation_acceptance": 0.42,
    "user_satisfaction": 4.13,
    "data_drift_score": 0.25,
    "lift": {"value": 0.051, "low": 0.012, "high": 0.09, "n": 400},
    "drift": {"score": 0.25, "small": False, "drifted": ["score_mean"], "report": None},
}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (5, "just now"),
        (60, "1 min ago"),
        (7_100, "1 h ago"),
        (86_400, "1 day ago"),
        (200_000, "2 days ago"),
        (-7_200, "2 h in the FUTURE"),
    ],
)
def test_how_long_ago(seconds, said):
    assert ago(NOW - timedelta(seconds=seconds), NOW) == said


def test_figures_are_described_with_their_interval_and_drifted_columns():
    assert figures_in_words(FOUND) == (
        "acceptance 42 %, lift over counting +5.1 points (+1.2 to +9.0), satisfaction 4.1 of 5, "
        "drift 0.25 of 1 (score_mean)"
    )


def test_missing_figures_are_described_as_unknown():
    phrase = figures_in_words(dict.fromkeys(FOUND))
    assert phrase.count("unknown") == 4
    assert figures_in_words({"lift": {"value": None}}).count("unknown") == 4
    assert "too few learners" in figures_in_words(FOUND | {"drift": {"small": True}})
    assert monitored_at(None) is None


def test_a_trial_is_described_with_its_share_and_age():
    assert trial_in_words(TRIAL, NOW) == (
        "recommendation 4 answers 10 % of learners, against recommendation 3, started 1 day ago"
    )


def test_a_verdict_older_than_the_trial_is_none():
    sentence = "Not enough yet: 40 of some 900 learners."
    findings = FOUND | {"trial": {"said": sentence}}
    assert verdict_in_words(findings, TRIAL, NOW) == sentence
    older_findings = findings | {"computed_at": "2026-04-30T11:00:00+00:00"}
    assert "sensei monitor" in verdict_in_words(older_findings, TRIAL, NOW)
    assert "sensei monitor" in verdict_in_words(None, TRIAL, NOW)
    assert "nothing to compare" in verdict_in_words(FOUND, TRIAL, NOW)
