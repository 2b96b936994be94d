"""Evaluation result: tables, intervals, slices and metrics per seed, ready for JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sensei.model_name import ModelName
from training.candidates import PredictionTask, tasks_of
from training.data.dataset import Dataset
from training.evaluation.intervals import (
    interval,
    recommendation_intervals,
    success_intervals,
)
from training.evaluation.seed_runs import DifficultyRuns, Figures, ModelScores, RecommendationRuns
from training.evaluation.slices import Mask, slices_of
from training.recipes import Budget
from training.scores import MODES

Table = dict[str, Figures]


ChosenCandidates = Mapping[ModelName, str]
"""Model -> name of the best candidate on validation, for models with candidates."""


@dataclass(frozen=True)
class EvaluationEvidence:
    """Choice made on validation, and scores of the test part, opened once after it."""

    chosen: ChosenCandidates
    validated: ModelScores
    tested: ModelScores


@dataclass(frozen=True)
class Result:
    """Evaluation result, ready for JSON; every metric is a mean over seeds.

    Attributes:
        next_topic: mode -> model -> hr_at_1, hr_at_3, hr_at_5, ndcg_at_5, mrr, n.
        success: model -> auc, accuracy, log_loss, brier, ece, n; item and level known.
        level_only: the same with the level known and no item, as in serving. If the log names no
            levels, they are derived from the items' pass rates and so carry information about the
            item. The choice, the gate and the slices of success use these answers.
        topic_only: the same with neither known; without the models that always need them.
        data: rows, learners, topics, span, parts, budget, the choice and its validation metrics.
        intervals: 95 % intervals by resampling learners, and the chosen models' paired gains; by
            slice only of the chosen models: NDCG@5 where the topic changes, and log loss.
        slices: `next_topic`: group -> slice -> mode -> model -> metrics; `success` without modes.
        seeds: the four tables per seed: a list of metrics for each model.
    """

    next_topic: dict[str, Table]
    success: Table
    level_only: Table
    topic_only: Table
    data: dict[str, Any]
    intervals: dict[str, Any]
    slices: dict[str, Any]
    seeds: dict[str, Any]

    def to_json(self) -> str:
        """Return the result as JSON; an undefined value (an AUC of one class) is null."""
        return json.dumps(_plain(asdict(self)), indent=2, allow_nan=False)


def result_of(
    split: str, seed: int, budget: Budget, prepared: Dataset, evidence: EvaluationEvidence
) -> Result:
    """Build the result of an evaluation.

    Args:
        split: the split as requested.
        seed: seed of the resampling, and first seed of training.
        budget: limits on the training time.
        prepared: the targets.
        evidence: the choice and the scores.
    """
    tested = evidence.tested
    return Result(
        next_topic=next_topic_table(tested),
        success=success_table(tested.difficulty),
        level_only=success_table(tested.level_only),
        topic_only=success_table(tested.topic_only),
        data=_data(split, seed, budget, prepared, evidence),
        intervals=intervals(tested, evidence.chosen, seed)
        | {"slices": _slice_intervals(tested, evidence.chosen, prepared, seed)},
        slices=_slices(tested, prepared),
        seeds=_seeds(tested),
    )


def next_topic_table(measured: ModelScores) -> dict[str, Table]:
    """Return the metrics by mode and model."""
    return {m: {n: s.table(m) for n, s in measured.recommendation.items()} for m in MODES}


def success_table(success: Mapping[str, DifficultyRuns]) -> Table:
    """Return the metrics by model."""
    return {name: scores.table() for name, scores in success.items()}


def intervals(tested: ModelScores, chosen: ChosenCandidates, seed: int) -> dict[str, Any]:
    """Return 95 % intervals of every model's metrics and of the chosen models' gains."""
    tables: dict[str, Any] = {
        "next_topic": {},
        "success": {},
        "level_only": {},
        "topic_only": {},
    }
    if best := chosen.get(ModelName.RECOMMENDATION):
        tables["next_topic"] = recommendation_intervals(tested.recommendation, best, seed)
    if best := chosen.get(ModelName.DIFFICULTY):
        tables["success"] = success_intervals(tested.difficulty, best, seed)
        tables["level_only"] = success_intervals(tested.level_only, best, seed)
        tables["topic_only"] = success_intervals(tested.topic_only, best, seed)
    return tables


def _slices(tested: ModelScores, prepared: Dataset) -> dict[str, Any]:
    tables: dict[str, Any] = {"next_topic": {}, "success": {}}
    if tested.recommendation:
        tables["next_topic"] = {
            group: {
                name: {
                    mode: {n: s.table(mode, mask) for n, s in tested.recommendation.items()}
                    for mode in MODES
                }
                for name, mask in masks.items()
            }
            for group, masks in slices_of(prepared.test, prepared).items()
        }
    if tested.difficulty:
        tables["success"] = {
            group: {
                name: {n: s.table(mask) for n, s in tested.level_only.items()}
                for name, mask in masks.items()
            }
            for group, masks in _slices_of_attempts(prepared).items()
        }
    return tables


def _slices_of_attempts(prepared: Dataset) -> dict[str, dict[str, Mask]]:
    assert prepared.attempts is not None, "success was scored"
    rows = prepared.attempts.test
    return slices_of(rows.take(rows.passed >= 0), prepared.attempts)


def _slice_intervals(
    tested: ModelScores, chosen: ChosenCandidates, prepared: Dataset, seed: int
) -> dict[str, Any]:
    """Return the chosen models' intervals per slice: NDCG@5 on topic changes, and log loss."""
    tables: dict[str, Any] = {"next_topic": {}, "success": {}}
    if best := chosen.get(ModelName.RECOMMENDATION):
        scores = tested.recommendation[best]
        gain, learner = scores.values("ndcg_at_5", "new"), scores.who("new")
        tables["next_topic"] = {
            group: {
                name: interval(gain[mask[scores.is_new]], learner[mask[scores.is_new]], seed)
                for name, mask in masks.items()
            }
            for group, masks in slices_of(prepared.test, prepared).items()
        }
    if best := chosen.get(ModelName.DIFFICULTY):
        served = tested.level_only[best]
        loss, learner = served.values("log_loss"), served.learner
        tables["success"] = {
            group: {name: interval(loss[mask], learner[mask], seed) for name, mask in masks.items()}
            for group, masks in _slices_of_attempts(prepared).items()
        }
    return tables


