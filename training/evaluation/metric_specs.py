"""Names, labels, directions and formats of the metrics, and the labels of the candidates.

Tables, reports and the gate derive their texts from here. The module imports no library, so that
commands that only print need none either.
"""

import math
from dataclasses import dataclass

from sensei.model_name import ModelName

DIGITS = 3
"""Decimals of a metric in tables."""

PRECISE_DIGITS = 4
"""Decimals of a metric in the gate's reason, the list of versions and Prefect's tables."""


@dataclass(frozen=True)
class MetricSpec:
    """Metric of a model on the rows of a part.

    Attributes:
        name: key in results, JSON files and MLflow.
        label: name in tables and texts.
        higher_is_better: False for losses and errors.
    """

    name: str
    label: str
    higher_is_better: bool = True

    def text(self, value: float, digits: int = DIGITS) -> str:
        """Format a value; `-` if it is undefined (NaN)."""
        return "-" if math.isnan(value) else f"{value:.{digits}f}"


HR_AT_1 = MetricSpec("hr_at_1", "HR@1")
NDCG_AT_5 = MetricSpec("ndcg_at_5", "NDCG@5")
AUC = MetricSpec("auc", "AUC")
LOG_LOSS = MetricSpec("log_loss", "log loss", higher_is_better=False)
ECE = MetricSpec("ece", "ECE", higher_is_better=False)

METRICS: dict[ModelName, tuple[MetricSpec, ...]] = {
    ModelName.RECOMMENDATION: (
        HR_AT_1,
        MetricSpec("hr_at_3", "HR@3"),
        MetricSpec("hr_at_5", "HR@5"),
        NDCG_AT_5,
        MetricSpec("mrr", "MRR"),
    ),
    ModelName.DIFFICULTY: (
        AUC,
        MetricSpec("accuracy", "accuracy"),
        LOG_LOSS,
        MetricSpec("brier", "Brier", higher_is_better=False),
        ECE,
    ),
}
"""Metrics of each model, in the order of the tables."""

DECIDING: dict[ModelName, MetricSpec] = {
    ModelName.RECOMMENDATION: NDCG_AT_5,
    ModelName.DIFFICULTY: LOG_LOSS,
}
"""Metric by which candidates are chosen and the gate decides."""

COUNTING_LABELS = {
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
}
"""Counting models, the baselines that a network must beat: name -> label in tables."""

REFERENCE = "reference"
"""Name of the specified architecture, which every run trains and reports."""

CANDIDATE_LABELS = {
    **COUNTING_LABELS,
    "plain": "reference, plain inputs",
    REFERENCE: "reference network",
    "slots": "typed slots",
    "prior": "continuations network",
    "history": "history network",
    "sequence": "sequence network",
    "blend": "blend of networks",
    "items": "items network",
    "topics": "topics network",
    "tracing": "knowledge tracing",
}
"""All candidates: name -> label in tables."""
