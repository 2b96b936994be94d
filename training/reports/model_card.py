"""Model card of a version: data, metrics, limits, intended use.

Source: Mitchell et al. 2019 (FAT*), Model Cards for Model Reporting.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from training.evaluation.result import Result
from training.evaluation.seed_runs import Figures
from training.reports.candidate_comparison import CandidateComparison, limits
from training.tracking.run_logging import DatasetSummary

_JOBS = {
    "recommendation": "the topic that a learner studies next",
    "difficulty": "the probability that a learner passes a quiz or practice",
}
_USES = {
    "recommendation": (
        "To rank the next topics offered to a learner of this platform.",
        "To grade, rank or select people. As evidence of benefit to a learner: it learns "
        "what learners do, not what helps them. For a curriculum whose log it was not trained on.",
    ),
    "difficulty": (
        "To suggest the level of a learner's next quiz on a topic: easy, medium or hard.",
        "To grade, certify, rank or select people. To claim results at another "
        "level: only the level taken was observed. For a curriculum whose log it was not "
        "trained on.",
    ),
}
_RANKED = {
    "hr_at_1": "HR@1",
    "hr_at_3": "HR@3",
    "hr_at_5": "HR@5",
    "ndcg_at_5": "NDCG@5",
    "mrr": "MRR",
}
_PREDICTED = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "brier": "Brier",
    "ece": "ECE",
}


@dataclass(frozen=True)
class Provenance:
    """Facts of a model card that are not in the evaluation result.

    Attributes:
        model: `recommendation` or `difficulty`.
        description: what the chosen candidate does, in one sentence.
        epochs: number of training epochs; 0 for counting models and blends.
        dataset: summary of the training data, in aggregates.
        demo: True if its learners are simulated.
        parameters: parameters of the run, as in MLflow.
        code: code version.
        state: True if the model keeps a hidden state per learner.
        size: bytes of the files that serving loads.
        parity: largest difference between the served and the trained model.
    """

    model: str
    description: str
    epochs: int
    dataset: DatasetSummary
    demo: bool
    parameters: Mapping[str, Any]
    code: str
    state: bool
    size: int
    parity: float


def card(result: Result, made: Provenance) -> str:
    """Return a version's model card in Markdown.

    Args:
        result: metrics on the test part, and the choice before it.
        made: provenance of the version.
    """
    standing = CandidateComparison(result, made.model)
    intended, not_intended = _USES[made.model]
    sections = {
        "Intended use": intended,
        "Not intended": not_intended,
        "Data": listed(_data(result, made)),
        "Training and export": listed(_training(result, made)),
        "Protocol": _protocol(standing),
        "Figures on the test part": _figures(standing),
        "Slices": _slices(standing),
        "Calibration": _calibration(standing),
        "Limits": listed(limits(standing, made.demo)),
    }
    head = f"# Model card: {made.model}, {standing.chosen}"
    says = f"It predicts {_JOBS[made.model]}. {made.description}"
    return "\n\n".join([head, says, *(f"## {t}\n\n{text}" for t, text in sections.items())]) + "\n"


def short(result: Result, made: Provenance) -> str:
    """Return the card in a few lines, for the list of versions."""
    standing = CandidateComparison(result, made.model)
    leading, best = standing.leading, standing.best_counting
    baseline = f"; best without training: {best} {leading[best]['value']:.3f}" if best else ""
    ours = leading[standing.chosen]
    return (
        f"**{standing.chosen}**. {made.description}\n\n"
        f"{standing.metric}: {cell(ours['value'], ours)} on the test part, "
        f"split by {result.data['split']}{baseline}.\n\n"
        f"{listed(limits(standing, made.demo)[:4])}\n\n"
        "Full text: `model_card.md` of the run."
    )


def _data(result: Result, made: Provenance) -> list[str]:
    given, data = made.dataset, result.data
    targets = data["attempts"] if made.model == "difficulty" else data["targets"]
    return [
        f"{given.interactions:,} interactions of {given.learners:,} "
        f"{'simulated ' if made.demo else ''}learners on {given.topics:,} topics, "
        f"{given.first:%Y-%m-%d} to {given.last:%Y-%m-%d} (UTC); it contains no learner ids",
        f"digest `{given.digest[:16]}`",
        "targets: " + ", ".join(f"{count:,} {part}" for part, count in targets.items()),
    ]


def _training(result: Result, made: Provenance) -> list[str]:
    budget = result.data["budget"]
    state = ", with a hidden state per learner" if made.state else ""
    fitted = f"{made.epochs} epochs, the best one kept" if made.epochs else "not trained in epochs"
    return [
        ", ".join(f"{key} {value}" for key, value in made.parameters.items()),
        f"{fitted}; the reference network in the setting {budget['setting']}; "
        f"seeds: {budget['seeds']}, the first is exported",
        f"code {made.code}",
        f"LiteRT, {made.size / 1e6:.1f} MB{state}; answers within {made.parity:.1e} of Keras on "
        "held-out rows",
    ]


def _protocol(standing: CandidateComparison) -> str:
    ranked = "" if standing.by_success else "All topics are ranked, ties count against the model. "
    return (
        f"Split by {standing.result.data['split']}; the inputs of a target use only earlier "
        f"events. {ranked}Chosen by {standing.metric} on the validation part, mean over seeds; "
        "the test part was scored once, after that. Intervals: 95 %, learners resampled; tied: the "
        "interval of the paired gain holds 0."
    )


def _figures(standing: CandidateComparison) -> str:
    result, sure = standing.result, standing.result.intervals
    if standing.by_success:
        blocks = [
            ("Level known, no item: as served", result.level_only, _PREDICTED, sure["level_only"]),
            ("Item and level known", result.success, _PREDICTED, sure["success"]),
            ("Neither known", result.topic_only, _PREDICTED, sure["topic_only"]),
        ]
    else:
        blocks = [
            ("All targets", result.next_topic["all"], _RANKED, sure["next_topic"]["all"]),
            ("Where the topic changes", _answering(result), _RANKED, sure["next_topic"]["new"]),
        ]
    return "\n\n".join(_block(*block, standing.chosen) for block in blocks if block[1])


def _answering(result: Result) -> dict[str, Figures]:
    """Return the metrics without `repeat_last`: its only answer is masked if the topic changes."""
    return {n: each for n, each in result.next_topic["new"].items() if n != "repeat_last"}


def _block(
    title: str,
    figures: Mapping[str, Figures],
    columns: Mapping[str, str],
    sure: Mapping[str, Any],
    chosen: str,
) -> str:
    count = max(int(each["n"]) for each in figures.values())
    rows = []
    for name, values in figures.items():
        intervals = sure.get(name, {})
        gain = intervals.get("gain", {"low": 1.0, "high": 1.0})
        tied = gain["low"] <= 0 <= gain["high"]
        mark = " (chosen)" if name == chosen else " (tied)" if tied else ""
        rows.append([name + mark, *(cell(values[c], intervals.get(c)) for c in columns)])
    return _table([f"{title}, {count:,}", *columns.values()], rows)


def _slices(standing: CandidateComparison) -> str:
    chosen, best = standing.chosen, standing.best_counting
    rows = [
        [
            f"{group}: {name}".replace("_", " "),
            f"{int(of[chosen]['n']):,}",
            cell(standing.value(of[chosen]), sure),
            *([cell(standing.value(of[best]), None)] if best else []),
        ]
        for group, name, of, sure in standing.slices
    ]
    return _table([standing.metric, "targets", chosen, *([best] if best else [])], rows)


def _calibration(standing: CandidateComparison) -> str:
    if not standing.by_success:
        return "The probabilities rank topics; their calibration is not measured."
    name, result = standing.chosen, standing.result
    ece = result.level_only[name]["ece"]
    known = f"ECE {ece:.3f} in 15 bins of equal count, with the level alone, as served"
    known += f"; {result.success[name]['ece']:.3f} with item and level known"
    if name in result.topic_only:
        known += f"; {result.topic_only[name]['ece']:.3f} with neither"
    return f"{known}. The plot `reliability.png` of the run shows the bins."


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: float, interval: Mapping[str, float] | None) -> str:
    """Format a metric with its interval, if it has one."""
    if math.isnan(value):
        return "-"
    if interval is None or math.isnan(interval["low"]):
        return f"{value:.3f}"
    return f"{value:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def listed(lines: Iterable[str]) -> str:
    """Format lines as a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)
