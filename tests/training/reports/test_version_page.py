"""A version's page says what a person needs who has to decide about it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from training.evaluation.result import Result
from training.release.gate import Decision
from training.release.serving_checks import ServingCheck
from training.reports.model_card import Provenance
from training.reports.version_page import PLOTS, VersionLocation, figures, page, tags, verdicts

Maker = Callable[..., Provenance]
PLACE = VersionLocation("4", "3", "r1", "7", {"Data Docs": "reports/docs.html"})
CHECKS = (
    ServingCheck("gain", True, "a gain of +0.0200", 0.02),
    ServingCheck(
        "new learners", True, "12 targets of 9 learners are too few to judge", judged=False
    ),
    ServingCheck("latency", False, "12.000 ms an answer, 10.0 ms allowed", 12.0),
)
KEPT_BACK = Decision(
    False, "The champion stays: latency: too slow.", 0.02, 0.01, 0.03, 0.52, 0.5, CHECKS
)
FIRST = Decision(True, "There is no champion yet.", checks=CHECKS[:1])


@pytest.mark.parametrize("model", ["recommendation", "difficulty"])
def test_the_page_holds_what_a_reviewer_needs(result: Result, made: Maker, model: str) -> None:
    text = page(result, made(model), KEPT_BACK, PLACE)
    for part in (
        "It reads events.",
        "### This version did not pass the gate\n\n- **gain passed**: a gain of +0.0200",
        "- **new learners not judged**: 12 targets of 9 learners are too few to judge",
        "- **latency failed**: 12.000 ms an answer, 10.0 ms allowed",
        "- champion, version 3: 0.5000",
        "- this version: 0.5200",
        "- gain: +0.0200 [+0.0100, +0.0300]",
        "1,234 interactions of 56 learners on 7 topics, 2026-01-01 to 2026-03-01",
        f"data digest `{'ab' * 32}`",
        "window_days 30, seed 0",
        "### Limits",
        f"`sensei promote --model {model} --version 4 --reviewer NAME`",
        "run the deployment `promote-model`",
        f"`sensei trial start --model {model} --version 4 --share 10`",
        "`sensei rollback --reviewer NAME`",
        "(#/experiments/7/runs/r1/artifacts/reports/docs.html)",
        f"(get-artifact?path=plots/{PLOTS[model][0]}&run_uuid=r1)",
    ):
        assert part in text


def test_figures_are_compared_with_those_of_models_that_need_no_training(
    result: Result, made: Maker
) -> None:
    rows = page(result, made("recommendation"), KEPT_BACK, PLACE).splitlines()
    first = rows.index("- sequence network (this version): 0.500 [0.480, 0.520]")
    assert rows[first + 1] == "- Markov, last topic: 0.300 [0.280, 0.320]"


def test_the_first_version_was_compared_with_no_champion(result: Result, made: Maker) -> None:
    text = page(result, made("difficulty", demo=True), FIRST, replace(PLACE, against=None))
    assert "### This version passed the gate" in text
    assert "champion, version" not in text
    assert "56 simulated learners" in text
    assert "- history network (this version): 0.510 [0.490, 0.530]" in text


def test_versions_are_filtered_by_what_the_gate_found(made: Maker) -> None:
    kept_back_tags = tags(made("recommendation"), KEPT_BACK, PLACE)
    assert kept_back_tags["gate"] == "kept back"
    assert kept_back_tags["gate_failed"] == "latency"
    assert (kept_back_tags["gain"], kept_back_tags["against"]) == ("+0.0200", "3")
    assert kept_back_tags["data_digest"] == "ab" * 8
    first = tags(made("recommendation", demo=True), FIRST, replace(PLACE, against=None))
    assert (first["gate"], first["gate_failed"], first["gain"]) == ("passed", "none", "")
    assert (first["against"], first["learners"]) == ("none", "simulated")


def test_only_figures_that_are_numbers_are_metrics() -> None:
    assert figures("difficulty", KEPT_BACK) == {
        "difficulty/gate/gain": 0.02,
        "difficulty/gate/gain_low": 0.01,
        "difficulty/gate/gain_high": 0.03,
        "difficulty/gate/challenger": 0.52,
        "difficulty/gate/champion": 0.5,
        "difficulty/gate/latency": 12.0,
    }
    assert figures("difficulty", FIRST) == {}


def test_the_run_names_its_versions_with_the_verdict() -> None:
    assert verdicts({"difficulty": "4"}, {"difficulty": KEPT_BACK}) == (
        "- [difficulty 4](#/models/difficulty/versions/4): The champion stays: latency: too slow."
    )
