"""A version carries what a reviewer needs."""

from training.evaluate import Chosen, measure
from training.review import contests, draw, headline

CHOSEN = Chosen("markov_1", "reference")


def test_words_name_the_choice_its_figure_and_every_other_model(candidates, prepared):
    found = {
        c.model: c
        for c in contests(candidates, measure(candidates, prepared, "test"), CHOSEN, "learner")
    }
    words = found["recommendation"].description
    assert words.startswith("**markov_1**")
    assert "split by learner" in words
    assert all(name in words for name in candidates.recommendation)
    assert "log loss" in headline(found["difficulty"])


def test_plots_show_curves_hit_rates_and_reliability(tmp_path, candidates, prepared):
    draw(tmp_path, candidates, measure(candidates, prepared, "test"))
    assert {p.name for p in tmp_path.iterdir()} == {
        "curves_reference_recommendation.png",
        "curves_reference_difficulty.png",
        "curves_history_recommendation.png",
        "curves_history_difficulty.png",
        "curves_sequence_recommendation.png",
        "hit_rate_all.png",
        "hit_rate_new.png",
        "reliability.png",
    }
    assert all(p.stat().st_size < 60_000 for p in tmp_path.iterdir())
