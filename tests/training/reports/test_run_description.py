"""A version carries what a reviewer needs."""

from training.reports.run_description import contests, headline

CHOSEN = {"recommendation": "markov_1", "difficulty": "reference"}


def test_words_name_the_choice_its_figure_and_every_other_model(candidates, tested):
    by_model = {c.model: c for c in contests(candidates, tested, CHOSEN, "learner")}
    words = by_model["recommendation"].description
    assert words.startswith("**markov_1**")
    assert "split by learner" in words
    assert all(name in words for name in candidates["recommendation"])
    assert "log loss" in headline(by_model["difficulty"])


def test_a_difficulty_model_is_described_with_and_without_the_item(candidates, tested):
    (difficulty,) = (
        c for c in contests(candidates, tested, CHOSEN, "learner") if c.model == "difficulty"
    )
    for name, figures in difficulty.metrics.items():
        assert figures["log_loss"] == tested.level_only[name].table()["log_loss"]
        assert figures["item_known_log_loss"] == tested.difficulty[name].table()["log_loss"]
