"""Benchmark of suggested quiz levels against the true abilities of simulated learners.

Learners act for 60 days; only the simulation knows their abilities. Success models learn from the
log of four fifths of them. The others then ask for the level of a quiz: at the start of each of
their quizzes, and at the end for all topics that they have met and the next ones of the curriculum.

It prints the share of suggestions whose true chance of success lies in `SUGGESTED_SUCCESS`. This
share is compared with the same level for everybody, and with the best level given the true chance.
At quizzes it is also compared with a logistic regression on inputs that include the true ability,
which is not in the log.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from features.batch import Events, Examples, encode
from features.corpus.catalogue_features import CatalogueFeatures
from features.corpus.context import Corpus
from features.corpus.popularity import SlotPopularity
from features.history import FOLD_VERSION
from sensei import curriculum
from sensei.bundle import bundle_format
from sensei.bundle.bundle_format import Bundle, Manifest, ModelEntry
from sensei.contracts import LEVELS, SUGGESTED_SUCCESS
from sensei.events import rules
from sensei.events.log import Log, open_log
from sensei.events.rules_arrow import check_table
from sensei.model_name import ModelName
from sensei.simulation import Cohort, success_probability
from sensei.storage import database
from sensei.storage.tables import to_datetime
from serving.engine.difficulty import suggest_level
from serving.engine.engine import Engine
from serving.state.catalogue import Catalogue
from serving.state.learners import LearnerCache
from serving.state.model import Model
from training.candidates import Candidate, train_candidates
from training.data.batching import BatchFeed
from training.data.dataset import Dataset, Splits, prepare
from training.data.splits import TEST, split_by_learner
from training.evaluation.protocol import choose, measure
from training.fitting.train_loop import predict
from training.recipes import FULL
from training.release.export import export

LEARNERS, DAYS = 300, 60
END = datetime(2026, 6, 1, tzinfo=UTC)
OUTLINE = CatalogueFeatures.of(curriculum.load_file().topics)
AHEAD = 3
"""Number of new topics, next in the curriculum, for which each learner asks."""
NOBODY = np.empty(0, np.int64)


def cohort(seed: int) -> Cohort:
    """Simulate learners until the end."""
    world = Cohort(LEARNERS, DAYS, seed, curriculum.load_file().plain(), END)
    while len(world.step(world.next_in_curriculum()).learner):
        pass
    return world


def logged(world: Cohort, folder: Path) -> Log:
    """Write the cohort's log to a new database."""
    url = f"sqlite:///{folder / 'log.db'}"
    database.upgrade(url)
    log = open_log(url)
    rows, _ = check_table(world.table(), rules.latest(END))
    log.append_table(rows, source="simulation", now=END)
    return log


def trained(events: Events) -> tuple[Dataset, Candidate]:
    """Train success models and choose one on the validation part."""
    prepared = prepare(events, split_by_learner(events), OUTLINE)
    names = ("proficiency", "items", "history", "tracing")
    candidates = train_candidates(prepared, 0, FULL, names)
    choice = choose(measure(candidates, prepared, "validate"))
    model_name = ModelName.DIFFICULTY
    return prepared, candidates[model_name][choice[model_name]]


def served(prepared: Dataset, candidate: Candidate, folder: Path) -> Model:
    """Write the model to a bundle and load it as serving does."""
    parts = prepared.attempts
    assert parts is not None
    network = candidate.network
    entry = ModelEntry(
        name="difficulty",
        version="1",
        candidate=candidate.name,
        inputs={name: int(x.shape[-1]) for name, x in network.read.input.items()},
        outputs={name: int(y.shape[-1]) for name, y in network.read.output.items()},
        trained_until=END,
        topic_ids=tuple(parts.statistics.topic_ids.tolist()),
        state=network.state,
    )
    manifest = Manifest(fold_version=FOLD_VERSION, models={"difficulty": entry}, created_at=END)
    files = export(network, BatchFeed(parts.test, ModelName.DIFFICULTY)).network
    tables = parts.statistics.to_arrays()
    path = bundle_format.write(folder, manifest, {"difficulty": files}, {"difficulty": tables})
    model = Model.of(Bundle.load(path, FOLD_VERSION))
    return model.with_popularity(
        lambda statistics: Corpus(statistics, SlotPopularity.nothing(statistics), OUTLINE)
    )


def questions_of(events: Events, split_part: np.ndarray) -> Iterator[tuple[str, int]]:
    """Yield learner and topic of every question: topics met, and the next of the curriculum."""
    order = [topic.topic_id for topic in curriculum.load_file().topics]
    for learner_index, user in enumerate(events.user_ids):
        event_slice = slice(events.offsets[learner_index], events.offsets[learner_index + 1])
        if (split_part[event_slice] == TEST).any():
            met = set(events.topic_ids[events.topic[event_slice]].tolist())
            next_topics = [topic for topic in order if topic not in met][:AHEAD]
            yield from ((str(user), topic) for topic in [*sorted(met), *next_topics])


