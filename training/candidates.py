"""Candidates: the models that compete in one run, by name."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sensei.errors import InvalidInput
from sensei.model_name import ModelName
from training import recipes
from training.architectures import Model, Network
from training.data.batching import BatchFeed
from training.data.dataset import Dataset, Splits
from training.fitting.keras_fit import Curves, Progress
from training.fitting.train_loop import BatchPredictor
from training.recipes import QUICK, RECIPES, Budget, Recipe
from training.scores import Predict
from training.tensorflow_import import import_tensorflow

__all__ = [
    "Candidate",
    "CandidateTraining",
    "Candidates",
    "ModelProgress",
    "PredictionTask",
    "curves_of",
    "tasks_of",
]

ModelProgress = Callable[[str, int, Mapping[str, float]], None]
"""Callback after each epoch: model name, epoch from 1, its metrics."""

COUNTING = "counting"


@dataclass(frozen=True)
class Candidate:
    """Trained model with its training curves.

    Attributes:
        name: unique among the candidates of one model.
        kind: `network` or `counting`.
        network: network with named inputs and outputs.
        model_name: model that the candidate would become.
        curves: metric -> value per epoch; empty for a counting model.
        description: what the model does, in one sentence.
    """

    name: str
    kind: str
    network: Network
    model_name: ModelName
    description: str
    curves: Curves = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """Whole network as one Keras model."""
        return self.network.model

    @cached_property
    def predict(self) -> Predict:
        """Prediction function for examples."""
        answers = BatchPredictor(self.network)
        return lambda rows: answers(BatchFeed(rows, self.model_name))


Candidates = Mapping[ModelName, Mapping[str, Candidate]]
"""Model -> candidates by name; empty if the model cannot be trained on the log."""


def curves_of(candidates: Candidates) -> dict[str, Curves]:
    """Return the training curves by name of the candidate and model."""
    return {
        f"{candidate.name}_{model_name}": candidate.curves
        for model_name, by_name in candidates.items()
        for candidate in by_name.values()
    }


@dataclass(frozen=True)
class PredictionTask:
    """Targets of one model, and the recipes that compete for it.

    Attributes:
        model_name: the model.
        parts: its targets.
        recipes: all recipes, in order.
        wanted: recipes that compete; others are trained only if one of these needs them.
    """

    model_name: ModelName
    parts: Splits
    recipes: tuple[Recipe, ...]
    wanted: tuple[Recipe, ...]


def tasks_of(
    prepared: Dataset, budget: Budget, models: Collection[str] | None = None
) -> list[PredictionTask]:
    """Return the prediction tasks with their competing recipes.

    Args:
        prepared: the targets; without scored attempts there is no task of the difficulty model.
        budget: limits on the training time.
        models: candidates to train, of any model; by default all that the budget allows.

    Raises:
        InvalidInput: a name is unknown.
    """
    check_names(models)
    return [
        PredictionTask(
            model_name, parts, competing, tuple(r for r in competing if _wanted(r, budget, models))
        )
        for model_name, competing in RECIPES.items()
        if (parts := prepared.parts(model_name))
    ]


def check_names(models: Collection[str] | None) -> None:
    """Check that every name is a recipe's and that there is at least one; None means the default.

    Raises:
        InvalidInput: a name is unknown, or there is none.
    """
    if models is None:
        return
    names = dict.fromkeys(recipe.name for group in RECIPES.values() for recipe in group)
    if not models:
        raise InvalidInput(
            f"models: expected names among {', '.join(names)}, got none; name some, or leave it out"
        )
    for name in models:
        if name not in names:
            raise InvalidInput(
                f"models: expected names among {', '.join(names)}, got {name!r}; choose from these"
            )


def check_run(models: Collection[str] | None) -> None:
    """Check that models suffice for a run: known names, at least one next-topic model among them.

    Raises:
        InvalidInput: a name is unknown, or no next-topic model is named. The message lists the
            names.
    """
    check_names(models)
    names = [recipe.name for recipe in RECIPES[ModelName.RECOMMENDATION]]
    if models is not None and not {*models} & {*names}:
        raise InvalidInput(
            f"models: expected a model of the next topic among them ({', '.join(names)}), got "
            f"{', '.join(models)}; add one"
        )


def _wanted(recipe: Recipe, budget: Budget, models: Collection[str] | None) -> bool:
    if models is None:
        return budget.slow or not recipe.slow
    return recipe.name in models


class CandidateTraining:
    """Candidates of one model and one seed, each trained on first access."""

    def __init__(
        self, task: PredictionTask, seed: int, budget: Budget, progress: ModelProgress | None = None
    ) -> None:
        """Store the settings; nothing is trained yet.

        Args:
            task: the prediction task.
            seed: the same seed gives the same weights.
            budget: limits on the training time.
            progress: called after each epoch.
        """
        self._task, self._seed, self._budget, self._progress = task, seed, budget, progress
        self._recipes = {recipe.name: recipe for recipe in task.recipes}
        self._made: dict[str, Candidate] = {}

    def __getitem__(self, name: str) -> Candidate:
        """Return the candidate of a name; models that its recipe needs are trained first."""
        if name not in self._made:
            self._made[name] = self._trained(self._recipes[name])
        return self._made[name]

    def _trained(self, recipe: Recipe) -> Candidate:
        import_tensorflow()  # before Keras does, with its log output
        import keras

        needed = {name: self[name].network for name in recipe.needs}
        keras.utils.set_random_seed(self._seed)
        called = title(recipe.name, self._task, self._seed, self._budget)
        progress = _progress_of(self._progress, called)
        network, curves = recipe.make(
            recipes.RecipeContext(self._task.parts, self._seed, self._budget, needed, progress)
        )
        return Candidate(
            recipe.name, recipe.kind, network, self._task.model_name, recipe.description, curves
        )


def train_candidates(
    prepared: Dataset,
    seed: int,
    budget: Budget = QUICK,
    models: Collection[str] | None = None,
    progress: ModelProgress | None = None,
) -> Candidates:
    """Count and train the competing models with one seed.

    Args:
        prepared: examples of the training and validation parts.
        seed: the same seed gives the same weights.
        budget: limits on the training time.
        models: candidates to train, of any model; by default all that the budget allows.
        progress: called after each epoch.

    Raises:
        InvalidInput: a name is unknown.
    """
    return _trained(tasks_of(prepared, budget, models), seed, budget, progress, ())


def train_again(
    prepared: Dataset,
    seeds: Collection[int],
    budget: Budget,
    models: Collection[str] | None = None,
    progress: ModelProgress | None = None,
) -> tuple[Candidates, ...]:
    """Train the networks among the candidates again, once per further seed.

    Counting models are left out, because they do not depend on the seed.
    """
    tasks = tasks_of(prepared, budget, models)
    return tuple(_trained(tasks, seed, budget, progress, (COUNTING,)) for seed in seeds)


def _trained(
    tasks: Collection[PredictionTask],
    seed: int,
    budget: Budget,
    progress: ModelProgress | None,
    without: Collection[str],
) -> Candidates:
    candidates: dict[ModelName, dict[str, Candidate]] = {name: {} for name in ModelName}
    for task in tasks:
        training = CandidateTraining(task, seed, budget, progress)
        names = [recipe.name for recipe in task.wanted if recipe.kind not in without]
        candidates[task.model_name] = {name: training[name] for name in names}
    return candidates


def title(name: str, task: PredictionTask, seed: int, budget: Budget) -> str:
    """Return the name of a candidate in progress messages, with its seed if there are several."""
    return f"{name} {task.model_name}" + (f", seed {seed}" if budget.seeds > 1 else "")


def _progress_of(progress: ModelProgress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    return lambda epoch, logs: progress(name, epoch, logs)
