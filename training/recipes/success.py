"""Models of success; counting models first.

Equal figures go to the model named first, so the simpler one is chosen.
"""

from collections.abc import Callable

from features.batch import Examples
from training import baselines, tasks
from training.architectures import Network, reference, success
from training.architectures.success import Size
from training.calibration import calibrate
from training.fit import Arrays, fit_difficulty
from training.loop import Schedule, fit
from training.recipes.recipe import Given, Recipe, Trained, blending, counting
from training.scores import level_taken


def _reference(given: Given) -> Trained:
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


def _network(name: str, size: Size) -> Callable[[Given], Trained]:
    """A network of the family in `training.architectures.success`."""

    def make(given: Given) -> Trained:
        parts = given.parts
        network = success.difficulty(parts.train, parts.topics, size, name)
        task = tasks.success(parts)
        epochs = given.budget.epochs + given.budget.epochs // 2
        schedule = Schedule(epochs=epochs, patience=4, rate=3e-3, cells=256)
        curves = fit(network, task, schedule, given.seed, given.progress)
        return calibrate(network, task), curves

    return make


SUCCESS = (
    counting(
        "global_mean",
        "The share of all attempts that were passed.",
        lambda parts: baselines.global_mean(parts.statistics),
    ),
    counting(
        "topic_mean",
        "The share of attempts on the topic that were passed.",
        lambda parts: baselines.topic_mean(parts.statistics),
    ),
    counting(
        "proficiency",
        "The learner's own share of passes on the topic, shrunk towards what is usual.",
        lambda _: baselines.proficiency(),
    ),
    Recipe(
        "reference",
        "network",
        "Network of 32 and 16 units on the four inputs: success at each level.",
        _reference,
    ),
    Recipe(
        "items",
        "network",
        "A small one: the four inputs, the last scores, the ability, and the item where known.",
        _network("items", Size(topic=0, history=False, hidden=32, item_hidden=16)),
    ),
    Recipe(
        "topics",
        "network",
        "The four inputs, the last scores and the topic embedded, without items.",
        _network("topics", Size(items=False, history=False)),
        slow=True,
    ),
    Recipe(
        "history",
        "network",
        "The topic embedded, the item where known, the last scores and the twenty inputs.",
        _network("history", Size()),
    ),
    Recipe(
        "tracing",
        "network",
        "As `history` of success, and a recurrent state that reads every event in order.",
        _network("tracing", Size(state=64)),
        slow=True,
    ),
    blending(
        "The geometric mean of the odds that `history` and `tracing` give.",
        ("history", "tracing"),
        tasks.success,
    ),
)