@dataclass(frozen=True)
class Shares:
    """Results of n questions: true chances within the range, and suggested levels.

    Attributes:
        within: (n, 3) mask of the levels whose true chance of success lies in the range.
        suggested: (n,) suggested level.
        from_true_ability: (n,) level suggested with the true abilities as input; empty if not
            computed.
    """

    within: NDArray[np.bool_]
    suggested: NDArray[np.int64]
    from_true_ability: NDArray[np.int64]

    def of(self, level: NDArray[np.int64]) -> float:
        """Compute the share of questions whose given level lies in the range."""
        return float(self.within[np.arange(len(level)), level].mean())

    def __str__(self) -> str:
        easy, medium, hard = self.within.mean(axis=0)
        share = self.of(self.suggested)
        suffix = (
            f"; told the abilities {self.of(self.from_true_ability) / medium:.2f}x"
            if len(self.from_true_ability)
            else ""
        )
        return (
            f"{len(self.within):,} questions: suggested {share:.3f}; always easy {easy:.3f}, "
            f"medium {medium:.3f}, hard {hard:.3f}; "
            f"suggested / medium {share / medium:.2f}x{suffix}; "
            f"who knows the chance {self.within.any(axis=1).mean() / medium:.2f}x"
        )


def within(world: Cohort, user: str, topic: int, at: datetime) -> list[bool]:
    """Tell for each level if the true chance of success lies in the range."""
    low, high = SUGGESTED_SUCCESS
    return [low <= success_probability(world, user, topic, level, at) <= high for level in LEVELS]


def at_the_end(world: Cohort, log: Log, model: Model, events: Events) -> Shares:
    """Ask the engine at the end about every topic met and the next ones."""
    now = int(END.timestamp() * 1e6)
    engine = Engine(LearnerCache(lambda: log, lambda: 0.0), model, Catalogue(), lambda: now)
    questions = list(questions_of(events, split_by_learner(events).part))
    level = [
        engine.suggest_quiz_difficulty(engine.blocking_context_for(user_id), topic_id)["difficulty"]
        for user_id, topic_id in questions
    ]
    truth = [within(world, *question, END) for question in questions]
    return Shares(np.array(truth), np.array([LEVELS.index(name) for name in level]), NOBODY)


def at_quizzes(world: Cohort, parts: Splits, candidate: Candidate) -> Shares:
    """Suggest a level for each quiz of the test learners, as of its start."""
    rows = parts.test.take(parts.test.events.level[parts.test.event] >= 0)
    success = np.empty((len(rows), len(LEVELS)))
    for indices, answer in predict(candidate.network, BatchFeed(rows, ModelName.DIFFICULTY)):
        success[indices] = answer.get("levels", answer["success"])
    users = rows.events.user_ids[rows.learner].astype(str).tolist()
    questions = zip(
        users, rows.topic_id.tolist(), map(to_datetime, rows.start.tolist()), strict=True
    )
    truth = np.array([within(world, *question) for question in questions])
    level = np.array([suggest_level(chances) for chances in success.tolist()])
    return Shares(truth, level, levels_from_true_ability(world, parts.train, rows))


def levels_from_true_ability(world: Cohort, train: Examples, rows: Examples) -> NDArray[np.int64]:
    """Suggest levels with a regression that also reads each learner's true ability in the domain.

    Returns:
        (n,) index of the suggested level per row.
    """

    def read(examples: Examples) -> NDArray[np.float64]:
        names = ("inputs", "free", "context")
        inputs = BatchFeed(examples, ModelName.DIFFICULTY).inputs(np.arange(len(examples)), names)
        user_indices = [world.user_ids.index(user_id) for user_id in examples.events.user_ids]
        topic = np.searchsorted(world.topics.ids, examples.topic_id)
        ability = world.learners.ability[np.array(user_indices)[examples.learner], topic]
        return np.column_stack([*(inputs[name] for name in names), ability])

    def with_level(inputs: NDArray[np.float64], level: NDArray[np.int8]) -> NDArray[np.float64]:
        return np.column_stack([inputs, np.eye(len(LEVELS) + 1)[level + 1]])

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(with_level(read(train), train.events.level[train.event]), train.passed)
    inputs = read(rows)
    success = np.column_stack(
        [
            model.predict_proba(with_level(inputs, np.full(len(rows), level, np.int8)))[:, 1]
            for level in range(len(LEVELS))
        ]
    )
    return np.array([suggest_level(chances) for chances in success.tolist()])


def run(seed: int) -> tuple[Shares, Shares]:
    """Run one world; return the results at the quizzes begun, and at the end."""
    world = cohort(seed)
    with tempfile.TemporaryDirectory() as name:
        log = logged(world, Path(name))
        events = encode(log.read())
        prepared, candidate = trained(events)
        assert prepared.attempts is not None
        quizzes = at_quizzes(world, prepared.attempts, candidate)
        end = at_the_end(world, log, served(prepared, candidate, Path(name)), events)
        log.close()
    print(f"seed {seed}, {candidate.name}, at quizzes begun: {quizzes}")
    print(f"seed {seed}, {candidate.name}, at the end: {end}", flush=True)
    return quizzes, end


def main() -> None:
    seeds = [int(text) for text in sys.argv[1:] if text.isdigit()] or [101, 102, 103]
    quizzes, end = zip(*map(run, seeds), strict=True)
    for moment, all_shares in (("quizzes begun", quizzes), ("the end", end)):
        suggested = np.mean([shares.of(shares.suggested) for shares in all_shares])
        medium = np.mean([shares.within[:, 1].mean() for shares in all_shares])
        print(f"at {moment}: {suggested / medium:.2f} times as many as always medium")


if __name__ == "__main__":
    main()
