"""How each model is made: one list for the next topic, one for success."""

from training.recipes.next_topic import NEXT_TOPIC
from training.recipes.recipe import EFFORTS, FULL, QUICK, Budget, Given, Recipe
from training.recipes.success import SUCCESS

__all__ = ["EFFORTS", "FULL", "NEXT_TOPIC", "QUICK", "SUCCESS", "Budget", "Given", "Recipe"]
