"""Suggested quizzes against the truth of simulated learners: who is asked neither too little nor
too much.

Learners whose abilities only the simulation knows act for 60 days; success models learn from the
log of four fifths of them; then every other learner asks for the level of a quiz on topics that he
has met and on the next ones of the curriculum. Printed: the share of suggestions whose true chance
of success lies in `SUGGESTED_SUCCESS`, beside the same level for everybody, and beside the best
that anybody could do who knows the truth.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from features.batch import Events, encode
from features.history import FOLD_VERSION
from sensei import bundle, curriculum, database, rules
from sensei.bundle import Bundle, Manifest, ModelEntry
from sensei.checking import check_table
from sensei.contracts import LEVELS, SUGGESTED_SUCCESS
from sensei.identity import Occurrences
from sensei.log import Log, open_log
from sensei.simulation import Cohort, success_probability
from serving.catalogue import Catalogue
from serving.engine import Engine
from serving.learners import Learners
from serving.model import Model
from training.candidates import Candidate, train_candidates
from training.evaluate import choose, measure
from training.export import export
from training.feed import Feed
from training.preparation import Prepared, prepare
from training.recipes import FULL
from training.splits import TEST, split_by_learner

LEARNERS, DAYS = 300, 60
END = datetime(2026, 6, 1, tzinfo=UTC)
AHEAD = 3
"""Topics of the curriculum, not yet met, that a learner is asked about."""


def cohort(seed: int) -> Cohort:
    """Learners who have acted until the end."""
    world = Cohort(LEARNERS, DAYS, seed, curriculum.load_file().plain(), END)
    while len(world.step(world.next_in_curriculum()).learner):
        pass
    return world


def logged(world: Cohort, folder: Path) -> Log:
    """The cohort's log in a database of its own."""
    url = f"sqlite:///{folder / 'log.db'}"
    database.upgrade(url)
    log = open_log(url)
    rows, _ = check_table(world.table(), rules.latest(END), Occurrences())
    log.append_table(rows, source="simulation", now=END)
    return log


def trained(events: Events) -> tuple[Prepared, Candidate]:
    """The success model chosen on validation."""
    prepared = prepare(events, split_by_learner(events))
    candidates = train_candidates(prepared, 0, FULL, ("proficiency", "items", "tracing"))
    chosen = choose(measure(candidates, prepared, "validate"))
    assert chosen.difficulty is not None
    return prepared, candidates.difficulty[chosen.difficulty]


def served(prepared: Prepared, candidate: Candidate, folder: Path) -> Model:
    """The model in a bundle, as serving loads it."""
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
    files = export(network, Feed(parts.test, "difficulty")).network
    tables = parts.statistics.to_arrays()
    path = bundle.write(folder, manifest, {"difficulty": files}, {"difficulty": tables})
    return Model.of(Bundle.load(path, FOLD_VERSION))


def asked(events: Events, split_part: np.ndarray) -> Iterator[tuple[str, int]]:
    """Learner and topic of every question: topics met, and the next of the curriculum."""
    order = [topic.topic_id for topic in curriculum.load_file().topics]
    for place, user in enumerate(events.user_ids):
        mine = slice(events.offsets[place], events.offsets[place + 1])
        if (split_part[mine] == TEST).any():
            met = set(events.topic_ids[events.topic[mine]].tolist())
            ahead = [topic for topic in order if topic not in met][:AHEAD]
            yield from ((str(user), topic) for topic in [*sorted(met), *ahead])


def run(seed: int) -> dict[str, float]:
    """Shares of suggestions in the range, by who suggests."""
    world = cohort(seed)
    with tempfile.TemporaryDirectory() as name:
        log = logged(world, Path(name))
        events = encode(log.read())
        prepared, candidate = trained(events)
        model = served(prepared, candidate, Path(name))
        now = int(END.timestamp() * 1e6)
        learners = Learners(lambda: log, lambda: 0.0)
        engine = Engine(learners, model, Catalogue(), lambda: now)
        low, high = SUGGESTED_SUCCESS
        rows = []
        for user, topic in asked(events, split_by_learner(events).part):
            truth = [success_probability(world, user, topic, level, END) for level in LEVELS]
            within = [low <= chance <= high for chance in truth]
            answer = engine.suggest_quiz_difficulty(user, topic)
            level = LEVELS.index(answer["difficulty"])
            rows.append((within[level], *within, any(within)))
        log.close()
    share = np.mean(rows, axis=0)
    print(
        f"seed {seed}: {len(rows):,} questions, model {candidate.name}: "
        f"suggested {share[0]:.3f}; always easy {share[1]:.3f}, medium {share[2]:.3f}, "
        f"hard {share[3]:.3f}; possible {share[4]:.3f}; "
        f"suggested / medium {share[0] / share[2]:.2f}",
        flush=True,
    )
    return {"suggested": share[0], "medium": share[2]}


def main() -> None:
    seeds = [int(each) for each in sys.argv[1:] if each.isdigit()] or [101, 102, 103]
    found = [run(seed) for seed in seeds]
    ratio = np.sum([each["suggested"] for each in found]) / np.sum(
        [each["medium"] for each in found]
    )
    print(f"suggested quizzes in the range: {ratio:.2f} times as many as always medium")


if __name__ == "__main__":
    main()
