"""How the chosen model of one job stands beside the others, and where it is weak."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from training.evaluation.result import Result
from training.evaluation.seed_runs import Figures
from training.recipes import NEXT_TOPIC, SUCCESS

FEW = 100
"""A slice of fewer targets says little."""

WEAK = 0.5
"""A recommender is weak in a slice where it gains less than this share of its overall figure."""

MISCALIBRATED = 0.05
"""A larger calibration error is a limit."""

COUNTING = {each.name for each in (*NEXT_TOPIC, *SUCCESS) if each.kind == "counting"}


@dataclass(frozen=True)
class CandidateComparison:
    """One job's side of a result.

    Attributes:
        result: of an evaluation in which the job was measured.
        model: the job: `recommendation` or `difficulty`.
    """

    result: Result
    model: str

    @property
    def by_success(self) -> bool:
        """Whether log loss decides; else NDCG@5 where the topic changes."""
        return self.model == "difficulty"

    @property
    def metric(self) -> str:
        """The figure that decides, in words."""
        return "log loss, no item known" if self.by_success else "NDCG@5 where the topic changes"

    @property
    def chosen(self) -> str:
        """Name of the chosen candidate."""
        name: str = self.result.data["selected"][self.model]
        return name

    @property
    def table(self) -> Mapping[str, Figures]:
        """Model -> figures of the table that decides."""
        return self.result.level_only if self.by_success else self.result.next_topic["new"]

    @property
    def intervals(self) -> Mapping[str, Any]:
        """Model -> intervals of the table that decides."""
        sure = self.result.intervals
        found: Mapping[str, Any] = (
            sure["level_only"] if self.by_success else sure["next_topic"]["new"]
        )
        return found

    @property
    def leading(self) -> dict[str, Figures]:
        """Model -> value, low and high of the figure that decides."""
        column = "log_loss" if self.by_success else "ndcg_at_5"
        return {name: each[column] for name, each in self.intervals.items()}

    @property
    def tied(self) -> list[str]:
        """Models whose paired interval of the gain holds 0."""
        return [
            name
            for name, each in self.intervals.items()
            if name != self.chosen and each["gain"]["low"] <= 0 <= each["gain"]["high"]
        ]

    @property
    def best_counting(self) -> str | None:
        """The best of the models that need no training and were not chosen; None without one."""
        sign = 1.0 if self.by_success else -1.0
        values = {
            name: sign * each["value"]
            for name, each in self.leading.items()
            if name in COUNTING and name != self.chosen
        }
        return min(values, key=lambda name: values[name], default=None)

    @property
    def slices(self) -> Iterator[tuple[str, str, dict[str, Figures], Figures]]:
        """Group, slice, model -> figures, and the interval of the chosen one."""
        table = "success" if self.by_success else "next_topic"
        for group, slices in self.result.slices[table].items():
            for name, figures in slices.items():
                of = figures if self.by_success else figures["new"]
                yield group, name, of, self.result.intervals["slices"][table][group][name]

    def value(self, figures: Figures) -> float:
        """The figure that decides."""
        return figures["log_loss" if self.by_success else "ndcg_at_5"]

    def gain(self, figures: Figures) -> float:
        """The same, higher is better; the least where it is undefined."""
        value = self.value(figures)
        return -math.inf if math.isnan(value) else -value if self.by_success else value


def limits(standing: CandidateComparison, demo: bool) -> list[str]:
    """What is known to be weak or unknown, in sentences, the gravest first.

    Args:
        standing: of the job.
        demo: whether the learners are simulated.
    """
    result, name = standing.result, standing.chosen
    found = ["Learners are simulated: the figures say nothing about people."] if demo else []
    tied = [each for each in standing.tied if each in COUNTING]
    if tied:
        found.append(f"Tied with {', '.join(tied)}: no training is needed for that.")
    for group, slice_, figures, _ in standing.slices:
        found += _of_slice(standing, group, slice_, figures)
    if standing.by_success:
        ece = result.level_only[name]["ece"]
        if ece > MISCALIBRATED:
            found.append(f"Probabilities are off by {ece:.3f} on average (ECE).")
        found.append("Success at a level that was not taken is never observed: extrapolated.")
    if result.data["budget"]["seeds"] == 1:
        found.append("Trained with one seed: how much of the figures is chance is not known.")
    if result.data["split"] != "time":
        found.append("Measured on other learners of the same time, not on what comes later.")
    return found


def _of_slice(
    standing: CandidateComparison, group: str, name: str, of: dict[str, Figures]
) -> list[str]:
    """Newcomers and new topics always; others where counting is better or little is gained."""
    cold, chosen = group == "cold", standing.chosen
    words, count = f"{group}: {name}".replace("cold: ", "").replace("_", " "), int(of[chosen]["n"])
    if count == 0:
        return [f"{words}: no target in the test part, so not known."] if cold else []
    overall, value = standing.leading[chosen]["value"], standing.value(of[chosen])
    few = ", too few to be sure" if count < FEW else ""
    where = f"{words} ({count:,} targets{few})"
    best = max((n for n in of if n in COUNTING), key=lambda n: standing.gain(of[n]), default=chosen)
    if standing.gain(of[best]) > standing.gain(of[chosen]):
        return [f"{where}: {best} does better, {standing.value(of[best]):.3f} against {value:.3f}."]
    if not standing.by_success and value < WEAK * overall:
        return [f"{where}: weak, {value:.3f} against {overall:.3f} overall."]
    return [f"{where}: {value:.3f} against {overall:.3f} overall."] if cold else []
