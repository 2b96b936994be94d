"""Figures of models as tables: each beside the baselines, ties marked."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

NAMES = {
    "most_popular": "most popular",
    "recently_popular": "popular lately",
    "repeat_last": "repeat last",
    "most_frequent": "learner's most frequent",
    "markov_1": "Markov, last topic",
    "markov_2": "Markov, last two topics",
    "global_mean": "overall mean",
    "topic_mean": "topic mean",
    "proficiency": "learner's proficiency",
    "reference": "reference network",
    "slots": "wider network",
    "prior": "with continuations",
    "history": "with history",
    "sequence": "sequence network",
    "blend": "blend of networks",
    "items": "with items",
    "topics": "with topics",
    "tracing": "knowledge tracing",
}
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

Figures = Mapping[str, Mapping[str, float]]
Tied = Mapping[str, Collection[str]]


def ties(intervals: Mapping[str, Any], chosen: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Models that are tied with the chosen one: the interval of the paired gain holds 0.

    Args:
        intervals: as `training.evaluate.intervals` returns them.
        chosen: model -> name of the chosen candidate.

    Returns:
        `all`, `new` and `success` -> names.
    """
    tables = {**intervals["next_topic"], "success": intervals["success"]}
    best = {"success": chosen.get("difficulty")}
    return {
        table: [
            name
            for name, each in figures.items()
            if name != best.get(table, chosen["recommendation"])
            and "gain" in each
            and each["gain"]["low"] <= 0 <= each["gain"]["high"]
        ]
        for table, figures in tables.items()
    }


def show_figures(
    console: Console,
    next_topic: Mapping[str, Figures],
    success: Figures,
    chosen: Mapping[str, str | None],
    tied: Tied,
) -> None:
    """Show every model beside the baselines: ranking for all and new targets, success."""
    best = chosen["recommendation"]
    every, new = next_topic["all"], dict(next_topic["new"])
    new.pop("repeat_last", None)  # its only answer is masked there
    _show_table(console, f"Next topic, all targets: {_n(every)}", every, RANKING, best, tied["all"])
    title = f"Next topic, where it differs from the last (masked): {_n(new)}"
    _show_table(console, title, new, RANKING, best, tied["new"])
    if success:
        title = f"Success of an attempt: {_n(success)}"
        given = chosen.get("difficulty")
        _show_table(console, title, success, PROBABILITY, given, tied["success"])
    console.print(f"[dim]{_LEGEND}[/dim]")


_LEGEND = (
    "* chosen on the validation part, before these figures were seen; = tied with it (the 95 % "
    "interval of the paired gain holds 0). HR@k: share of targets among the first k topics; NDCG@5 "
    "and MRR: the same, higher for earlier places. AUC: chance that a success is scored above a "
    "failure; log loss, Brier, ECE: errors of the probability, lower is better."
)


def _n(figures: Figures) -> str:
    return f"{max((int(each['n']) for each in figures.values()), default=0):,}"


def _show_table(
    console: Console,
    title: str,
    figures: Figures,
    columns: Mapping[str, str],
    chosen: str | None,
    tied: Collection[str],
) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("model")
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for name, values in figures.items():
        cells = ["-" if math.isnan(values[c]) else f"{values[c]:.3f}" for c in columns]
        mark = " *" if name == chosen else " =" if name in tied else ""
        style = "bold green" if name == chosen else ""
        table.add_row(NAMES.get(name, name) + mark, *cells, style=style)
    console.print(table)