def _seeds(tested: ModelScores) -> dict[str, Any]:
    def ranked(scores: RecommendationRuns, mode: str) -> list[Figures]:
        return [of_seed.table(mode) for of_seed in scores.seeds]

    return {
        "next_topic": {
            m: {n: ranked(s, m) for n, s in tested.recommendation.items()} for m in MODES
        },
        "success": {n: [e.table() for e in s.seeds] for n, s in tested.difficulty.items()},
        "level_only": {n: [e.table() for e in s.seeds] for n, s in tested.level_only.items()},
        "topic_only": {n: [e.table() for e in s.seeds] for n, s in tested.topic_only.items()},
    }


def _data(
    split: str, seed: int, budget: Budget, prepared: Dataset, evidence: EvaluationEvidence
) -> dict[str, Any]:
    validated, census = evidence.validated, prepared.census
    return {
        "rows": census.rows,
        "learners": census.learners,
        "topics": census.topics,
        "topics_with_slot": prepared.topics,
        "first": _moment(census.first),
        "last": _moment(census.last),
        "split": split,
        "scored_share": prepared.scored_share,
        "seed": seed,
        "budget": {
            "name": budget.name,
            "setting": budget.setting.name,
            "epochs": budget.epochs,
            "seeds": budget.seeds,
        },
        "left_out": {
            task.model_name: _left_out(task, validated) for task in tasks_of(prepared, budget)
        },
        "targets": prepared.counts,
        "attempts": prepared.attempts.counts if prepared.attempts else {},
        "selected": {model_name: evidence.chosen.get(model_name) for model_name in ModelName},
        "no_success": prepared.no_success,
        "validation": {
            "next_topic": next_topic_table(validated),
            "success": success_table(validated.difficulty),
            "level_only": success_table(validated.level_only),
        },
    }


def _left_out(task: PredictionTask, measured: ModelScores) -> list[str]:
    scored = getattr(measured, task.model_name)
    return [recipe.name for recipe in task.recipes if recipe.name not in scored]


def _moment(microseconds: Any) -> str:
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC).isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    """Return the same structure with NaN as null, because JSON has no NaN."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value
