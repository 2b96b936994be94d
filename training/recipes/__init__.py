"""Recipes of the candidates: one list per model."""

from sensei.model_name import ModelName
from training.recipes.next_topic_recipes import NEXT_TOPIC
from training.recipes.recipe import EFFORTS, FULL, QUICK, Budget, Recipe, RecipeContext
from training.recipes.success_recipes import SUCCESS

__all__ = [
    "EFFORTS",
    "FULL",
    "NEXT_TOPIC",
    "QUICK",
    "RECIPES",
    "SUCCESS",
    "Budget",
    "Recipe",
    "RecipeContext",
]

RECIPES: dict[ModelName, tuple[Recipe, ...]] = {
    ModelName.RECOMMENDATION: NEXT_TOPIC,
    ModelName.DIFFICULTY: SUCCESS,
}
"""Recipes of each model's candidates, in order."""
