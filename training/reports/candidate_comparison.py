"""Comparison of the chosen model of a task with the other candidates, and its limits."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sensei.model_name import ModelName
from training.evaluation.metric_specs import COUNTING_LABELS, DECIDING, MetricSpec
from training.evaluation.result import Result
from training.evaluation.seed_runs import Figures
from training.reports.metric_tables import gain_text, is_tied, label, with_interval

FEW = 100
"""Number of targets below which a slice is called too small to be sure."""

WEAK = 0.5
"""Share of its overall NDCG@5 below which a recommendation model is called weak in a slice."""

MISCALIBRATED = 0.05
"""Calibration error (ECE) above which a limit is reported."""

TOPIC_CHANGES = " where the topic changes"


@dataclass(frozen=True)
class CandidateComparison:
    """Results of one task.

    Attributes:
        result: result of an evaluation that measured the task.
        model: the task: `recommendation` or `difficulty`.
    """

    result: Result
    model: str

    @property
    def by_success(self) -> bool:
        """True if log loss decides; False if NDCG@5 where the topic changes decides."""
        return self.model == ModelName.DIFFICULTY

    @property
    def metric(self) -> MetricSpec:
        """Deciding metric."""
        return DECIDING[ModelName(self.model)]

    @property
    def metric_in_words(self) -> str:
        """Name of the deciding metric, and the targets that it is computed on."""
        return f"{self.metric.label}{', no item known' if self.by_success else TOPIC_CHANGES}"

    @property
    def chosen(self) -> str:
        """Name of the chosen candidate."""
        name: str = self.result.data["selected"][self.model]
        return name

    @property
    def table(self) -> Mapping[str, Figures]:
        """Metrics by model, from the deciding table."""
        return self.result.level_only if self.by_success else self.result.next_topic["new"]

    @property
    def intervals(self) -> Mapping[str, Any]:
        """Intervals by model, from the deciding table."""
        intervals = self.result.intervals
        table: Mapping[str, Any] = (
            intervals["level_only"] if self.by_success else intervals["next_topic"]["new"]
        )
        return table

    @property
    def leading(self) -> dict[str, Figures]:
        """Value, low and high of the deciding metric, by model."""
        return {name: metrics[self.metric.name] for name, metrics in self.intervals.items()}

    @property
    def tied(self) -> list[str]:
        """Models whose paired interval of the gain contains 0."""
        other_names = (name for name in self.intervals if name != self.chosen)
        return [name for name in other_names if is_tied(self.intervals[name])]

    @property
    def best_counting(self) -> str | None:
        """Best counting model other than the chosen one; None if there is none."""
        sign = -1.0 if self.metric.higher_is_better else 1.0
        values = {
            name: sign * interval["value"]
            for name, interval in self.leading.items()
            if name in COUNTING_LABELS and name != self.chosen
        }
        return min(values, key=lambda name: values[name], default=None)

    def leading_text(self, name: str) -> str:
        """Format the deciding metric of a model with its interval."""
        return with_interval(self.metric, self.leading[name]["value"], self.leading[name])

    @property
    def against_counting(self) -> str:
        """Verdict on the chosen model compared with the best counting model, with the gain."""
        figure = f"{self.metric_in_words} {self.leading_text(self.chosen)}"
        best = self.best_counting
        if self.chosen in COUNTING_LABELS:
            return f"**A counting model is the best**: {label(self.chosen)}, {figure}."
        if best is None:
            return f"**Not compared with counting**: no counting model was trained. {figure}."
        gain = self.intervals[best]["gain"]
        if math.isnan(gain["low"]):
            return f"**Not compared with counting**: too few learners. {figure}."
        not_better = "Worse than" if gain["high"] < 0 else "No better than"
        verdict = "Better than" if gain["low"] > 0 else not_better
        return (
            f"**{verdict} counting**: {figure}; gain {gain_text(gain)} over {label(best)}, the "
            "best counting model."
        )

    @property
    def slices(self) -> Iterator[tuple[str, str, dict[str, Figures], Figures]]:
        """Group, slice, metrics by model, and the interval of the chosen model."""
        table = "success" if self.by_success else "next_topic"
        for group, slices in self.result.slices[table].items():
            for name, figures in slices.items():
                of = figures if self.by_success else figures["new"]
                yield group, name, of, self.result.intervals["slices"][table][group][name]

    def value(self, figures: Figures) -> float:
        """Return the deciding metric."""
        return figures[self.metric.name]

    def gain(self, figures: Figures) -> float:
        """Return the deciding metric with higher as better; minus infinity if undefined."""
        value = self.value(figures)
        if math.isnan(value):
            return -math.inf
        return value if self.metric.higher_is_better else -value


def limits(comparison: CandidateComparison, demo: bool) -> list[str]:
    """Return the known limits in sentences, the most severe first.

    Args:
        comparison: comparison of the task.
        demo: True if the learners are simulated.
    """
    result, name = comparison.result, comparison.chosen
    sentences = (
        ["Learners are simulated: the figures are no evidence about people."] if demo else []
    )
    tied = [label(model) for model in comparison.tied if model in COUNTING_LABELS]
    if tied:
        sentences.append(f"Tied with {', '.join(tied)}: a baseline without training does as well.")
    for group, slice_name, figures, _ in comparison.slices:
        sentences += _of_slice(comparison, group, slice_name, figures)
    if comparison.by_success:
        ece = result.level_only[name]["ece"]
        if ece > MISCALIBRATED:
            sentences.append(f"Probabilities are off by {ece:.3f} on average (ECE).")
        sentences.append("Success at levels not taken is never observed: it is extrapolated.")
    if result.data["budget"]["seeds"] == 1:
        sentences.append("Trained with one seed: the share of chance in the figures is unknown.")
    if result.data["split"] != "time":
        sentences.append("Measured on other learners of the same period, not on later events.")
    return sentences


def _of_slice(
    comparison: CandidateComparison, group: str, name: str, of: dict[str, Figures]
) -> list[str]:
    """Return sentences on a slice: always for cold start, else if counting wins or it is weak."""
    cold, chosen = group == "cold", comparison.chosen
    words, count = f"{group}: {name}".replace("cold: ", "").replace("_", " "), int(of[chosen]["n"])
    if count == 0:
        return [f"{words}: no target in the test part, so unknown."] if cold else []
    overall, value = comparison.leading[chosen]["value"], comparison.value(of[chosen])
    caution = ", too few to be sure" if count < FEW else ""
    slice_text = f"{words} ({count:,} targets{caution})"
    best_baseline = max(
        (n for n in of if n in COUNTING_LABELS),
        key=lambda n: comparison.gain(of[n]),
        default=chosen,
    )
    if comparison.gain(of[best_baseline]) > comparison.gain(of[chosen]):
        return [
            f"{slice_text}: {label(best_baseline)} is better, "
            f"{comparison.value(of[best_baseline]):.3f} against {value:.3f}."
        ]
    if not comparison.by_success and value < WEAK * overall:
        return [f"{slice_text}: weak, {value:.3f} against {overall:.3f} overall."]
    return [f"{slice_text}: {value:.3f} against {overall:.3f} overall."] if cold else []
