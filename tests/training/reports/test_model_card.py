"""A card says what a planted result holds, and names what is weak in it."""

from collections.abc import Callable
from dataclasses import replace

from training.evaluation.result import Result
from training.reports.candidate_comparison import CandidateComparison, limits
from training.reports.model_card import Provenance, card, short

Maker = Callable[..., Provenance]


def test_the_card_holds_data_figures_of_model_and_baselines_and_provenance(
    result: Result, made: Maker
) -> None:
    text = card(result, made("recommendation"))
    assert text.startswith("# Model card: recommendation, sequence\n")
    assert "1,234 interactions of 56 learners on 7 topics, 2026-01-01 to 2026-03-01" in text
    assert "| sequence network (chosen) | 0.500 [0.480, 0.520] |" in text
    assert "| Markov, last topic | 0.300 [0.280, 0.320] |" in text
    assert "7 epochs, the best one kept" in text
    assert "seeds: 3" in text
    assert "LiteRT, 2.5 MB, with a hidden state per learner; answers within 1.0e-06" in text
    for section in ("Intended use", "Not intended", "Protocol", "Slices", "Calibration", "Limits"):
        assert f"\n## {section}\n" in text


def test_a_counted_model_has_no_epochs(result: Result, made: Maker) -> None:
    assert "not trained in epochs" in card(result, replace(made("recommendation"), epochs=0))


def test_repeat_last_is_not_among_the_answers_where_it_is_masked(
    result: Result, made: Maker
) -> None:
    assert card(result, made("recommendation")).count("| repeat last |") == 1


def test_limits_name_slices_where_counting_does_better_and_those_with_few_targets(
    result: Result,
) -> None:
    sentences = limits(CandidateComparison(result, "recommendation"), demo=False)
    assert sentences == [
        "no history (50 targets, too few to be sure): Markov, last topic is better, "
        "0.200 against 0.100.",
        "unseen topic (50 targets, too few to be sure): weak, 0.050 against 0.500 overall.",
    ]


def test_ties_with_counting_and_bad_calibration_are_limits(result: Result) -> None:
    sentences = limits(CandidateComparison(result, "difficulty"), demo=False)
    assert sentences[0] == "Tied with topic mean: a baseline without training does as well."
    assert "Probabilities are off by 0.080 on average (ECE)." in sentences


def test_simulated_learners_are_the_first_limit(result: Result, made: Maker) -> None:
    assert "simulated" in limits(CandidateComparison(result, "difficulty"), demo=True)[0]
    assert "56 simulated learners" in card(result, made("difficulty", demo=True))


def test_one_seed_and_a_split_by_learner_are_limits(result: Result) -> None:
    data = result.data | {"split": "learner", "budget": result.data["budget"] | {"seeds": 1}}
    sentences = limits(CandidateComparison(replace(result, data=data), "difficulty"), demo=False)
    assert any("one seed" in line for line in sentences)
    assert any("not on later events" in line for line in sentences)


def test_the_short_form_holds_figure_best_baseline_and_the_gravest_limits(
    result: Result, made: Maker
) -> None:
    text = short(result, made("difficulty"))
    assert text.startswith("**history**. It reads events.")
    assert "log loss, no item known 0.510 [0.490, 0.530]; gain +0.010" in text
    assert "**No better than counting**" in text
    assert "Tied with topic mean" in text
    assert len(text) < 1_000
