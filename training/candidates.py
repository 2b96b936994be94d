"""The models that compete in one run: the reference networks and the counting baselines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from features.batch import Examples
from training import baselines
from training.architectures import Model, reference
from training.export import import_tensorflow
from training.fit import EPOCHS, Arrays, Curves, Progress, fit_difficulty, fit_recommendation
from training.preparation import Parts, Prepared, prepare
from training.scores import level_taken

__all__ = ["Candidate", "Candidates", "ModelProgress", "Prepared", "prepare", "train_candidates"]

ModelProgress = Callable[[str, int, Mapping[str, float]], None]
"""Called after each epoch: model name, epoch from 1, its metrics."""


@dataclass(frozen=True)
class Candidate:
    """A trained model and how it came about.

    Attributes:
        name: unique among the candidates for one job.
        kind: `network` or `counting`.
        model: Keras model with named inputs and outputs.
        curves: metric -> value per epoch; empty for a counting model.
        description: what it does, in one sentence.
    """

    name: str
    kind: str
    model: Model
    description: str
    curves: Curves = field(default_factory=dict)


@dataclass(frozen=True)
class Candidates:
    """All candidates by name; `difficulty` is empty where `Prepared.no_success` says why."""

    recommendation: dict[str, Candidate]
    difficulty: dict[str, Candidate]


def train_candidates(
    prepared: Prepared,
    seed: int,
    epochs: int = EPOCHS,
    progress: ModelProgress | None = None,
) -> Candidates:
    """Train the reference networks and count the baselines.

    Args:
        prepared: examples of the training and validation parts.
        seed: the same seed gives the same weights.
        epochs: at most so many for each network.
        progress: called after each epoch.
    """
    import_tensorflow()  # before Keras does it, loudly
    recommendation = {c.name: c for c in _counting(prepared)}
    network = _reference_recommendation(prepared, seed, epochs, _named(progress, "recommendation"))
    recommendation[network.name] = network
    if prepared.attempts is None:
        return Candidates(recommendation, {})
    difficulty = {c.name: c for c in _counting_success(prepared.attempts)}
    network = _reference_difficulty(prepared.attempts, seed, epochs, _named(progress, "difficulty"))
    difficulty[network.name] = network
    return Candidates(recommendation, difficulty)


def _counted(model: Model, description: str) -> Candidate:
    return Candidate(model.name, "counting", model, description)


def _counting(prepared: Parts) -> list[Candidate]:
    inputs, target, topics = prepared.train.recommendation, prepared.train.target, prepared.topics
    return [
        _counted(
            baselines.most_popular(target, topics),
            "What all learners study most, the same for everybody.",
        ),
        _counted(
            baselines.repeat_last(target, topics),
            "The learner's last topic again, then what all study most.",
        ),
        _counted(
            baselines.markov_1(inputs, target, topics),
            "What followed the learner's last topic most often.",
        ),
        _counted(
            baselines.markov_2(inputs, target, topics),
            "What followed the learner's last two topics most often, backed off to the last one.",
        ),
    ]


def _reference_recommendation(
    prepared: Parts, seed: int, epochs: int, progress: Progress | None
) -> Candidate:
    import keras

    keras.utils.set_random_seed(seed)
    train, validate = prepared.train, prepared.validate
    model = reference.recommendation(train.recommendation, prepared.topics)
    curves = fit_recommendation(
        model,
        (train.recommendation, train.target),
        (validate.recommendation, validate.target),
        seed,
        epochs,
        progress,
    )
    description = "Network of 128, 64 and 32 units on the twenty inputs, topic ids embedded inside."
    return Candidate("reference", "network", model, description, curves)


def _counting_success(attempts: Parts) -> list[Candidate]:
    rows = attempts.train
    return [
        _counted(
            baselines.global_mean(rows.passed),
            "The share of all attempts that were passed.",
        ),
        _counted(
            baselines.topic_mean(rows.target, rows.passed, attempts.topics),
            "The share of attempts on the topic that were passed.",
        ),
        _counted(
            baselines.proficiency(),
            "The learner's own share of passes on the topic, shrunk towards what is usual.",
        ),
    ]


def _reference_difficulty(
    attempts: Parts, seed: int, epochs: int, progress: Progress | None
) -> Candidate:
    import keras

    keras.utils.set_random_seed(seed)
    train, validate = (_arrays(rows) for rows in (attempts.train, attempts.validate))
    model = reference.difficulty(train["inputs"])
    curves = fit_difficulty(model, train, validate, seed, epochs, progress)
    description = "Network of 32 and 16 units on the four inputs: success at each level."
    return Candidate("reference", "network", model, description, curves)


def _arrays(attempts: Examples) -> Arrays:
    level = level_taken(attempts)
    return {"inputs": attempts.difficulty, "level": level, "score": attempts.score}


def _named(progress: ModelProgress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    return lambda epoch, logs: progress(name, epoch, logs)
