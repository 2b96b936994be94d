"""The models that compete in one run: the reference networks and the counting baselines."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from features import statistics as corpus
from features.batch import Events, Examples, examples
from features.statistics import Statistics
from sensei.contracts import ATTEMPT_KINDS, KINDS
from sensei.errors import NotEnoughData
from training import baselines
from training.architectures import Model, reference
from training.export import import_tensorflow
from training.fit import EPOCHS, Arrays, Curves, Progress, fit_difficulty, fit_recommendation
from training.scores import level_taken
from training.splits import CONTEXT, TEST, TRAIN, VALIDATE, Split, folds

MIN_TARGETS = 20
"""Fewer training targets, or scored attempts, teach nothing that could be measured."""

ModelProgress = Callable[[str, int, Mapping[str, float]], None]
"""Called after each epoch: model name, epoch from 1, its metrics."""


FOLDS = 5
"""Folds of learners whose training rows are read with the statistics of the others."""


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
class Prepared:
    """Examples of the three parts, and the statistics they were read with.

    Attributes:
        statistics: corpus tables of the events known in training.
        train: targets to learn from, read with statistics of other learners only.
        validate: targets to choose by.
        test: targets to open once, after the choice.
        no_success: why no difficulty model can be trained; empty where one can.
    """

    statistics: Statistics
    train: Examples
    validate: Examples
    test: Examples
    no_success: str

    @property
    def topics(self) -> int:
        """Number of topics with a slot."""
        return len(self.statistics.topic_ids)


@dataclass(frozen=True)
class Candidates:
    """All candidates by name; `difficulty` is empty where `Prepared.no_success` says why."""

    recommendation: dict[str, Candidate]
    difficulty: dict[str, Candidate]


def prepare(events: Events, split: Split, extra_topics: Iterable[int] = ()) -> Prepared:
    """Fit the statistics and read the examples of every part.

    Args:
        events: the encoded log.
        split: the part of each event.
        extra_topics: topics of the catalogue that get a slot though nobody met them yet.

    Raises:
        NotEnoughData: one learner, one topic, or a part without targets.
    """
    _check(events, split)
    tables = corpus.fit(events, split.known, extra_topics)
    nobody = np.zeros(len(events), bool)
    later = examples(events, tables, split.part > TRAIN, nobody)
    part = split.part[later.event]
    validate, test = (later.take(part == p) for p in (VALIDATE, TEST))
    train = _cross_fitted(events, split, tables)
    return Prepared(tables, train, validate, test, _no_success(events, train, validate))


def _cross_fitted(events: Events, split: Split, tables: Statistics) -> Examples:
    """Training examples, each read with the statistics of the learners outside its own fold.

    Leaving out the one learner alone would tell his outcome: in a topic that each learner attempts
    once, those who passed would all see a rate a little lower than those who failed, and a network
    learns exactly that, upside down.
    """
    fold = folds(events, FOLDS)
    nobody = np.zeros(len(events), bool)
    parts = []
    for each in range(FOLDS):
        others = corpus.fit(events, split.known & (fold != each), tables.topic_ids)
        mine = (split.part == TRAIN) & (fold == each)
        parts.append(examples(events, others, mine, nobody))
    order = np.argsort(np.concatenate([p.event for p in parts]))
    columns = ("event", "recommendation", "difficulty", "level", "passed", "previous")
    joined: dict[str, Any] = {
        c: np.concatenate([getattr(p, c) for p in parts])[order] for c in columns
    }
    return replace(parts[0], **joined)


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
    if prepared.no_success:
        return Candidates(recommendation, {})
    difficulty = {c.name: c for c in _counting_success(prepared)}
    network = _reference_difficulty(prepared, seed, epochs, _named(progress, "difficulty"))
    difficulty[network.name] = network
    return Candidates(recommendation, difficulty)


def _check(events: Events, split: Split) -> None:
    learners, topics = len(events.user_ids), len(np.unique(events.topic[split.part != CONTEXT]))
    if learners < 2:
        raise NotEnoughData(
            f"user_id: expected at least two learners, got {learners}; import more learners"
        )
    if topics < 2:
        raise NotEnoughData(
            f"topic_id: expected learning events on at least two topics, got {topics}; "
            "there is nothing to choose from until more topics are studied"
        )
    needed = {"training": (TRAIN, MIN_TARGETS), "validation": (VALIDATE, 1), "test": (TEST, 1)}
    for name, (part, least) in needed.items():
        count = int(np.count_nonzero(split.part == part))
        if count < least:
            raise NotEnoughData(
                f"events: expected at least {least} learning events in the {name} part, "
                f"got {count}; import more events or choose another split"
            )


def _no_success(events: Events, train: Examples, validate: Examples) -> str:
    """Why success cannot be learned from this log; empty where it can."""
    attempt = np.isin(events.kind, [KINDS.index(kind) for kind in ATTEMPT_KINDS])
    if not attempt.any():
        return "no quiz or practice attempt in the log"
    if np.isnan(events.score[attempt]).all():
        return "no attempt carries a score"
    outcome = train.passed[train.passed >= 0]
    if len(outcome) < MIN_TARGETS:
        return f"{len(outcome)} scored attempts in the training part, {MIN_TARGETS} needed"
    if outcome.min() == outcome.max():
        return "every attempt of the training part was " + ("passed" if outcome[0] else "failed")
    if not (validate.passed >= 0).any():
        return "no scored attempt in the validation part"
    return ""


def _counted(model: Model, description: str) -> Candidate:
    return Candidate(model.name, "counting", model, description)


def _counting(prepared: Prepared) -> list[Candidate]:
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
    prepared: Prepared, seed: int, epochs: int, progress: Progress | None
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


def _counting_success(prepared: Prepared) -> list[Candidate]:
    rows = prepared.train.take(prepared.train.passed >= 0)
    return [
        _counted(
            baselines.global_mean(rows.passed),
            "The share of all attempts that were passed.",
        ),
        _counted(
            baselines.topic_mean(rows.target, rows.passed, prepared.topics),
            "The share of attempts on the topic that were passed.",
        ),
        _counted(
            baselines.proficiency(),
            "The learner's own share of passes on the topic, shrunk towards what is usual.",
        ),
    ]


def _reference_difficulty(
    prepared: Prepared, seed: int, epochs: int, progress: Progress | None
) -> Candidate:
    import keras

    keras.utils.set_random_seed(seed)
    train, validate = (_attempts(part) for part in (prepared.train, prepared.validate))
    model = reference.difficulty(train["inputs"])
    curves = fit_difficulty(model, train, validate, seed, epochs, progress)
    description = "Network of 32 and 16 units on the four inputs: success at each level."
    return Candidate("reference", "network", model, description, curves)


def _attempts(rows: Examples) -> Arrays:
    scored = rows.take(rows.passed >= 0)
    return {"inputs": scored.difficulty, "level": level_taken(scored), "score": scored.score}


def _named(progress: ModelProgress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    return lambda epoch, logs: progress(name, epoch, logs)
