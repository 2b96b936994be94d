"""Evaluation protocol: split, train, choose on validation, then open the test part once.

Test answers are stored together with validation answers, because a model's weights are not kept.
No test metric is computed before the choice.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from features.batch import Events, Examples, encode
from sensei.errors import InvalidInput
from training.candidates import (
    COUNTING,
    Candidate,
    Candidates,
    CandidateTraining,
    ModelProgress,
    PredictionTask,
    check_names,
    jobs_of,
    title,
)
from training.data.dataset import Dataset, prepare
from training.data.splits import SplitLabels, split_by_column, split_by_learner
from training.data.time_split import split_by_time
from training.evaluation.result import ChosenCandidates, EvaluationEvidence, Result, result_of
from training.evaluation.score_cache import ScoreCache, SeedRun, digest_of
from training.evaluation.seed_runs import ModelScores, NextTopicRuns, SuccessRuns
from training.recipes import QUICK, Budget
from training.reports.evaluation_figures import draw
from training.scores import (
    RecommendationScores,
    SuccessScores,
    score_recommendation,
    score_success,
)

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
    plots: Path | None = None,
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
        plots: folder for figures.
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
    jobs = jobs_of(prepared, budget, models)
    if not any(job.wanted for job in jobs):
        raise InvalidInput(
            f"models: expected one that can be evaluated here, got {', '.join(models or ())}: "
            f"{prepared.no_success}; name others"
        )
    kept = cache(digest_of(events, parts, budget)) if cache else None
    trials = {job.vector: _trials(job, seed, budget, kept, say, progress) for job in jobs}
    validated = _measured(trials, "validate")
    chosen = choose(validated)
    say("Evaluate: candidates chosen; scoring the test part, resampling learners")
    evidence = EvaluationEvidence(chosen, validated, _measured(trials, "test"))
    result = result_of(split, seed, budget, prepared, evidence)
    if plots:
        say(f"Draw: {plots}")
        curves = {
            f"{name}_{job}": each[0].curves
            for job, made in trials.items()
            for name, each in made.items()
        }
        draw(plots, curves, evidence, result)
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
    seeds = (candidates, *again)
    next_topic = {
        name: NextTopicRuns(
            tuple(
                score_recommendation(each.recommendation[name].predict, getattr(prepared, part))
                for each in seeds
                if name in each.recommendation
            )
        )
        for name in candidates.recommendation
    }
    success = {
        name: SuccessRuns(
            tuple(
                score_success(each.difficulty[name].predict, getattr(prepared.attempts, part))
                for each in seeds
                if name in each.difficulty
            )
        )
        for name in candidates.difficulty
    }
    return ModelScores(next_topic, success)


def choose(validated: ModelScores) -> ChosenCandidates:
    """Choose the best models on validation: by NDCG@5 where the topic changes, and by log loss.

    If no target's topic changes, NDCG@5 on all targets decides. The log loss is that of the answers
    served: level known, no item. Metrics are means over seeds, so that a lucky seed does not
    decide. In a tie the first model of the list wins: counting models come before networks.
    """
    recommendation = difficulty = None
    if scores := validated.next_topic:
        mode = "new" if next(iter(scores.values())).is_new.any() else "all"
        recommendation = max(scores, key=lambda n: scores[n].table(mode)["ndcg_at_5"])
    if losses := {n: s.table()["log_loss"] for n, s in validated.level_only.items()}:
        difficulty = min(losses, key=lambda n: losses[n])
    return ChosenCandidates(recommendation, difficulty)


@dataclass(frozen=True)
class _Bench:
    """Context in which the seed runs of one task and one seed are trained or loaded."""

    job: PredictionTask
    seed: int
    budget: Budget
    training: CandidateTraining
    cache: ScoreCache | None
    say: Say

    def trial(self, name: str) -> SeedRun:
        """Return a model's scores on both parts; train it only if they are not cached."""
        job, seed = self.job, self.seed
        called = title(name, job, seed, self.budget)
        known = self.cache.load(job.vector, name, seed) if self.cache else None
        if known:
            self.say(f"Cached: {called}")
            return known
        self.say(f"Train: {called}")
        candidate = self.training[name]
        self.say(f"Score: {called}")
        parts = {part: _scored(candidate, getattr(job.parts, part)) for part in _PARTS}
        trial = SeedRun(**parts, curves=candidate.curves)
        if self.cache:
            self.cache.save(job.vector, name, seed, trial)
        return trial


_PARTS = ("validate", "test")


def _scored(candidate: Candidate, rows: Examples) -> RecommendationScores | SuccessScores:
    if candidate.vector == "difficulty":
        return score_success(candidate.predict, rows)
    return score_recommendation(candidate.predict, rows)


def _trials(
    job: PredictionTask,
    seed: int,
    budget: Budget,
    cache: ScoreCache | None,
    say: Say,
    progress: ModelProgress | None,
) -> dict[str, list[SeedRun]]:
    """Return the seed runs by model, one per seed; a counting model has one."""
    found: dict[str, list[SeedRun]] = {each.name: [] for each in job.wanted}
    for each in range(seed, seed + budget.seeds):
        bench = _Bench(
            job, each, budget, CandidateTraining(job, each, budget, progress), cache, say
        )
        for recipe in job.wanted:
            if each == seed or recipe.kind != COUNTING:
                found[recipe.name].append(bench.trial(recipe.name))
    return found


def _measured(trials: Mapping[str, Mapping[str, Sequence[SeedRun]]], part: str) -> ModelScores:
    def scores(job: str) -> dict[str, tuple[Any, ...]]:
        made = trials.get(job, {})
        return {name: tuple(getattr(t, part) for t in each) for name, each in made.items()}

    return ModelScores(
        {name: NextTopicRuns(each) for name, each in scores("recommendation").items()},
        {name: SuccessRuns(each) for name, each in scores("difficulty").items()},
    )


def _column(frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    if name in frame.columns:
        return frame[name].to_numpy(object)
    if name.startswith(METADATA) and "metadata" in frame.columns:
        key = name.removeprefix(METADATA)
        codes, texts = pd.factorize(frame["metadata"])
        found = np.array([orjson.loads(text).get(key) for text in texts] + [None], dtype=object)
        return found[codes]
    raise InvalidInput(
        f"split: expected a column of the file or a key of its metadata, got {name!r}; "
        f"the file has {', '.join(map(str, frame.columns))}"
    )
