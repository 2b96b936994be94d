"""Comparison of the chosen model of a task with the other candidates, and its limits."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from training.evaluation.result import Result
from training.evaluation.seed_runs import Figures
from training.recipes import NEXT_TOPIC, SUCCESS

FEW = 100
"""Number of targets below which a slice is called too small to be sure."""

WEAK = 0.5
"""Share of its overall NDCG@5 below which a recommendation model is called weak in a slice."""

MISCALIBRATED = 0.05
"""Calibration error (ECE) above which a limit is reported."""

COUNTING = {each.name for each in (*NEXT_TOPIC, *SUCCESS) if each.kind == "counting"}


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
        return self.model == "difficulty"

    @property
    def metric(self) -> str:
        """Name of the deciding metric, in words."""
        return "log loss, no item known" if self.by_success else "NDCG@5 where the topic changes"

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
        sure = self.result.intervals
        found: Mapping[str, Any] = (
            sure["level_only"] if self.by_success else sure["next_topic"]["new"]
        )
        return found

    @property
    def leading(self) -> dict[str, Figures]:
        """Value, low and high of the deciding metric, by model."""
        column = "log_loss" if self.by_success else "ndcg_at_5"
        return {name: each[column] for name, each in self.intervals.items()}

    @property
    def tied(self) -> list[str]:
        """Models whose paired interval of the gain contains 0."""
        return [
            name
            for name, each in self.intervals.items()
            if name != self.chosen and each["gain"]["low"] <= 0 <= each["gain"]["high"]
        ]

    @property
    def best_counting(self) -> str | None:
        """Best counting model other than the chosen one; None if there is none."""
        sign = 1.0 if self.by_success else -1.0
        values = {
            name: sign * each["value"]
            for name, each in self.leading.items()
            if name in COUNTING and name != self.chosen
        }
        return min(values, key=lambda name: values[name], default=None)

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
        return figures["log_loss" if self.by_success else "ndcg_at_5"]

    def gain(self, figures: Figures) -> float:
        """Return the deciding metric with higher as better; minus infinity if undefined."""
        value = self.value(figures)
        return -math.inf if math.isnan(value) else -value if self.by_success else value


def limits(standing: CandidateComparison, demo: bool) -> list[str]:
    """Return the known limits in sentences, the most severe first.

    Args:
        standing: comparison of the task.
        demo: True if the learners are simulated.
    """
    result, name = standing.result, standing.chosen
    found = ["Learners are simulated: the figures are no evidence about people."] if demo else []
    tied = [each for each in standing.tied if each in COUNTING]
    if tied:
        found.append(f"Tied with {', '.join(tied)}: a baseline without training does as well.")
    for group, slice_, figures, _ in standing.slices:
        found += _of_slice(standing, group, slice_, figures)
    if standing.by_success:
        ece = result.level_only[name]["ece"]
        if ece > MISCALIBRATED:
            found.append(f"Probabilities are off by {ece:.3f} on average (ECE).")
        found.append("Success at levels not taken is never observed: it is extrapolated.")
    if result.data["budget"]["seeds"] == 1:
        found.append("Trained with one seed: the share of chance in the figures is unknown.")
    if result.data["split"] != "time":
        found.append("Measured on other learners of the same period, not on later events.")
    return found


def _of_slice(
    standing: CandidateComparison, group: str, name: str, of: dict[str, Figures]
) -> list[str]:
    """Return sentences on a slice: always for cold start, else if counting wins or it is weak."""
    cold, chosen = group == "cold", standing.chosen
    words, count = f"{group}: {name}".replace("cold: ", "").replace("_", " "), int(of[chosen]["n"])
    if count == 0:
        return [f"{words}: no target in the test part, so unknown."] if cold else []
    overall, value = standing.leading[chosen]["value"], standing.value(of[chosen])
    few = ", too few to be sure" if count < FEW else ""
    where = f"{words} ({count:,} targets{few})"
    best = max((n for n in of if n in COUNTING), key=lambda n: standing.gain(of[n]), default=chosen)
    if standing.gain(of[best]) > standing.gain(of[chosen]):
        return [f"{where}: {best} is better, {standing.value(of[best]):.3f} against {value:.3f}."]
    if not standing.by_success and value < WEAK * overall:
        return [f"{where}: weak, {value:.3f} against {overall:.3f} overall."]
    return [f"{where}: {value:.3f} against {overall:.3f} overall."] if cold else []
