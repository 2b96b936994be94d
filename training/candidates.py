"""Candidates: the models that compete in one run, by name."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sensei.errors import InvalidInput
from training import recipes
from training.architectures import Model, Network
from training.data.batching import BatchFeed
from training.data.dataset import Dataset, Splits
from training.fitting.keras_fit import Curves, Progress
from training.fitting.train_loop import BatchPredictor
from training.recipes import QUICK, Budget, Recipe
from training.release.export import import_tensorflow
from training.scores import Predict

__all__ = [
    "Candidate",
    "CandidateTraining",
    "Candidates",
    "ModelProgress",
    "PredictionTask",
    "jobs_of",
]

ModelProgress = Callable[[str, int, Mapping[str, float]], None]
"""Callback after each epoch: model name, epoch from 1, its metrics."""

COUNTING = "counting"


@dataclass(frozen=True)
class Candidate:
    """Trained model with its training curves.

    Attributes:
        name: unique among the candidates of one task.
        kind: `network` or `counting`.
        network: network with named inputs and outputs.
        vector: vector used as `inputs`: `recommendation` or `difficulty`.
        curves: metric -> value per epoch; empty for a counting model.
        description: what the model does, in one sentence.
    """

    name: str
    kind: str
    network: Network
    vector: str
    description: str
    curves: Curves = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """Whole network as one Keras model."""
        return self.network.model

    @cached_property
    def predict(self) -> Predict:
        """Prediction function for examples."""
        ask = BatchPredictor(self.network)
        return lambda rows: ask(BatchFeed(rows, self.vector))


@dataclass(frozen=True)
class Candidates:
    """All candidates by name; `difficulty` is empty if `Dataset.no_success` gives a reason."""

    recommendation: dict[str, Candidate]
    difficulty: dict[str, Candidate]

    @property
    def curves(self) -> dict[str, Curves]:
        """Training curves by name of the candidate and task."""
        made = (*self.recommendation.values(), *self.difficulty.values())
        return {f"{each.name}_{each.vector}": each.curves for each in made}


@dataclass(frozen=True)
class PredictionTask:
    """One of the two prediction tasks, and the recipes that compete for it.

    Attributes:
        vector: `recommendation` or `difficulty`.
        parts: its targets.
        recipes: all recipes, in order.
        wanted: recipes that compete; others are trained only if one of these needs them.
    """

    vector: str
    parts: Splits
    recipes: tuple[Recipe, ...]
    wanted: tuple[Recipe, ...]


def jobs_of(
    prepared: Dataset, budget: Budget, models: Collection[str] | None = None
) -> list[PredictionTask]:
    """Return the prediction tasks with their competing recipes.

    Args:
        prepared: the targets; without scored attempts there is no success task.
        budget: limits on the training time.
        models: names of the models to train, of either task; by default all that the budget allows.

    Raises:
        InvalidInput: a name is unknown.
    """
    check_names(models)
    parts_of = (
        ("recommendation", recipes.NEXT_TOPIC, prepared),
        ("difficulty", recipes.SUCCESS, prepared.attempts),
    )
    return [
        PredictionTask(
            vector, parts, made_by, tuple(r for r in made_by if _wanted(r, budget, models))
        )
        for vector, made_by, parts in parts_of
        if parts
    ]


def check_names(models: Collection[str] | None) -> None:
    """Check that every name is a recipe's and that there is at least one; None means the default.

    Raises:
        InvalidInput: a name is unknown, or there is none.
    """
    if models is None:
        return
    known = dict.fromkeys(each.name for each in (*recipes.NEXT_TOPIC, *recipes.SUCCESS))
    if not models:
        raise InvalidInput(
            f"models: expected names among {', '.join(known)}, got none; name some, or leave it out"
        )
    for name in models:
        if name not in known:
            raise InvalidInput(
                f"models: expected names among {', '.join(known)}, got {name!r}; choose from these"
            )


def check_run(models: Collection[str] | None) -> None:
    """Check that models suffice for a run: known names, at least one next-topic model among them.

    Raises:
        InvalidInput: a name is unknown, or no next-topic model is named. The message lists the
            names.
    """
    check_names(models)
    known = [each.name for each in recipes.NEXT_TOPIC]
    if models is not None and not {*models} & {*known}:
        raise InvalidInput(
            f"models: expected a model of the next topic among them ({', '.join(known)}), got "
            f"{', '.join(models)}; add one"
        )


def _wanted(recipe: Recipe, budget: Budget, models: Collection[str] | None) -> bool:
    if models is None:
        return budget.slow or not recipe.slow
    return recipe.name in models


class CandidateTraining:
    """Candidates of one task and one seed, each trained on first access."""

    def __init__(
        self, job: PredictionTask, seed: int, budget: Budget, progress: ModelProgress | None = None
    ) -> None:
        """Store the settings; nothing is trained yet.

        Args:
            job: the prediction task.
            seed: the same seed gives the same weights.
            budget: limits on the training time.
            progress: called after each epoch.
        """
        self._job, self._seed, self._budget, self._progress = job, seed, budget, progress
        self._recipes = {each.name: each for each in job.recipes}
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
        told = _told(self._progress, title(recipe.name, self._job, self._seed, self._budget))
        given = recipes.RecipeContext(self._job.parts, self._seed, self._budget, needed, told)
        network, curves = recipe.make(given)
        return Candidate(
            recipe.name, recipe.kind, network, self._job.vector, recipe.description, curves
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
        models: names of the models to train, of either task; by default all that the budget allows.
        progress: called after each epoch.

    Raises:
        InvalidInput: a name is unknown.
    """
    return _all(jobs_of(prepared, budget, models), seed, budget, progress, ())


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
    jobs = jobs_of(prepared, budget, models)
    return tuple(_all(jobs, seed, budget, progress, (COUNTING,)) for seed in seeds)


def _all(
    jobs: Collection[PredictionTask],
    seed: int,
    budget: Budget,
    progress: ModelProgress | None,
    without: Collection[str],
) -> Candidates:
    found: dict[str, dict[str, Candidate]] = {"recommendation": {}, "difficulty": {}}
    for job in jobs:
        training = CandidateTraining(job, seed, budget, progress)
        names = [each.name for each in job.wanted if each.kind not in without]
        found[job.vector] = {name: training[name] for name in names}
    return Candidates(**found)


def title(model: str, job: PredictionTask, seed: int, budget: Budget) -> str:
    """Return the name of a model in progress messages, with its seed if there are several."""
    return f"{model} {job.vector}" + (f", seed {seed}" if budget.seeds > 1 else "")


def _told(progress: ModelProgress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    return lambda epoch, logs: progress(name, epoch, logs)
