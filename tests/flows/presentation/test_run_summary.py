"""Results of a run: one screen at its end, all figures one command away."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from flows.presentation import run_summary
from flows.presentation.run_summary import (
    RunSummary,
    read_document,
    results_document,
    show_summary,
    stored_document,
)
from flows.presentation.terminal_document import continued, show_document
from training.evaluation.result import Result
from training.release.gate import Decision
from training.release.serving_checks import ServingCheck
from training.reports.document import to_markdown

PASSED = ServingCheck("gain", True, "NDCG@5 is better", 0.02)
LATE = ServingCheck("latency", False, "12.000 ms an answer, 10.0 ms allowed", 12.0)
BETTER = Decision(True, "Promoted: better.", 0.02, 0.01, 0.03, 0.52, 0.5, (PASSED,))
SLOW = Decision(False, "The champion stays: slow.", 0.02, 0.01, 0.03, 0.52, 0.5, (PASSED, LATE))
SERVING = "\n".join(
    f"{model} 12 since 2026-03-01 12:00 (23 min ago), by gate"
    for model in ("recommendation", "difficulty")
)


def _ranked(value: float) -> dict[str, float]:
    return dict.fromkeys(("hr_at_1", "hr_at_3", "hr_at_5", "ndcg_at_5", "mrr"), value) | {"n": 400}


def _predicted(loss: float) -> dict[str, float]:
    return {"auc": 0.7, "accuracy": 0.7, "log_loss": loss, "brier": 0.2, "ece": 0.08, "n": 300}


def _interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


def _intervals(value: float, gain: float) -> dict[str, dict[str, float]]:
    names = ("hr_at_1", "ndcg_at_5", "auc", "log_loss")
    return {name: _interval(value) for name in names} | {"gain": _interval(gain)}


@pytest.fixture
def run() -> RunSummary:
    ranked = {"most_frequent": _ranked(0.3), "markov_2": _ranked(0.4), "sequence": _ranked(0.5)}
    predicted = {"proficiency": _predicted(0.52), "history": _predicted(0.51)}
    ranked_intervals = {
        "most_frequent": _intervals(0.3, 0.2),
        "markov_2": _intervals(0.4, 0.1),
        "sequence": _intervals(0.5, 0.0),
    }
    predicted_intervals = {"proficiency": _intervals(0.52, 0.01), "history": _intervals(0.51, 0.0)}
    tables = dict.fromkeys(("success", "level_only", "topic_only"), predicted_intervals)
    result = Result(
        next_topic={"all": ranked, "new": ranked},
        success=predicted,
        level_only=predicted,
        topic_only=predicted,
        data={
            "split": "time",
            "selected": {"recommendation": "sequence", "difficulty": "history"},
            "budget": {"name": "quick", "setting": "fast", "epochs": 6, "seeds": 1},
        },
        intervals={"next_topic": {"all": ranked_intervals, "new": ranked_intervals}, **tables},
        slices={},
        seeds={},
    )
    return RunSummary(
        demo=True,
        as_of=datetime(2026, 3, 1, tzinfo=UTC),
        window_days=90,
        read=123_456,
        quarantined=12,
        reasons={"score_in_range": 12},
        learners=300,
        topics=80,
        targets={"train": 4_012, "validate": 446, "test": 1_000},
        result=result,
        no_success="",
        versions={"recommendation": "12", "difficulty": "12"},
        promoted={"recommendation": True, "difficulty": False},
        decisions={"recommendation": BETTER, "difficulty": SLOW},
        bundle="b" * 64,
        bento="sensei:abc",
        drift="0.25 of 1, the last 7 days (120 learners) against the training window of "
        "recommendation 11: score, domain",
        reports={"Data Docs": "/home/reports/data_docs/interactions-20261129T174627719709.html"},
        page=f"http://127.0.0.1:5001/#/experiments/1/runs/{'a' * 32}",
    )


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSEI_HOME", "/srv/another-home")
    monkeypatch.setattr(run_summary.sys, "argv", [str(Path.cwd() / ".venv/bin/sensei")])


def _shown(run: RunSummary, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, highlight=False)
    show_summary(console, run, SERVING)
    assert isinstance(console.file, io.StringIO)
    return Text.from_ansi(console.file.getvalue()).plain.splitlines()


@pytest.mark.parametrize("review", [False, True])
@pytest.mark.parametrize("width", [80, 120])
def test_the_end_of_a_run_fits_one_screen(run: RunSummary, width: int, review: bool) -> None:
    lines = _shown(replace(run, review=review), width)
    assert len(lines) <= 24
    assert max(len(line.rstrip()) for line in lines) <= width


def test_the_verdict_is_first_then_what_serves_then_the_next_commands(run: RunSummary) -> None:
    output = " ".join(" ".join(_shown(run, 80)).split())
    parts = (
        "Better than counting: NDCG@5 where the topic changes 0.500 [0.480, 0.520]; gain +0.100 "
        "[+0.080, +0.120] over Markov, last two topics, the best counting model.",
        "Version 12 (sequence network) promoted; gain +0.0200 [+0.0100, +0.0300] over the champion",
        "No better than counting: log loss",
        "Version 12 (history network) not promoted",
        "failed checks: latency",
        "123,456 interactions of 300 simulated learners (a demo)",
        "serves now recommendation 12 since 2026-03-01 12:00",
        "SENSEI_HOME=/srv/another-home .venv/bin/sensei results",
    )
    positions = [output.find(part) for part in parts]
    assert -1 not in positions
    assert positions == sorted(positions)


def test_a_command_that_is_wider_than_the_screen_continues_with_backslashes() -> None:
    command = "curl 'http://127.0.0.1:8000/api/user/a b/recommendations?count=5' --silent"
    assert continued(command, 200) == command
    assert continued(command, 66) == (
        "curl \\\n  'http://127.0.0.1:8000/api/user/a b/recommendations?count=5' \\\n  --silent"
    )


def test_all_figures_are_stored_and_read_again(run: RunSummary) -> None:
    page = results_document(run)
    assert read_document(stored_document(page)) == page
    text = to_markdown(page)
    for part in (
        "| sequence network (chosen) | 0.500 [0.480, 0.520] |",
        "### Success, item and level known: 300",
        "- refused: 12 by score_in_range",
        "- **difficulty 12**: The champion stays: slow. Checks: gain passed, latency failed.",
        "- trained on: 4,012 targets of 90 days",
    ):
        assert part in text


@pytest.mark.parametrize("width", [80, 120])
def test_all_figures_fit_the_terminal_without_broken_numbers(run: RunSummary, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    show_document(console, results_document(run))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "[0.480, 0.520]" in text
    assert "reports/data_docs/interactions-20261129T174627719709.html" in text


def test_a_review_names_the_commands_that_promote(run: RunSummary) -> None:
    text = to_markdown(results_document(replace(run, review=True)))
    assert "promote --model recommendation --version 12 --reviewer NAME" in text
    assert "waits for a person, passed the gate" in text
    assert "waits for a person, did not pass the gate" in text
