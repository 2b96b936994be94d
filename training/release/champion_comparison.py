"""Comparison of champion and challenger on the same later events, as evidence for the gate."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.batch import Examples, examples
from features.corpus.daily_counts import DailyCounts
from features.corpus.statistics import Statistics
from sensei import metrics
from sensei.bundle.bundle_format import Bundle
from sensei.model_name import ModelName
from training.data.dataset import Dataset, Splits
from training.evaluation.metric_specs import DECIDING
from training.evaluation.result import ChosenCandidates
from training.evaluation.seed_runs import ModelScores
from training.evaluation.slices import Mask, newcomers
from training.release.bundle_predictor import answers_of
from training.release.gate import Decision, PerLearner, decide, judge, not_inferior
from training.scores import (
    DifficultyScores,
    RecommendationScores,
    score_difficulty,
    score_recommendation,
)


def decide_all(
    champion: Bundle | None,
    prepared: Dataset,
    tested: ModelScores,
    chosen: ChosenCandidates,
    margin: float,
    seed: int,
) -> dict[ModelName, Decision]:
    """Decide for each model if the chosen candidate replaces the champion.

    Args:
        champion: the serving bundle; None before the first promotion. Success models are compared
            by the answers that are served: level known, no item.
        prepared: the targets; those of the test part are used.
        tested: the candidates' scores on exactly these targets. Only the first seed is used,
            because its network would serve.
        chosen: names of the challengers.
        margin: the lower bound of the gain must exceed it.
        seed: seed of the resampling.

    Returns:
        Decisions by model, for the models with a challenger.
    """
    decisions = {}
    if chosen_name := chosen.get(ModelName.RECOMMENDATION):
        challenger = tested.recommendation[chosen_name].first
        decisions[ModelName.RECOMMENDATION] = _decide_recommendation(
            champion, prepared, challenger, margin, seed
        )
    if (chosen_name := chosen.get(ModelName.DIFFICULTY)) and prepared.attempts:
        decisions[ModelName.DIFFICULTY] = _decide_difficulty(
            champion,
            prepared.census.daily,
            prepared.attempts,
            tested.level_only[chosen_name].first,
            margin,
            seed,
        )
    return decisions


def _decide_recommendation(
    champion: Bundle | None,
    prepared: Dataset,
    challenger: RecommendationScores,
    margin: float,
    seed: int,
) -> Decision:
    test, model_name = prepared.test, ModelName.RECOMMENDATION
    if champion is None or model_name not in champion.manifest.models:
        return decide(None, _ndcg(challenger, np.ones(len(test), bool)), margin, seed)
    rows = _read_with(champion.statistics[model_name], prepared.census.daily, test)
    scores = score_recommendation(answers_of(champion, model_name), rows)

    def measured(mask: Mask) -> tuple[PerLearner, PerLearner]:
        return _ndcg(scores, mask), _ndcg(challenger, mask)

    later = _after_training(champion, model_name, test)
    return _decide(measured, later, newcomers(test, prepared), margin, seed)


def _decide_difficulty(
    champion: Bundle | None,
    daily: DailyCounts,
    attempts: Splits,
    challenger: DifficultyScores,
    margin: float,
    seed: int,
) -> Decision:
    test, model_name = attempts.test, ModelName.DIFFICULTY
    if champion is None or model_name not in champion.manifest.models:
        return decide(None, _loss(challenger, np.ones(len(test), bool)), margin, seed)
    rows = _read_with(champion.statistics[model_name], daily, test)
    rows = replace(rows, level=test.level)  # the level taken does not depend on the model
    scores = score_difficulty(answers_of(champion, model_name), rows).level_only

    def measured(mask: Mask) -> tuple[PerLearner, PerLearner]:
        return _loss(scores, mask), _loss(challenger, mask)

    later = _after_training(champion, model_name, test)
    return _decide(measured, later, newcomers(test, attempts), margin, seed)


def _decide(
    measured: Callable[[Mask], tuple[PerLearner, PerLearner]],
    later: Mask,
    slices: Mapping[str, Mask],
    margin: float,
    seed: int,
) -> Decision:
    """Decide on the gain over all later events and on non-inferiority in slices of them.

    Args:
        measured: returns champion and challenger on the targets of a mask.
        later: (n,) bool, the targets on which neither was trained.
        slices: name -> (n,) bool, the targets in the slice.
        margin: the lower bound of the gain must exceed it.
        seed: seed of the resampling.
    """
    checks = [not_inferior(name, *measured(later & mask), seed) for name, mask in slices.items()]
    return judge(decide(*measured(later), margin, seed), checks)


def _read_with(
    arrays: Mapping[str, NDArray[np.generic]],
    daily: DailyCounts,
    test: Examples,
) -> Examples:
    """Return the same targets with the inputs that the champion would get in serving."""
    targets = np.zeros(len(test.events), bool)
    targets[test.event] = True
    statistics = Statistics.from_arrays(dict(arrays)).renamed(test.outline.replaced)
    recency = daily.recency(statistics, test.outline.domains)
    return examples(test.events, statistics, targets, recency, test.outline)


def _ndcg(scores: RecommendationScores, later: NDArray[np.bool_]) -> PerLearner:
    is_counted = later & scores.is_new
    gain = metrics.ndcg_at_k(scores.new_rank[is_counted], 5)
    spec = DECIDING[ModelName.RECOMMENDATION]
    label = f"{spec.label} on new topics"
    return PerLearner.of(label, spec.higher_is_better, gain, scores.learner[is_counted])


def _loss(scores: DifficultyScores, later: NDArray[np.bool_]) -> PerLearner:
    loss = metrics.log_loss(scores.passed, scores.probability)[later]
    spec = DECIDING[ModelName.DIFFICULTY]
    return PerLearner.of(spec.label, spec.higher_is_better, loss, scores.learner[later])


def _after_training(champion: Bundle, model_name: ModelName, test: Examples) -> Mask:
    """Return (n,) bool: the targets on which neither model was trained."""
    trained_until = champion.manifest.models[model_name].trained_until
    return test.time >= int(trained_until.timestamp() * 1e6)
