"""Recipe of a model, and the time budget of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from training.architectures import Model, Network, blend
from training.data.dataset import Splits
from training.fitting.calibration import calibrate
from training.fitting.keras_fit import FAST, Curves, FitSettings, Progress
from training.fitting.train_loop import LearningTask

Trained = tuple[Network, Curves]


@dataclass(frozen=True)
class Budget:
    """Limits on the training time of a run.

    Attributes:
        name: value of `--effort`.
        setting: settings of the reference networks.
        epochs: maximum number of epochs of the next-topic networks that are fitted by
            `training.fitting.train_loop`. Success networks get 1.5 times as many.
        seeds: number of seeds per network; models are compared by the mean over seeds.
        slow: if True, slow models are trained as well.
    """

    name: str
    setting: FitSettings
    epochs: int
    seeds: int
    slow: bool


QUICK = Budget("quick", FAST, 6, 1, False)
FULL = Budget("full", FAST, 8, 3, True)
EFFORTS = {budget.name: budget for budget in (QUICK, FULL)}


@dataclass(frozen=True)
class RecipeContext:
    """Inputs of a recipe: the targets, a seed, a budget, and the networks trained before it."""

    parts: Splits
    seed: int
    budget: Budget
    trained: Mapping[str, Network]
    progress: Progress | None = None


@dataclass(frozen=True)
class Recipe:
    """Definition of one model.

    Attributes:
        name: unique in its list.
        kind: `network` or `counting`.
        description: what the model does, in one sentence.
        make: trains the model.
        needs: names of the models that are trained before it.
        slow: if True, a quick run leaves the model out.
    """

    name: str
    kind: str
    description: str
    make: Callable[[RecipeContext], Trained]
    needs: tuple[str, ...] = ()
    slow: bool = False


def counting(name: str, description: str, build: Callable[[Splits], Model]) -> Recipe:
    """Define a model of fixed weights, counted from the training statistics."""
    return Recipe(
        name, "counting", description, lambda context: (Network(build(context.parts)), {})
    )


def blending(
    description: str, needs: tuple[str, ...], task: Callable[[Splits], LearningTask]
) -> Recipe:
    """Define the calibrated geometric mean of networks that were trained before."""

    def make(context: RecipeContext) -> Trained:
        network = blend.of([context.trained[name] for name in needs], "blend")
        return calibrate(network, task(context.parts)), {}

    return Recipe("blend", "network", description, make, needs, slow=True)
