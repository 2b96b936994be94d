"""Recipes of the next-topic models; counting models come first.

In a tie the first model of the list wins, so the simpler one is chosen.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples
from training import baselines
from training.architectures import Network, reference, sequence
from training.architectures.sequence import SequenceSize
from training.fitting import learning_tasks
from training.fitting.calibration import calibrate
from training.fitting.keras_fit import fit_recommendation
from training.fitting.train_loop import Schedule, fit
from training.recipes.recipe import Recipe, RecipeContext, Trained, blending, counting


def _reference(context: RecipeContext) -> Trained:
    parts = context.parts
    model = reference.recommendation(parts.train.recommendation, parts.topics)
    curves = fit_recommendation(
        model,
        parts.training.map(_inputs_and_target),
        _inputs_and_target(parts.validate),
        context.seed,
        context.budget.setting,
        context.progress,
    )
    return Network(model), curves


def _inputs_and_target(rows: Examples) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    return rows.recommendation, rows.target


def _network(name: str, size: SequenceSize) -> Callable[[RecipeContext], Trained]:
    """Return the recipe function of a network in `training.architectures.sequence`."""

    def make(context: RecipeContext) -> Trained:
        parts = context.parts
        network = sequence.recommendation(
            parts.train.recommendation, parts.topics, parts.statistics.width, size, name
        )
        task = learning_tasks.next_topic(parts)
        schedule = replace(Schedule(), epochs=context.budget.epochs)
        curves = fit(network, task, schedule, context.seed, context.progress)
        return calibrate(network, task), curves

    return make


NEXT_TOPIC = (
    counting(
        "most_popular",
        "The topics most studied by all learners, the same for everyone.",
        lambda parts: baselines.most_popular(parts.statistics),
    ),
    counting(
        "recently_popular",
        "The topics most studied by all learners in recent days, the same for everyone.",
        lambda parts: baselines.recently_popular(parts.statistics.width),
    ),
    counting(
        "repeat_last",
        "The learner's last topic again, then the topics most studied by all learners.",
        lambda parts: baselines.repeat_last(parts.statistics),
    ),
    counting(
        "most_frequent",
        "The topics that the learner has studied most.",
        lambda parts: baselines.most_frequent(parts.statistics.width),
    ),
    counting(
        "habits",
        "The learner's frequent topics and recently popular ones, but none twice on a day.",
        lambda parts: baselines.habits(parts.statistics.width),
    ),
    counting(
        "markov_1",
        "The topics that most often followed the learner's last topic.",
        lambda parts: baselines.markov_1(parts.statistics.width),
    ),
    counting(
        "markov_2",
        "The topics that most often followed the last two topics, with backoff to the last one.",
        lambda parts: baselines.markov_2(parts.statistics.width),
    ),
    Recipe(
        "reference",
        "network",
        "Network of 128, 64 and 32 units on the twenty inputs, topic ids embedded inside.",
        _reference,
    ),
    Recipe(
        "slots",
        "network",
        "The twenty inputs with a wider layer, and a score for topics added after training.",
        _network("slots", SequenceSize(state=0, priors=False, history=False)),
        slow=True,
    ),
    Recipe(
        "prior",
        "network",
        "The twenty inputs with a wider layer, and counts of the topics that followed the last "
        "ones.",
        _network("prior", SequenceSize(state=0, history=False)),
        slow=True,
    ),
    Recipe(
        "history",
        "network",
        "Each topic by the learner's history, by transitions and by recent popularity.",
        _network("history", SequenceSize(state=0)),
    ),
    Recipe(
        "sequence",
        "network",
        "As `history`, and a recurrent state that reads every event in order.",
        _network("sequence", SequenceSize()),
    ),
    blending(
        "The geometric mean of `history` and `sequence`.",
        ("history", "sequence"),
        learning_tasks.next_topic,
    ),
)
