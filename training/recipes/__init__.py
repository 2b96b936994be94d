"""Recipes of the models: one list for the next topic, one for success."""

from training.recipes.next_topic_recipes import NEXT_TOPIC
from training.recipes.recipe import EFFORTS, FULL, QUICK, Budget, Recipe, RecipeContext
from training.recipes.success_recipes import SUCCESS

__all__ = ["EFFORTS", "FULL", "NEXT_TOPIC", "QUICK", "SUCCESS", "Budget", "Recipe", "RecipeContext"]
