"""Model card of a version: data, metrics, limits, intended use.

Source: Mitchell et al. 2019 (FAT*), Model Cards for Model Reporting.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sensei.model_name import ModelName
from training.evaluation.metric_specs import ECE
from training.evaluation.result import Result
from training.reports.candidate_comparison import CandidateComparison, limits
from training.reports.document import (
    Block,
    Heading,
    Paragraph,
    Table,
    bullets,
    document,
    to_markdown,
)
from training.reports.metric_tables import label, metric_tables, with_interval
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


def card(result: Result, provenance: Provenance) -> str:
    """Return a version's model card in Markdown.

    Args:
        result: metrics on the test part, and the choice before it.
        provenance: provenance of the version.
    """
    comparison = CandidateComparison(result, provenance.model)
    intended, not_intended = _USES[provenance.model]
    sections: dict[str, list[Block]] = {
        "Intended use": [Paragraph(intended)],
        "Not intended": [Paragraph(not_intended)],
        "Data": [bullets(data_facts(result, provenance))],
        "Training and export": [bullets(_training(result, provenance))],
        "Protocol": [Paragraph(_protocol(comparison))],
        "Figures on the test part": [*_figures(comparison)],
        "Slices": [_slices(comparison)],
        "Calibration": [Paragraph(_calibration(comparison))],
        "Limits": [bullets(limits(comparison, provenance.demo), "None found.")],
    }
    page = document(
        Heading(f"Model card: {provenance.model}, {comparison.chosen}", 1),
        Paragraph(f"It predicts {_JOBS[provenance.model]}. {provenance.description}"),
        *([Heading(title), *blocks] for title, blocks in sections.items()),
    )
    return to_markdown(page)


def short(result: Result, provenance: Provenance) -> str:
    """Return the card in a few lines, for the list of versions."""
    comparison = CandidateComparison(result, provenance.model)
    page = document(
        Paragraph(f"**{comparison.chosen}**. {provenance.description}"),
        Paragraph(
            f"On the test part, split by {result.data['split']}: {comparison.against_counting}"
        ),
        bullets(limits(comparison, provenance.demo)[:4], "No limit was found."),
        Paragraph("Full text: `model_card.md` of the run."),
    )
    return to_markdown(page).rstrip()


def data_facts(result: Result, provenance: Provenance) -> list[str]:
    """Describe the training data of a version: size, time span, digest and targets."""
    dataset, data = provenance.dataset, result.data
    targets = data["attempts"] if provenance.model == ModelName.DIFFICULTY else data["targets"]
    return [
        f"{dataset.interactions:,} interactions of {dataset.learners:,} "
        f"{'simulated ' if provenance.demo else ''}learners on {dataset.topics:,} topics, "
        f"{dataset.first:%Y-%m-%d} to {dataset.last:%Y-%m-%d} (UTC), without learner ids",
        f"data digest `{dataset.digest}`",
        "targets: " + ", ".join(f"{count:,} {part_name}" for part_name, count in targets.items()),
    ]


def _training(result: Result, provenance: Provenance) -> list[str]:
    budget = result.data["budget"]
    state = ", with a hidden state per learner" if provenance.state else ""
    fitted = (
        f"{provenance.epochs} epochs, the best one kept"
        if provenance.epochs
        else "not trained in epochs"
    )
    return [
        ", ".join(f"{key} {value}" for key, value in provenance.parameters.items()),
        f"{fitted}; the reference network in the setting {budget['setting']}; "
        f"seeds: {budget['seeds']}, the first is exported",
        f"code {provenance.code}",
        f"LiteRT, {provenance.size / 1e6:.1f} MB{state}; answers within {provenance.parity:.1e} of "
        "Keras on held-out rows",
    ]


def _protocol(comparison: CandidateComparison) -> str:
    ranked = (
        "" if comparison.by_success else "All topics are ranked, ties count against the model. "
    )
    return (
        f"Split by {comparison.result.data['split']}; the inputs of a target use only earlier "
        f"events. {ranked}Chosen by {comparison.metric_in_words} on the validation part, mean over "
        "seeds; the test part was scored once, after that. Intervals: 95 %, learners resampled; "
        "tied: the interval of the paired gain contains 0."
    )


def _figures(comparison: CandidateComparison) -> Iterator[Block]:
    for metric_table in metric_tables(comparison.result, ModelName(comparison.model)):
        columns = (metric_table.title, *metric_table.table.columns[1:])
        yield Table(columns, metric_table.table.rows, metric_table.table.chosen)


def _slices(comparison: CandidateComparison) -> Table:
    chosen, best_counting = comparison.chosen, comparison.best_counting
    models = [chosen, *([best_counting] if best_counting else [])]
    rows = [
        (
            f"{group}: {name}".replace("_", " "),
            f"{int(metrics[chosen]['n']):,}",
            with_interval(comparison.metric, comparison.value(metrics[chosen]), interval),
            *(comparison.metric.text(comparison.value(metrics[model])) for model in models[1:]),
        )
        for group, name, metrics, interval in comparison.slices
    ]
    return Table((comparison.metric_in_words, "targets", *map(label, models)), tuple(rows))


def _calibration(comparison: CandidateComparison) -> str:
    if not comparison.by_success:
        return "The probabilities rank topics; their calibration is not measured."
    name, result = comparison.chosen, comparison.result

    def error(table: Mapping[str, Mapping[str, float]]) -> str:
        return ECE.text(table[name][ECE.name])

    text = f"ECE {error(result.level_only)} in 15 bins of equal count, with the level alone, as "
    text += f"served; {error(result.success)} with item and level text"
    if name in result.topic_only:
        text += f"; {error(result.topic_only)} with neither"
    return f"{text}. The plot `reliability.png` of the run shows the bins."
