"""What a recipe is, and what it may cost."""

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
    """How much time a run may take.

    Attributes:
        name: as `--effort` says it.
        setting: how the reference networks are fitted.
        epochs: most epochs of the networks of the next topic that are fitted batch by batch; those
            of success take half as many again.
        seeds: how often each network is trained, to choose by the mean.
        slow: whether models that cost several others' time compete.
    """

    name: str
    setting: FitSettings
    epochs: int
    seeds: int
    slow: bool


QUICK = Budget("quick", FAST, 6, 1, False)
FULL = Budget("full", FAST, 8, 3, True)
EFFORTS = {each.name: each for each in (QUICK, FULL)}


@dataclass(frozen=True)
class RecipeContext:
    """What a recipe works with: the targets, a seed, a budget, and what was trained before it."""

    parts: Splits
    seed: int
    budget: Budget
    trained: Mapping[str, Network]
    progress: Progress | None = None


@dataclass(frozen=True)
class Recipe:
    """One model.

    Attributes:
        name: unique in its list.
        kind: `network` or `counting`.
        description: what it does, in one sentence.
        make: trains it.
        needs: models that must have been trained before.
        slow: left out of a quick run.
    """

    name: str
    kind: str
    description: str
    make: Callable[[RecipeContext], Trained]
    needs: tuple[str, ...] = ()
    slow: bool = False


def counting(name: str, description: str, build: Callable[[Splits], Model]) -> Recipe:
    """A model of fixed weights, counted from what training knows."""
    return Recipe(name, "counting", description, lambda given: (Network(build(given.parts)), {}))


def blending(
    description: str, needs: tuple[str, ...], task: Callable[[Splits], LearningTask]
) -> Recipe:
    """The geometric mean of networks that were trained before, calibrated."""

    def make(given: RecipeContext) -> Trained:
        network = blend.of([given.trained[name] for name in needs], "blend")
        return calibrate(network, task(given.parts)), {}

    return Recipe("blend", "network", description, make, needs, slow=True)
