"""Summary of the monitor for a person, from figures made by hand."""

from io import StringIO

import pytest
from rich.console import Console

from flows.presentation.monitoring_summary import FIGURES, findings_document, follows
from flows.presentation.terminal_document import show_document
from monitoring import alarms
from training.reports.document import to_markdown

NOTHING = {"value": None, "low": None, "high": None, "n": 0, "learners": 0}
WINDOW = {"start": "2026-01-24T03:00:00+00:00", "end": "2026-01-31T03:00:00+00:00"}
EMPTY = {
    "window": WINDOW,
    "figures": dict.fromkeys((name for name, _, _ in FIGURES), NOTHING),
    "lift": None,
    "drift": None,
    "skew": {"compared": 0, "different": 0, "inputs": {}},
    "alarms": [],
}
DRIFT = {
    "score": 0.25,
    "small": False,
    "drifted": ["score", "domain"],
    "against": "the training window of recommendation 3",
    "n_current": 1200,
    "n_reference": 1100,
    "report": "/home/reports/drift.html",
}


def shown(findings) -> str:
    console = Console(width=200, file=StringIO())
    show_document(console, findings_document(findings))
    return console.file.getvalue()


def markdown(findings) -> str:
    return to_markdown(findings_document(findings))


def test_before_any_event_every_row_is_marked_empty_and_nothing_fails():
    for text in (markdown(EMPTY), shown(EMPTY)):
        assert text.count("nothing to count yet") == len(FIGURES)
        assert "the log is empty" in text
        assert "From 2026-01-24 03:00 to 2026-01-31 03:00 UTC" in text
        assert "No alarm." in text


def test_figures_stand_with_their_intervals_and_counts():
    accepted = {"value": 0.312, "low": 0.28, "high": 0.344, "n": 1234, "learners": 210}
    figures = EMPTY["figures"] | {"recommendation_acceptance": accepted}
    lift = {"value": 0.041, "low": 0.003, "high": 0.08, "n": 2000, "learners": 300}
    text = shown(EMPTY | {"figures": figures, "lift": lift})
    assert "31.2 %" in text
    assert "28.0 % to 34.4 %, 1,234 answers, 210 learners" in text
    assert "+4.1 points" in text
    assert "+0.3 points to +8.0 points, 2,000 answers, 300 learners" in text


def test_drift_names_the_drifted_columns_and_the_reference():
    text = shown(EMPTY | {"drift": DRIFT, "alarms": ["Drift: 0.25 of 1"]})
    assert "score, domain; 1,200 learners against the training window of recommendation 3" in text
    assert "alarm: Drift: 0.25 of 1" in text
    assert "/home/reports/drift.html" in text
    assert "No alarm" not in text


def test_a_small_window_is_not_judged():
    drift = DRIFT | {"small": True, "score": 0.0, "drifted": [], "n_current": 12}
    text = shown(EMPTY | {"drift": drift})
    assert "not judged" in text
    assert "(1,100): too few" in text


def test_skew_names_the_inputs():
    skew = {"compared": 900, "different": 3, "inputs": {"recommendation.mean_score": 3}}
    text = markdown(EMPTY | {"skew": skew})
    assert "| 3 | of 900 answers: recommendation.mean_score |" in text


def test_a_live_trial_has_a_row_while_it_runs():
    assert "A/B test" not in markdown(EMPTY)
    verdict = {"said": "3.0 points more often", "enough": True}
    assert "| A/B test | decided | 3.0 points more often |" in markdown(EMPTY | {"trial": verdict})


def test_answers_that_are_not_judged_yet_are_counted():
    assert "not judged yet" not in shown(EMPTY | {"open": 0})
    assert "| Answers not judged yet | 1,499 |" in markdown(EMPTY | {"open": 1499})


@pytest.mark.parametrize(
    ("alarming", "emitted", "said"),
    [
        ([], [], ""),
        ([alarms.DRIFT], [alarms.DRIFT], "`on-drift` trains now"),
        ([alarms.DRIFT, alarms.QUALITY], [alarms.QUALITY], "`on-drift` trains now"),
        ([alarms.DRIFT, alarms.SKEW], [alarms.SKEW], "within 24 hours"),
        ([alarms.QUALITY], None, "`sensei train`"),
        ([alarms.SKEW], [alarms.SKEW], "do not train"),
        ([alarms.SKEW], None, "do not train"),
        (["sensei.volume.low"], ["sensei.volume.low"], "None of it starts a training"),
        (["sensei.run.overdue", alarms.SKEW], [], "do not train"),
    ],
)
def test_an_alarm_says_what_follows(alarming, emitted, said):
    sentence = follows(alarming, emitted, 24)
    assert said in sentence
    assert bool(sentence) == bool(alarming)
    for text in (shown, markdown):
        assert sentence in text(EMPTY | {"alarms": ["wrong"], "follows": sentence})


def test_guards_and_the_alarms_they_hold_back_are_shown():
    verdict = {"fires": True, "sentence": "10% of the usual"}
    findings = EMPTY | {"guards": {"volume": verdict}, "held_back": ["Drift: 0.50 of 1"]}
    for text in (markdown(findings), shown(findings)):
        assert "Volume" in text
        assert "10% of the usual" in text
        assert "no reason to train while events are missing: Drift: 0.50 of 1" in text
