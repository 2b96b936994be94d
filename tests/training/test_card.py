"""A card says what a planted result holds, and names what is weak in it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from training.card import Made, card, short
from training.result import Result
from training.standing import Standing, limits
from training.tracking import Dataset

FIRST, LAST = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 3))
DATASET = Dataset("log", "ab" * 32, 1_234, 56, 7, FIRST, LAST)


def ranked(value: float, n: int = 400) -> dict[str, float]:
    return {"hr_at_1": value, "hr_at_3": value, "hr_at_5": value, "ndcg_at_5": value, "mrr": value,
            "n": n}  # fmt: skip


def predicted(loss: float, n: int = 300) -> dict[str, float]:
    return {"auc": 0.7, "accuracy": 0.7, "log_loss": loss, "brier": 0.2, "ece": 0.08, "n": n}


def sure(value: float, gain: float = 0.1) -> dict[str, dict[str, float]]:
    def around(middle: float) -> dict[str, float]:
        return {"value": middle, "low": middle - 0.02, "high": middle + 0.02}

    leading = {name: around(value) for name in ("hr_at_1", "ndcg_at_5", "auc", "log_loss")}
    return {**leading, "gain": around(gain)}


SLICES = {
    "cold": {
        "no_history": {"markov_1": 0.2, "sequence": 0.1},
        "unseen_topic": {"markov_1": 0.0, "sequence": 0.05},
    },
    "history_length": {"0": {"markov_1": 0.3, "sequence": 0.45}},
}


@pytest.fixture
def result() -> Result:
    by_mode = {"markov_1": ranked(0.3), "repeat_last": ranked(0.01), "sequence": ranked(0.5)}
    return Result(
        next_topic={"all": by_mode, "new": by_mode},
        success={"topic_mean": predicted(0.5), "history": predicted(0.51)},
        level_only={"topic_mean": predicted(0.5), "history": predicted(0.51)},
        topic_only={"topic_mean": predicted(0.5)},
        data={
            "split": "time",
            "selected": {"recommendation": "sequence", "difficulty": "history"},
            "budget": {"name": "full", "setting": "fast", "epochs": 10, "seeds": 3},
            "targets": {"train": 4_000, "validate": 300, "test": 400},
            "attempts": {"train": 3_000, "validate": 200, "test": 300},
        },
        intervals={
            "next_topic": {
                mode: {"markov_1": sure(0.3), "sequence": sure(0.5, gain=0.0)}
                for mode in ("all", "new")
            },
            "success": {"topic_mean": sure(0.5, gain=0.01), "history": sure(0.51, gain=0.0)},
            "topic_only": {"topic_mean": sure(0.5)},
            "slices": {
                "next_topic": {g: dict.fromkeys(s, sure(0.4)["auc"]) for g, s in SLICES.items()},
                "success": {"cold": {"no_history": sure(0.6)["log_loss"]}},
            },
        },
        slices={
            "next_topic": {
                group: {
                    name: {"new": {model: ranked(v, n=50) for model, v in values.items()}}
                    for name, values in slices.items()
                }
                for group, slices in SLICES.items()
            },
            "success": {
                "cold": {"no_history": {"topic_mean": predicted(0.7), "history": predicted(0.6)}}
            },
        },
        seeds={},
    )


def made(model: str, demo: bool = False) -> Made:
    given = {"window_days": 30, "seed": 0}
    return Made(model, "It reads events.", 7, DATASET, demo, given, "`c0de`", True, 2_500_000, 1e-6)


def test_card_holds_data_figures_beside_baselines_and_how_it_was_made(result: Result) -> None:
    text = card(result, made("recommendation"))
    assert text.startswith("# Model card: recommendation, sequence\n")
    assert "1,234 interactions of 56 learners on 7 topics, 2026-01-01 to 2026-03-01" in text
    assert "| sequence (chosen) | 0.500 [0.480, 0.520] |" in text
    assert "| markov_1 | 0.300 [0.280, 0.320] |" in text
    assert "7 epochs, the best one kept" in text
    assert "seeds: 3" in text
    assert "LiteRT, 2.5 MB, with a hidden state of each learner; answers within 1.0e-06" in text
    for section in ("Intended use", "Not intended", "Protocol", "Slices", "Calibration", "Limits"):
        assert f"\n## {section}\n" in text


def test_a_counted_model_has_no_epochs(result: Result) -> None:
    assert "no epochs of its own" in card(result, replace(made("recommendation"), epochs=0))


def test_repeat_last_is_not_among_the_answers_where_it_is_masked(result: Result) -> None:
    assert card(result, made("recommendation")).count("| repeat_last |") == 1


def test_limits_name_slices_where_counting_does_better_and_where_little_is_known(
    result: Result,
) -> None:
    found = limits(Standing(result, "recommendation"), demo=False)
    assert found == [
        "no history (50 targets, too few to be sure): markov_1 does better, 0.200 against 0.100.",
        "unseen topic (50 targets, too few to be sure): weak, 0.050 against 0.500 overall.",
    ]


def test_ties_with_counting_and_bad_calibration_are_limits(result: Result) -> None:
    found = limits(Standing(result, "difficulty"), demo=False)
    assert found[0] == "Tied with topic_mean: no training is needed for that."
    assert "Probabilities are off by 0.080 on average (ECE)." in found


def test_simulated_learners_are_the_first_limit(result: Result) -> None:
    assert "simulated" in limits(Standing(result, "difficulty"), demo=True)[0]
    assert "56 simulated learners" in card(result, made("difficulty", demo=True))


def test_one_seed_and_a_split_by_learner_are_limits(result: Result) -> None:
    other = result.data | {"split": "learner", "budget": result.data["budget"] | {"seeds": 1}}
    found = limits(Standing(replace(result, data=other), "difficulty"), demo=False)
    assert any("one seed" in line for line in found)
    assert any("not on what comes later" in line for line in found)


def test_short_form_says_figure_best_baseline_and_the_gravest_limits(result: Result) -> None:
    text = short(result, made("difficulty"))
    assert text.startswith("**history**. It reads events.")
    assert "log loss: 0.510 [0.490, 0.530]" in text
    assert "best without training: topic_mean 0.500" in text
    assert "Tied with topic_mean" in text
    assert len(text) < 1_000
