"""The models that compete in one run, by name."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from features.batch import Examples
from training import recipes
from training.architectures import Model, Network
from training.export import import_tensorflow
from training.feed import Feed
from training.fit import Curves, Progress
from training.loop import predict
from training.preparation import Parts, Prepared
from training.recipes import QUICK, Budget, Recipe
from training.scores import Answers, Predict

__all__ = ["Candidate", "Candidates", "ModelProgress", "train_candidates"]

ModelProgress = Callable[[str, int, Mapping[str, float]], None]
"""Called after each epoch: model name, epoch from 1, its metrics."""


@dataclass(frozen=True)
class Candidate:
    """A trained model and how it came about.

    Attributes:
        name: unique among the candidates for one job.
        kind: `network` or `counting`.
        network: with named inputs and outputs.
        vector: which vector its `inputs` means, `recommendation` or `difficulty`.
        curves: metric -> value per epoch; empty for a counting model.
        description: what it does, in one sentence.
    """

    name: str
    kind: str
    network: Network
    vector: str
    description: str
    curves: Curves = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """All of it as one Keras model."""
        return self.network.model

    @property
    def predict(self) -> Predict:
        """What it says of examples."""

        def answers(rows: Examples) -> Answers:
            return predict(self.network, Feed(rows, self.vector))

        return answers


@dataclass(frozen=True)
class Candidates:
    """All candidates by name; `difficulty` is empty where `Prepared.no_success` says why."""

    recommendation: dict[str, Candidate]
    difficulty: dict[str, Candidate]


def train_candidates(
    prepared: Prepared,
    seed: int,
    budget: Budget = QUICK,
    models: Collection[str] | None = None,
    progress: ModelProgress | None = None,
) -> Candidates:
    """Count and train the models that compete.

    Args:
        prepared: examples of the training and validation parts.
        seed: the same seed gives the same weights.
        budget: how much time it may take.
        models: names of those wanted, of either job; by default all that the budget allows.
        progress: called after each epoch.
    """
    import_tensorflow()  # before Keras does it, loudly
    jobs: list[dict[str, Candidate]] = []
    for vector, made_by, parts in (
        ("recommendation", recipes.NEXT_TOPIC, prepared),
        ("difficulty", recipes.SUCCESS, prepared.attempts),
    ):
        wanted = [each for each in made_by if parts and _wanted(each, budget, models)]
        assert parts or not wanted
        jobs.append(_trained(vector, wanted, parts or prepared, seed, budget, progress))
    return Candidates(*jobs)


def _wanted(recipe: Recipe, budget: Budget, models: Collection[str] | None) -> bool:
    return recipe.name in models if models else budget.slow or not recipe.slow


def _trained(
    vector: str,
    wanted: Iterable[Recipe],
    parts: Parts,
    seed: int,
    budget: Budget,
    progress: ModelProgress | None,
) -> dict[str, Candidate]:
    import keras

    found: dict[str, Candidate] = {}
    for recipe in wanted:
        keras.utils.set_random_seed(seed)
        trained = {name: each.network for name, each in found.items()}
        told = _told(progress, f"{recipe.name} {vector}")
        network, curves = recipe.make(recipes.Given(parts, seed, budget, trained, told))
        found[recipe.name] = Candidate(
            recipe.name, recipe.kind, network, vector, recipe.description, curves
        )
    return found


def _told(progress: ModelProgress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    return lambda epoch, logs: progress(name, epoch, logs)
