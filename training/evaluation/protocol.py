"""Evaluation protocol: split, train, choose on validation, then open the test part once.

Test answers are stored together with validation answers, because a model's weights are not kept.
No test metric is computed before the choice.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from features.batch import Events, encode
from sensei.errors import InvalidInput
from sensei.model_name import ModelName
from training.candidates import (
    COUNTING,
    Candidates,
    CandidateTraining,
    ModelProgress,
    PredictionTask,
    check_names,
    tasks_of,
    title,
)
from training.data.dataset import Dataset, prepare
from training.data.splits import SplitLabels, split_by_column, split_by_learner
from training.data.time_split import split_by_time
from training.evaluation.result import ChosenCandidates, EvaluationEvidence, Result, result_of
from training.evaluation.score_cache import ScoreCache, SeedRun, digest_of
from training.evaluation.seed_runs import ModelScores
from training.fitting.keras_fit import Curves
from training.recipes import QUICK, Budget
from training.scores import SCORE

__all__ = [
    "ChosenCandidates",
    "EvaluationEvidence",
    "ModelScores",
    "Result",
    "choose",
    "evaluate",
    "measure",
]

COLUMN = "column:"
METADATA = "metadata."

Draw = Callable[[Mapping[str, Curves], EvaluationEvidence, Result], None]
"""Function that draws the figures of an evaluation from its training curves."""

Say = Callable[[str], None]
"""Function that reports progress to the user."""

OpenCache = Callable[[str], ScoreCache]
"""Function that opens the score cache of an evaluation by its digest."""


def evaluate(
    frame: pd.DataFrame,
    split: str = "time",
    seed: int = 0,
    budget: Budget = QUICK,
    models: Collection[str] | None = None,
    seeds: int | None = None,
    cache: OpenCache | None = None,
    say: Say = lambda _: None,
    draw: Draw | None = None,
    progress: ModelProgress | None = None,
) -> Result:
    """Run the protocol on a frame of interactions.

    Args:
        frame: interactions in any row order.
        split: `time`, `learner`, `column:NAME` or `column:metadata.NAME`.
        seed: seed of the resampling, and first seed of training.
        budget: limits on the training time.
        models: names of the models to train; by default all that the budget allows.
        seeds: number of seeds per network; by default as in the budget.
        cache: opens the store of finished models' scores, which are reused.
        say: called with progress messages.
        draw: draws the figures; by default none are drawn.
        progress: called after each epoch.

    Raises:
        InvalidInput: the split or a model is unknown, or the split's column is missing or has no
            train or no test rows.
        NotEnoughData: the log is too small or too one-sided.
    """
    check_names(models)
    budget = replace(budget, seeds=seeds or budget.seeds)
    events = encode(frame)
    parts = split_events(events, split, frame)
    prepared = prepare(events, parts)
    tasks = tasks_of(prepared, budget, models)
    if not any(task.wanted for task in tasks):
        raise InvalidInput(
            f"models: expected one that can be evaluated here, got {', '.join(models or ())}: "
            f"{prepared.no_success}; name others"
        )
    store = cache(digest_of(events, parts, budget)) if cache else None
    runs = {task.model_name: _seed_runs(task, seed, budget, store, say, progress) for task in tasks}
    validated = _scores_of(runs, "validate")
    chosen = choose(validated)
    say("Evaluate: candidates chosen; scoring the test part, resampling learners")
    evidence = EvaluationEvidence(chosen, validated, _scores_of(runs, "test"))
    result = result_of(split, seed, budget, prepared, evidence)
    if draw:
        say("Draw: the figures")
        curves = {
            f"{name}_{model_name}": of_seeds[0].curves
            for model_name, by_name in runs.items()
            for name, of_seeds in by_name.items()
        }
        draw(curves, evidence, result)
    return result


def split_events(events: Events, split: str, frame: pd.DataFrame) -> SplitLabels:
    """Return the split that `--split` names.

    Raises:
        InvalidInput: the split is unknown, or the frame lacks its column.
    """
    if split == "time":
        return split_by_time(events)
    if split == "learner":
        return split_by_learner(events)
    if not split.startswith(COLUMN):
        raise InvalidInput(
            f"split: expected time, learner, column:NAME or column:metadata.NAME, got {split!r}; "
            "choose one of them"
        )
    return split_by_column(events, _column(frame, split.removeprefix(COLUMN)))


def measure(
    candidates: Candidates, prepared: Dataset, part: str, again: Sequence[Candidates] = ()
) -> ModelScores:
    """Score every candidate.

    Args:
        candidates: trained candidates.
        prepared: the targets.
        part: `validate`, or `test` after the choice.
        again: the networks among them, trained again with further seeds.
    """
    return ModelScores.of(
        {
            model_name: {
                name: [
                    SCORE[model_name](
                        of_seed[model_name][name].predict,
                        getattr(prepared.parts(model_name), part),
                    )
                    for of_seed in (candidates, *again)
                    if name in of_seed[model_name]
                ]
                for name in by_name
            }
            for model_name, by_name in candidates.items()
        }
    )


def choose(validated: ModelScores) -> ChosenCandidates:
    """Choose the best models on validation: by NDCG@5 where the topic changes, and by log loss.

    If no target's topic changes, NDCG@5 on all targets decides. The log loss is that of the answers
    served: level known, no item. Metrics are means over seeds, so that a lucky seed does not
    decide. In a tie the first model of the list wins: counting models come before networks.
    """
    chosen = {}
    if ranked := validated.recommendation:
        mode = "new" if next(iter(ranked.values())).is_new.any() else "all"
        gains = {name: runs.table(mode)["ndcg_at_5"] for name, runs in ranked.items()}
        chosen[ModelName.RECOMMENDATION] = max(gains, key=lambda name: gains[name])
    if losses := {name: r.table()["log_loss"] for name, r in validated.level_only.items()}:
        chosen[ModelName.DIFFICULTY] = min(losses, key=lambda name: losses[name])
    return chosen


@dataclass(frozen=True)
class _Bench:
    """Context in which the seed runs of one task and one seed are trained or loaded."""

    task: PredictionTask
    seed: int
    budget: Budget
    training: CandidateTraining
    cache: ScoreCache | None
    say: Say

    def seed_run(self, name: str) -> SeedRun:
        """Return a candidate's scores on both parts; train it only if they are not cached."""
        task, seed = self.task, self.seed
        called = title(name, task, seed, self.budget)
        cached = self.cache.load(task.model_name, name, seed) if self.cache else None
        if cached:
            self.say(f"Cached: {called}")
            return cached
        self.say(f"Train: {called}")
        candidate = self.training[name]
        self.say(f"Score: {called}")
        parts = {
            part: SCORE[task.model_name](candidate.predict, getattr(task.parts, part))
            for part in _PARTS
        }
        seed_run = SeedRun(**parts, curves=candidate.curves)
        if self.cache:
            self.cache.save(task.model_name, name, seed, seed_run)
        return seed_run


