import math

from sensei.model_name import ModelName
from training import recipes
from training.evaluation.metric_specs import (
    CANDIDATE_LABELS,
    COUNTING_LABELS,
    DECIDING,
    LOG_LOSS,
    METRICS,
)
from training.scores import PREDICTED, RANKED

RECIPES = (*recipes.NEXT_TOPIC, *recipes.SUCCESS)


def test_every_metric_that_is_computed_has_a_label() -> None:
    ranked, predicted = (
        {metric.name for metric in METRICS[model_name]} for model_name in ModelName
    )
    assert ranked == RANKED.keys()
    assert predicted == {"auc", *PREDICTED, "ece"}


def test_every_model_is_chosen_by_one_of_its_metrics() -> None:
    assert all(DECIDING[model_name] in METRICS[model_name] for model_name in ModelName)


def test_every_candidate_has_a_label_and_counting_models_are_those_of_the_recipes() -> None:
    assert CANDIDATE_LABELS.keys() == {recipe.name for recipe in RECIPES}
    assert COUNTING_LABELS.keys() == {r.name for r in RECIPES if r.kind == "counting"}


def test_an_undefined_metric_is_a_dash() -> None:
    assert LOG_LOSS.text(0.12345) == "0.123"
    assert LOG_LOSS.text(math.nan) == "-"
