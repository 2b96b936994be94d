"""Figures of an evaluation: training curves, hit rates, reliability, metrics by slice."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensei.model_name import ModelName
from training.evaluation.result import EvaluationEvidence, Result
from training.evaluation.seed_runs import Figures
from training.fitting.keras_fit import Curves
from training.recipes import NEXT_TOPIC, SUCCESS, Recipe
from training.reports import plots
from training.reports.plots import Emphasis

OTHER_NETWORKS, OTHER_BASELINES = 2, 2
"""Numbers of best networks and best baselines that a figure names.

The chosen model, the reference and the simplest baseline are named in addition.
"""

GROUPS = {
    "history_length": "earlier learning events of the learner; targets",
    "topic_popularity": "quarter of topics by events in training; targets",
}
MODES = {"all": "all targets", "new": "where the topic changes"}


def draw(
    folder: Path, curves: Mapping[str, Curves], evidence: EvaluationEvidence, result: Result
) -> None:
    """Draw the figures of an evaluation as PNG files into a folder.

    Args:
        folder: made if absent.
        curves: training curves by name of the network and task.
        evidence: scores per row.
        result: metrics by slice.
    """
    for name, of_network in curves.items():
        if of_network:
            path = folder / f"curves_{name}.png"
            plots.training_curves(path, f"{name}: training", of_network)
    if chosen := evidence.chosen.get(ModelName.RECOMMENDATION):
        _draw_next_topic(folder, chosen, evidence, result)
    if chosen := evidence.chosen.get(ModelName.DIFFICULTY):
        _draw_success(folder, chosen, evidence, result)


def _draw_next_topic(
    folder: Path, chosen: str, evidence: EvaluationEvidence, result: Result
) -> None:
    for mode, words in MODES.items():
        gain = {name: metrics["ndcg_at_5"] for name, metrics in result.next_topic[mode].items()}
        ranks = {name: s.rank(mode) for name, s in evidence.tested.recommendation.items()}
        if mode == "new":
            ranks.pop("repeat_last", None)  # its only answer is masked in this mode
        named = emphasis(NEXT_TOPIC, gain, chosen)
        plots.hit_rate_by_k(folder / f"hit_rate_{mode}.png", f"Next topic, {words}", ranks, named)
    gain = {name: metrics["ndcg_at_5"] for name, metrics in result.next_topic["new"].items()}
    gain.pop("repeat_last", None)
    for group, words in GROUPS.items():
        slices = {
            name: metrics["new"] for name, metrics in result.slices["next_topic"][group].items()
        }
        intervals = result.intervals["slices"]["next_topic"][group]
        _by_slice(
            folder / f"next_topic_by_{group}.png",
            ("Next topic, where the topic changes", words, "NDCG@5"),
            "ndcg_at_5",
            slices,
            intervals,
            emphasis(NEXT_TOPIC, gain, chosen),
        )


def _draw_success(folder: Path, chosen: str, evidence: EvaluationEvidence, result: Result) -> None:
    gain = {name: -metrics["log_loss"] for name, metrics in result.level_only.items()}
    named = emphasis(SUCCESS, gain, chosen)
    few_lines = Emphasis(
        chosen, named.networks[-1:], named.baselines[:1]
    )  # too many lines would overlap
    answers = {name: evidence.tested.level_only[name].answers for name in few_lines.order}
    plots.reliability(
        folder / "reliability.png", "Expected and observed success", answers, few_lines
    )
    for group, words in GROUPS.items():
        _by_slice(
            folder / f"success_by_{group}.png",
            ("Success of an attempt", words, "log loss (lower is better)"),
            "log_loss",
            result.slices["success"][group],
            result.intervals["slices"]["success"][group],
            named,
        )


def _by_slice(
    path: Path,
    words: tuple[str, str, str],
    metric: str,
    slices: Mapping[str, Mapping[str, Figures]],
    intervals: Mapping[str, Any],
    named: Emphasis,
) -> None:
    counts = {name: int(models[named.chosen]["n"]) for name, models in slices.items()}
    names = [name for name in next(iter(slices.values())) if name != "repeat_last"]
    values = {name: [models[name][metric] for models in slices.values()] for name in names}
    interval = [(intervals[name]["low"], intervals[name]["high"]) for name in slices]
    plots.by_slice(path, words, counts, values, interval, named)


def emphasis(recipes: Sequence[Recipe], gain: Mapping[str, float], chosen: str) -> Emphasis:
    """Select the models to name: the chosen one, the best per kind, reference and simplest.

    Args:
        recipes: all models of the task; the first is the simplest.
        gain: model -> metric, higher is better.
        chosen: name of the selected model.
    """
    kinds = {recipe.name: recipe.kind for recipe in recipes}
    ranked_names = sorted((n for n in gain if n != chosen), key=lambda n: -np.nan_to_num(gain[n]))
    networks = [name for name in ranked_names if kinds.get(name) == "network"]
    counting = [name for name in ranked_names if kinds.get(name) == "counting"]
    named = [
        *networks[:OTHER_NETWORKS],
        *(n for n in networks[OTHER_NETWORKS:] if n == "reference"),
    ]
    plainest = [n for n in counting[OTHER_BASELINES:] if n == recipes[0].name]
    return Emphasis(chosen, tuple(named), (*counting[:OTHER_BASELINES], *plainest))
