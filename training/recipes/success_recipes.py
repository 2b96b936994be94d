"""Recipes of the success models; counting models come first.

In a tie the first model of the list wins, so the simpler one is chosen.
"""

from collections.abc import Callable

import numpy as np

from features.batch import Examples
from sensei.model_name import ModelName
from training import baselines
from training.architectures import Model, Network, reference, success
from training.architectures.success import SuccessSize
from training.data.batching import BatchFeed
from training.fitting import learning_tasks
from training.fitting.calibration import calibrate
from training.fitting.keras_fit import Arrays, fit_difficulty
from training.fitting.train_loop import Schedule, fit
from training.recipes.recipe import Recipe, RecipeContext, Trained, blending, counting
from training.scores import level_taken


def _reference(context: RecipeContext) -> Trained:
    return _fitted(reference.difficulty(context.parts.train.difficulty), context)


def _plain(context: RecipeContext) -> Trained:
    rows = _read(context.parts.train, ("inputs", "free"))
    return _fitted(reference.plain_difficulty(rows["inputs"], rows["free"]), context)


def _fitted(model: Model, context: RecipeContext) -> Trained:
    def attempts(rows: Examples) -> Arrays:
        outcome: Arrays = {"level": level_taken(rows), "score": rows.score}
        return _read(rows, tuple(model.input)) | outcome

    curves = fit_difficulty(
        model,
        context.parts.training.map(attempts),
        attempts(context.parts.validate),
        context.seed,
        context.budget.setting,
        context.progress,
    )
    return Network(model), curves


def _read(rows: Examples, names: tuple[str, ...]) -> Arrays:
    inputs = BatchFeed(rows, ModelName.DIFFICULTY).inputs(np.arange(len(rows)), names)
    return {name: inputs[name] for name in names}  # with an extra name Keras matches by order


def _network(name: str, size: SuccessSize) -> Callable[[RecipeContext], Trained]:
    """Return the recipe function of a network in `training.architectures.success`."""

    def make(context: RecipeContext) -> Trained:
        parts = context.parts
        network = success.difficulty(parts.train, parts.topics, size, name)
        task = learning_tasks.success(parts)
        epochs = context.budget.epochs + context.budget.epochs // 2
        schedule = Schedule(epochs=epochs, patience=4, rate=3e-3, cells=256)
        curves = fit(network, task, schedule, context.seed, context.progress)
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
        "The learner's pass rate on the topic, shrunk towards the usual one.",
        lambda _: baselines.proficiency(),
    ),
    Recipe(
        "plain",
        "network",
        "The reference on the four inputs as first specified: raw scores and counts.",
        _plain,
        slow=True,
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
        "A small network: the four inputs, the last scores, the ability, and the item if known.",
        _network("items", SuccessSize(topic=0, history=False, hidden=32, item_hidden=16)),
    ),
    Recipe(
        "topics",
        "network",
        "The four inputs, the last scores and the topic embedded, without items.",
        _network("topics", SuccessSize(items=False, history=False)),
        slow=True,
    ),
    Recipe(
        "history",
        "network",
        "The topic embedded, the item if known, the last scores and the twenty inputs.",
        _network("history", SuccessSize()),
    ),
    Recipe(
        "tracing",
        "network",
        "As `history` of success, and a recurrent state that reads every event in order.",
        _network("tracing", SuccessSize(state=64)),
        slow=True,
    ),
    blending(
        "The geometric mean of the odds of `history` and `tracing`.",
        ("history", "tracing"),
        learning_tasks.success,
    ),
)
