"""Tables of all metrics of a result, with 95 % intervals and marks for chosen and tied models."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sensei.model_name import ModelName
from training.evaluation.metric_specs import CANDIDATE_LABELS, METRICS, MetricSpec
from training.reports.document import Block, Heading, Paragraph, Table

if TYPE_CHECKING:
    from training.evaluation.result import Result
    from training.evaluation.seed_runs import Figures

LEGEND = (
    "Chosen: on the validation part, before these figures were computed. Tied: the 95 % interval "
    "of the paired gain contains 0. In brackets: 95 % interval, learners resampled. HR@k: share of "
    "targets among the first k topics. NDCG@5, MRR: the higher the rank of the target, the higher. "
    "AUC: probability that a success is scored above a failure. Log loss, Brier, ECE: errors of "
    "the probability, lower is better."
)


@dataclass(frozen=True)
class MetricTable:
    """Metrics of all models on the same targets.

    Attributes:
        key: unique among the tables, in lower case.
        title: targets and their number.
        table: one row per model.
    """

    key: str
    title: str
    table: Table


def metric_tables(result: "Result", model: ModelName) -> Iterator[MetricTable]:
    """Return the tables of a model's task that have a row."""
    intervals, chosen = result.intervals, result.data["selected"].get(model)
    new_topics = dict(result.next_topic["new"])
    new_topics.pop("repeat_last", None)  # its only answer is masked there
    blocks = {
        ModelName.RECOMMENDATION: (
            ("next-topic-all", "Next topic, all targets", result.next_topic["all"], "all"),
            ("next-topic-new", "Next topic, where the topic changes", new_topics, "new"),
        ),
        ModelName.DIFFICULTY: (
            ("success-as-served", "Success, level known, no item: as served", result.level_only,
             "level_only"),
            ("success", "Success, item and level known", result.success, "success"),
            ("success-topic-only", "Success, neither item nor level known", result.topic_only,
             "topic_only"),
        ),
    }  # fmt: skip
    intervals_of = {**intervals["next_topic"], **intervals}
    for key, title, figures, name in blocks[model]:
        if figures:
            count = max(int(metrics["n"]) for metrics in figures.values())
            table = _table(figures, METRICS[model], intervals_of.get(name, {}), chosen)
            yield MetricTable(key, f"{title}: {count:,}", table)


def figures_blocks(result: "Result") -> Iterator[Block]:
    """Return the tables of both models with titles, and the legend."""
    for model in ModelName:
        for metric_table in metric_tables(result, model):
            yield Heading(metric_table.title, 3)
            yield metric_table.table
    seeds = result.data["budget"]["seeds"]
    yield Paragraph((f"Figures are means over {seeds} seeds. " if seeds > 1 else "") + LEGEND)


def label(candidate: str) -> str:
    """Return the name of a candidate in tables and texts."""
    return CANDIDATE_LABELS.get(candidate, candidate)


def with_interval(metric: MetricSpec, value: float, interval: Mapping[str, float] | None) -> str:
    """Format a metric with its interval, if it has one."""
    if interval is None or math.isnan(value) or math.isnan(interval["low"]):
        return metric.text(value)
    return f"{metric.text(value)} [{metric.text(interval['low'])}, {metric.text(interval['high'])}]"


def gain_text(gain: Mapping[str, float], digits: int = 3) -> str:
    """Format a gain with its sign and interval."""
    value, low, high = (f"{gain[name]:+.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def is_tied(intervals: Mapping[str, Any]) -> bool:
    """Tell if a model is tied with the chosen one: the interval of the paired gain contains 0."""
    return "gain" in intervals and intervals["gain"]["low"] <= 0 <= intervals["gain"]["high"]


def _table(
    figures: "Mapping[str, Figures]",
    metrics: tuple[MetricSpec, ...],
    intervals: Mapping[str, Any],
    chosen: str | None,
) -> Table:
    def row(name: str) -> tuple[str, ...]:
        of_model = intervals.get(name, {})
        mark = " (chosen)" if name == chosen else " (tied)" if is_tied(of_model) else ""
        values = (with_interval(m, figures[name][m.name], of_model.get(m.name)) for m in metrics)
        return (label(name) + mark, *values)

    names = list(figures)
    position = names.index(chosen) if chosen in names else None
    return Table(("model", *(m.label for m in metrics)), tuple(map(row, names)), position)
