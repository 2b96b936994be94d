"""Pictures of an evaluation: few lines are named, however many models there are."""

from training.candidates import Candidates, curves_of
from training.data.dataset import Dataset
from training.evaluation.protocol import EvaluationEvidence, ModelScores, choose
from training.evaluation.result import result_of
from training.recipes import NEXT_TOPIC, QUICK
from training.reports.evaluation_figures import draw, emphasis


def test_plots_show_curves_hit_rates_reliability_and_slices(
    tmp_path, candidates: Candidates, prepared: Dataset, validated: ModelScores, tested: ModelScores
) -> None:
    evidence = EvaluationEvidence(choose(validated), validated, tested)
    draw(tmp_path, curves_of(candidates), evidence, result_of("time", 0, QUICK, prepared, evidence))
    assert {p.name for p in tmp_path.iterdir()} == {
        *(f"curves_{name}.png" for name, curves in curves_of(candidates).items() if curves),
        "hit_rate_all.png",
        "hit_rate_new.png",
        "next_topic_by_history_length.png",
        "next_topic_by_topic_popularity.png",
        "reliability.png",
        "success_by_history_length.png",
        "success_by_topic_popularity.png",
    }
    assert all(p.stat().st_size < 80_000 for p in tmp_path.iterdir())


def test_the_chosen_the_best_the_reference_and_the_plainest_are_named() -> None:
    gain = {recipe.name: position / 100 for position, recipe in enumerate(NEXT_TOPIC)}
    chosen_emphasis = emphasis(NEXT_TOPIC, gain, "history")
    assert chosen_emphasis.chosen == "history"
    assert chosen_emphasis.networks == ("blend", "sequence", "reference")
    assert chosen_emphasis.baselines == ("markov_2", "markov_1", "most_popular")
    assert "label" not in chosen_emphasis.style("slots")
