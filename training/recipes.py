"""How each model is made: one list for the next topic, one for success; counting models first.

Equal figures go to the model named first, so the simpler one is chosen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from training import baselines, tasks
from training.architectures import Model, Network, blend, reference, sequence, success
from training.architectures.sequence import Size
from training.calibration import calibrate
from training.fit import FAST, Arrays, Curves, Progress, Setting, fit_difficulty, fit_recommendation
from training.loop import Schedule, Task, fit
from training.preparation import Parts
from training.scores import level_taken

Trained = tuple[Network, Curves]


@dataclass(frozen=True)
class Budget:
    """How much time a run may take.

    Attributes:
        name: as `--effort` says it.
        setting: how the reference networks are fitted.
        epochs: most epochs of the networks that are fitted batch by batch.
        seeds: how often each network is trained, to choose by the mean.
        slow: whether models that cost several others' time compete.
    """

    name: str
    setting: Setting
    epochs: int
    seeds: int
    slow: bool


QUICK = Budget("quick", FAST, 6, 1, False)
FULL = Budget("full", FAST, 8, 3, True)
EFFORTS = {each.name: each for each in (QUICK, FULL)}


@dataclass(frozen=True)
class Given:
    """What a recipe works with: the targets, a seed, a budget, and what was trained before it."""

    parts: Parts
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
    make: Callable[[Given], Trained]
    needs: tuple[str, ...] = ()
    slow: bool = False


def _counted(build: Callable[[Parts], Model]) -> Callable[[Given], Trained]:
    return lambda given: (Network(build(given.parts)), {})


def _most_popular(parts: Parts) -> Model:
    return baselines.most_popular(parts.statistics)


def _repeat_last(parts: Parts) -> Model:
    return baselines.repeat_last(parts.statistics)


def _recently_popular(parts: Parts) -> Model:
    return baselines.recently_popular(parts.statistics.width)


def _most_frequent(parts: Parts) -> Model:
    return baselines.most_frequent(parts.statistics.width)


def _habits(parts: Parts) -> Model:
    return baselines.habits(parts.statistics.width)


def _markov_1(parts: Parts) -> Model:
    return baselines.markov_1(parts.statistics.width)


def _markov_2(parts: Parts) -> Model:
    return baselines.markov_2(parts.statistics.width)


def _global_mean(parts: Parts) -> Model:
    return baselines.global_mean(parts.statistics)


def _topic_mean(parts: Parts) -> Model:
    return baselines.topic_mean(parts.statistics)


def _proficiency(_: Parts) -> Model:
    return baselines.proficiency()


def _reference_recommendation(given: Given) -> Trained:
    parts = given.parts
    model = reference.recommendation(parts.train.recommendation, parts.topics)
    curves = fit_recommendation(
        model,
        parts.training.map(_next),
        _next(parts.validate),
        given.seed,
        given.budget.setting,
        given.progress,
    )
    return Network(model), curves


def _next(rows: Examples) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    return rows.recommendation, rows.target


def _reference_difficulty(given: Given) -> Trained:
    parts = given.parts
    model = reference.difficulty(parts.train.difficulty)
    curves = fit_difficulty(
        model,
        parts.training.map(_attempts),
        _attempts(parts.validate),
        given.seed,
        given.budget.setting,
        given.progress,
    )
    return Network(model), curves


def _attempts(rows: Examples) -> Arrays:
    return {"inputs": rows.difficulty, "level": level_taken(rows), "score": rows.score}


def _next_topic(name: str, size: Size) -> Callable[[Given], Trained]:
    """A network of the family in `training.architectures.sequence`."""

    def make(given: Given) -> Trained:
        parts = given.parts
        network = sequence.recommendation(
            parts.train.recommendation, parts.topics, parts.statistics.width, size, name
        )
        task = tasks.next_topic(parts)
        schedule = replace(Schedule(), epochs=given.budget.epochs)
        curves = fit(network, task, schedule, given.seed, given.progress)
        return calibrate(network, task), curves

    return make


def _success(name: str, size: success.Size) -> Callable[[Given], Trained]:
    """A network of the family in `training.architectures.success`."""

    def make(given: Given) -> Trained:
        parts = given.parts
        network = success.difficulty(parts.train, parts.topics, size, name)
        task = tasks.success(parts)
        schedule = Schedule(epochs=12, patience=4, rate=3e-3, cells=256)
        curves = fit(network, task, schedule, given.seed, given.progress)
        return calibrate(network, task), curves

    return make


def _blend(names: tuple[str, ...], task: Callable[[Parts], Task]) -> Callable[[Given], Trained]:
    def make(given: Given) -> Trained:
        network = blend.of([given.trained[name] for name in names], "blend")
        return calibrate(network, task(given.parts)), {}

    return make


NEXT_TOPIC = (
    Recipe(
        "most_popular",
        "counting",
        "What all learners study most, the same for everybody.",
        _counted(_most_popular),
    ),
    Recipe(
        "recently_popular",
        "counting",
        "What all learners studied most in the last days, the same for everybody.",
        _counted(_recently_popular),
    ),
    Recipe(
        "repeat_last",
        "counting",
        "The learner's last topic again, then what all study most.",
        _counted(_repeat_last),
    ),
    Recipe(
        "most_frequent",
        "counting",
        "The topics that the learner himself has studied most.",
        _counted(_most_frequent),
    ),
    Recipe(
        "habits",
        "counting",
        "What the learner often studies and all study lately, but not twice on one day.",
        _counted(_habits),
    ),
    Recipe(
        "markov_1",
        "counting",
        "What followed the learner's last topic most often.",
        _counted(_markov_1),
    ),
    Recipe(
        "markov_2",
        "counting",
        "What followed the learner's last two topics most often, backed off to the last one.",
        _counted(_markov_2),
    ),
    Recipe(
        "reference",
        "network",
        "Network of 128, 64 and 32 units on the twenty inputs, topic ids embedded inside.",
        _reference_recommendation,
    ),
    Recipe(
        "slots",
        "network",
        "The twenty inputs with a wider layer, and a score for topics that came after training.",
        _next_topic("slots", Size(state=0, priors=False, history=False)),
        slow=True,
    ),
    Recipe(
        "prior",
        "network",
        "The twenty inputs with a wider layer, beside what followed the last topics, counted.",
        _next_topic("prior", Size(state=0, history=False)),
        slow=True,
    ),
    Recipe(
        "history",
        "network",
        "Each topic by its place in the learner's history, what followed, and what all did lately.",
        _next_topic("history", Size(state=0)),
    ),
    Recipe(
        "sequence",
        "network",
        "As `history`, and a recurrent state that reads every event in order.",
        _next_topic("sequence", Size()),
    ),
    Recipe(
        "blend",
        "network",
        "The geometric mean of `history` and `sequence`.",
        _blend(("history", "sequence"), tasks.next_topic),
        needs=("history", "sequence"),
        slow=True,
    ),
)
"""Models of the next topic."""

SUCCESS = (
    Recipe(
        "global_mean",
        "counting",
        "The share of all attempts that were passed.",
        _counted(_global_mean),
    ),
    Recipe(
        "topic_mean",
        "counting",
        "The share of attempts on the topic that were passed.",
        _counted(_topic_mean),
    ),
    Recipe(
        "proficiency",
        "counting",
        "The learner's own share of passes on the topic, shrunk towards what is usual.",
        _counted(_proficiency),
    ),
    Recipe(
        "reference",
        "network",
        "Network of 32 and 16 units on the four inputs: success at each level.",
        _reference_difficulty,
    ),
    Recipe(
        "items",
        "network",
        "The four inputs, the topic's pass rate and the last scores, and the item where known.",
        _success("items", success.Size(topic=0, history=False)),
        slow=True,
    ),
    Recipe(
        "topics",
        "network",
        "The four inputs, the last scores and the topic embedded, without items.",
        _success("topics", success.Size(items=False, history=False)),
        slow=True,
    ),
    Recipe(
        "history",
        "network",
        "The topic embedded, the item where known, the last scores and the twenty inputs.",
        _success("history", success.Size()),
    ),
    Recipe(
        "tracing",
        "network",
        "As `history` of success, and a recurrent state that reads every event in order.",
        _success("tracing", success.Size(state=64)),
        slow=True,
    ),
    Recipe(
        "blend",
        "network",
        "The geometric mean of the odds that `history` and `tracing` give.",
        _blend(("history", "tracing"), tasks.success),
        needs=("history", "tracing"),
        slow=True,
    ),
)
"""Models of success."""