_PARTS = ("validate", "test")


def _seed_runs(
    task: PredictionTask,
    seed: int,
    budget: Budget,
    cache: ScoreCache | None,
    say: Say,
    progress: ModelProgress | None,
) -> dict[str, list[SeedRun]]:
    """Return the seed runs by candidate, one per seed; a counting model has one."""
    runs: dict[str, list[SeedRun]] = {recipe.name: [] for recipe in task.wanted}
    for of_seed in range(seed, seed + budget.seeds):
        training = CandidateTraining(task, of_seed, budget, progress)
        bench = _Bench(task, of_seed, budget, training, cache, say)
        for recipe in task.wanted:
            if of_seed == seed or recipe.kind != COUNTING:
                runs[recipe.name].append(bench.seed_run(recipe.name))
    return runs


def _scores_of(runs: Mapping[ModelName, Mapping[str, Sequence[SeedRun]]], part: str) -> ModelScores:
    return ModelScores.of(
        {
            model_name: {
                name: [getattr(seed_run, part) for seed_run in of_seeds]
                for name, of_seeds in by_name.items()
            }
            for model_name, by_name in runs.items()
        }
    )


def _column(frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    if name in frame.columns:
        return frame[name].to_numpy(object)
    if name.startswith(METADATA) and "metadata" in frame.columns:
        key = name.removeprefix(METADATA)
        codes, texts = pd.factorize(frame["metadata"])
        values = np.array([orjson.loads(text).get(key) for text in texts] + [None], dtype=object)
        return values[codes]
    raise InvalidInput(
        f"split: expected a column of the file or a key of its metadata, got {name!r}; "
        f"the file has {', '.join(map(str, frame.columns))}"
    )
