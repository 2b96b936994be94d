"""Tables of model figures with baselines, confidence intervals and marks for ties."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

NAMES = {
    "most_popular": "most popular",
    "recently_popular": "recently popular",
    "repeat_last": "repeat last",
    "most_frequent": "learner's most frequent",
    "habits": "learner's habits",
    "markov_1": "Markov, last topic",
    "markov_2": "Markov, last two topics",
    "global_mean": "overall mean",
    "topic_mean": "topic mean",
    "proficiency": "learner's proficiency",
    "plain": "reference, plain inputs",
    "reference": "reference network",
    "slots": "typed slots",
    "prior": "continuations network",
    "history": "history network",
    "sequence": "sequence network",
    "blend": "blend of networks",
    "items": "items network",
    "topics": "topics network",
    "tracing": "knowledge tracing",
}
COUNTING = (
    "most_popular",
    "recently_popular",
    "repeat_last",
    "most_frequent",
    "habits",
    "markov_1",
    "markov_2",
    "global_mean",
    "topic_mean",
    "proficiency",
)
"""Models without training: baselines that a network must beat."""

REFERENCE = "reference"

RANKING = {
    "hr_at_1": "HR@1",
    "hr_at_3": "HR@3",
    "hr_at_5": "HR@5",
    "ndcg_at_5": "NDCG@5",
    "mrr": "MRR",
}
PROBABILITY = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "brier": "Brier",
    "ece": "ECE",
}

_SUCCESS = ("level_only", "success", "topic_only")

Figures = Mapping[str, Mapping[str, float]]
Tied = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class ResultTables:
    """Figures of an evaluation for display.

    Attributes:
        next_topic: mode -> model -> figures.
        level_only: model -> figures of success, the level known and no item, as in serving.
        success: the same, item and level known.
        topic_only: the same, neither known.
        intervals: as `training.evaluation.result.Result` has them.
        chosen: `recommendation` and `difficulty` -> name of the chosen candidate.
        seeds: number of trainings of each network.
    """

    next_topic: Mapping[str, Figures]
    level_only: Figures
    success: Figures
    topic_only: Figures
    intervals: Mapping[str, Any]
    chosen: Mapping[str, str | None]
    seeds: int

    @property
    def tied(self) -> dict[str, list[str]]:
        """Table -> models tied with the chosen one: the interval of the paired gain holds 0."""
        success = self.chosen.get("difficulty")
        best = dict.fromkeys(_SUCCESS, success)
        return {
            table: [
                name
                for name, each in figures.items()
                if name != best.get(table, self.chosen["recommendation"])
                and "gain" in each
                and each["gain"]["low"] <= 0 <= each["gain"]["high"]
            ]
            for table, figures in self.intervals_of.items()
        }

    @property
    def intervals_of(self) -> dict[str, Any]:
        """Table -> model -> intervals."""
        given = self.intervals
        pair = {name: given[name] for name in _SUCCESS}
        return {"all": {}, "new": {}, **given["next_topic"], **pair}

    def without_networks(self) -> "ResultTables":
        """Keep only baselines, the reference and the chosen models, for a short summary."""

        def some(figures: Figures, chosen: str | None) -> Figures:
            kept = {*COUNTING, REFERENCE, chosen}
            return {name: each for name, each in figures.items() if name in kept}

        best, given = self.chosen["recommendation"], self.chosen.get("difficulty")
        return ResultTables(
            {mode: some(each, best) for mode, each in self.next_topic.items()},
            some(self.level_only, given),
            some(self.success, given),
            some(self.topic_only, given),
            self.intervals,
            self.chosen,
            self.seeds,
        )


def show_figures(console: Console, tables: ResultTables) -> None:
    """Show every model with the baselines: ranking for all and new targets, success."""
    best, given = tables.chosen["recommendation"], tables.chosen.get("difficulty")
    every, new = tables.next_topic["all"], dict(tables.next_topic["new"])
    new.pop("repeat_last", None)  # its only answer is masked there
    shown = (
        (f"Next topic, all targets: {_n(every)}", "all", every, RANKING, best),
        (
            f"Next topic, if it differs from the last (masked): {_n(new)}",
            "new",
            new,
            RANKING,
            best,
        ),
        (
            f"Success of an attempt, level known and no item, as served: {_n(tables.level_only)}",
            "level_only",
            tables.level_only,
            PROBABILITY,
            given,
        ),
        (
            f"Success of an attempt, item and level known: {_n(tables.success)}",
            "success",
            tables.success,
            PROBABILITY,
            given,
        ),
        (
            f"Success if neither item nor level is known: {_n(tables.topic_only)}",
            "topic_only",
            tables.topic_only,
            PROBABILITY,
            given,
        ),
    )
    for title, name, figures, columns, chosen in shown:
        if figures:
            marks = _marks(figures, chosen, tables.tied[name])
            _show_table(console, title, figures, columns, tables.intervals_of[name], marks)
    several = f"Figures are means over {tables.seeds} seeds. " if tables.seeds > 1 else ""
    console.print(f"[dim]{several}{_LEGEND}[/dim]")


_LEGEND = (
    "* chosen on the validation part, before these figures were seen; = tied with it (the 95 % "
    "interval of the paired gain holds 0); \\[ ] 95 % interval, learners resampled. HR@k: share of "
    "targets among the first k topics; NDCG@5 and MRR: the same, higher for better ranks. AUC: "
    "chance that a success is scored above a failure; log loss, Brier, ECE: errors of the "
    "probability, lower is better."
)


def _n(figures: Figures) -> str:
    return f"{max((int(each['n']) for each in figures.values()), default=0):,}"


def _marks(figures: Figures, chosen: str | None, tied: Collection[str]) -> dict[str, str]:
    return {n: " *" if n == chosen else " =" if n in tied else "" for n in figures}


def _show_table(
    console: Console,
    title: str,
    figures: Figures,
    columns: Mapping[str, str],
    intervals: Mapping[str, Any],
    marks: Mapping[str, str],
) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for name, values in figures.items():
        sure = intervals.get(name, {})
        cells = [_cell(values[column], sure.get(column)) for column in columns]
        style = "bold green" if marks[name] == " *" else ""
        table.add_row(NAMES.get(name, name) + marks[name], *cells, style=style)
    console.print(table)


def _cell(value: float, interval: Mapping[str, float] | None) -> str:
    if math.isnan(value):
        return "-"
    if interval is None or math.isnan(interval["low"]):
        return f"{value:.3f}"
    low, high = (f"{interval[end]:.3f}".removeprefix("0") for end in ("low", "high"))
    return f"{value:.3f} \\[{low}, {high}]"
