"""Page of a version in MLflow, for the reviewer who decides on its promotion."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from training.evaluation.metric_specs import PRECISE_DIGITS, REFERENCE
from training.evaluation.result import Result
from training.release.gate import Decision
from training.reports.candidate_comparison import CandidateComparison, limits
from training.reports.document import (
    Block,
    Heading,
    Paragraph,
    bullets,
    document,
    to_markdown,
)
from training.reports.metric_tables import gain_text, label
from training.reports.model_card import Provenance, data_facts

PLOTS = {
    "recommendation": ("hit_rate_new.png", "next_topic_by_history_length.png"),
    "difficulty": ("reliability.png", "success_by_history_length.png"),
}
"""Plots of the run that the page shows; its folder `plots` holds all of them."""


@dataclass(frozen=True)
class VersionLocation:
    """Location of a version in MLflow.

    Attributes:
        version: its number.
        against: version of the champion it was compared with; None without one.
        run: id of the run that trained it.
        experiment: id of the experiment.
        reports: title -> path of a report among the run's files.
    """

    version: str
    against: str | None
    run: str
    experiment: str
    reports: Mapping[str, str]

    def link(self, path: str = "") -> str:
        """Return the address of the run's page, or of one of its files, within MLflow's UI."""
        files = f"/artifacts/{path}" if path else ""
        return f"#/experiments/{self.experiment}/runs/{self.run}{files}"

    def picture(self, name: str) -> str:
        """Return a plot of the run as a Markdown image."""
        return f"![{name}](get-artifact?path=plots/{name}&run_uuid={self.run})"


def page(
    result: Result, provenance: Provenance, decision: Decision, location: VersionLocation
) -> str:
    """Return the page: description, gate verdict, comparison, data, limits, and promotion commands.

    Args:
        result: metrics on the test part.
        provenance: provenance of the version.
        decision: decision of the gate.
        location: location of the version.
    """
    comparison = CandidateComparison(result, provenance.model)
    outcome = "passed" if decision.promote else "did not pass"
    sections: dict[str, list[Block]] = {
        f"This version {outcome} the gate": [_gate(decision)],
        "Comparison": _compared(comparison, decision, location),
        "Training data": [bullets(_learnt(result, provenance))],
        "Limits": [bullets(limits(comparison, provenance.demo), "None found.")],
        "How to promote it": [bullets(_promoting(provenance.model, location))],
        "More": [bullets(_more(location))],
    }
    blocks = document(
        Paragraph(f"**{comparison.chosen}**. {provenance.description}"),
        *([Heading(title, 3), *body] for title, body in sections.items()),
        Paragraph(" ".join(location.picture(name) for name in PLOTS[provenance.model])),
    )
    return to_markdown(blocks).rstrip()


def verdicts(versions: Mapping[str, str], decisions: Mapping[str, Decision]) -> str:
    """Return the gate's reason for each version of a run, with links to their pages."""
    reasons = (
        f"[{model} {versions[model]}](#/models/{model}/versions/{versions[model]}): "
        f"{decision.reason}"
        for model, decision in decisions.items()
    )
    return to_markdown(document(bullets(reasons))).rstrip()


def tags(provenance: Provenance, decision: Decision, location: VersionLocation) -> dict[str, str]:
    """Return the tags by which versions are filtered."""
    failed = [check.name for check in decision.checks if not check.passed]
    return {
        "gate": "passed" if decision.promote else "kept back",
        "gate_failed": ", ".join(failed) or "none",
        "gain": "" if math.isnan(decision.gain) else f"{decision.gain:+.4f}",
        "against": location.against or "none",
        "data_digest": provenance.dataset.digest[:16],
        "data_until": f"{provenance.dataset.last:%Y-%m-%d}",
        "learners": "simulated" if provenance.demo else "real",
        "effort": str(provenance.parameters.get("effort", "")),
    }


def figures(model: str, decision: Decision) -> dict[str, float]:
    """Return the gate's values as metrics of the run; values that are not finite are left out."""
    values = {
        "gain": decision.gain,
        "gain_low": decision.low,
        "gain_high": decision.high,
        "challenger": decision.challenger,
        "champion": decision.champion,
        **{check.name.replace(" ", "_"): check.value for check in decision.checks[1:]},
    }
    return {
        f"{model}/gate/{name}": value
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }


def _gate(decision: Decision) -> Block:
    return bullets(f"**{check.name} {check.verdict}**: {check.said}" for check in decision.checks)


def _compared(
    comparison: CandidateComparison, decision: Decision, location: VersionLocation
) -> list[Block]:
    """Compare with the next best, the reference, counting models, and the champion.

    The result is a list, because MLflow shows tables without space between their columns.
    """
    order = sorted(comparison.leading, key=lambda name: comparison.leading[name]["value"])
    order = order[::-1] if comparison.metric.higher_is_better else order
    names_shown = {
        comparison.chosen,
        *order[:2],
        REFERENCE,
        comparison.best_counting,
        _plainest(comparison),
    }
    count = max(int(metrics["n"]) for metrics in comparison.table.values())
    figures = (
        f"{label(name)}{' (this version)' if name == comparison.chosen else ''}: "
        f"{comparison.leading_text(name)}"
        for name in order
        if name in names_shown
    )
    on_test = [
        Paragraph(comparison.against_counting),
        Paragraph(
            f"{comparison.metric_in_words}, with 95 % intervals, on {count:,} targets of the test "
            "part:"
        ),
        bullets(figures),
    ]
    if math.isnan(decision.champion):
        return on_test
    gain = {"value": decision.gain, "low": decision.low, "high": decision.high}
    rematch = [
        f"this version: {comparison.metric.text(decision.challenger, PRECISE_DIGITS)}",
        f"champion, version {location.against}: "
        f"{comparison.metric.text(decision.champion, PRECISE_DIGITS)}",
        f"gain: {gain_text(gain, PRECISE_DIGITS)}",
    ]
    same_events = Paragraph("The same metric on events after the training of both:")
    return [*on_test, same_events, bullets(rematch)]


def _plainest(comparison: CandidateComparison) -> str:
    return "global_mean" if comparison.by_success else "most_popular"


def _learnt(result: Result, provenance: Provenance) -> list[str]:
    return [
        *data_facts(result, provenance),
        ", ".join(f"{key} {value}" for key, value in provenance.parameters.items()),
        f"split by {result.data['split']}; code {provenance.code}",
    ]


def _promoting(model: str, location: VersionLocation) -> list[str]:
    version = f"--model {model} --version {location.version}"
    return [
        f"In a terminal: `sensei promote {version} --reviewer NAME`.",
        "In Prefect: run the deployment `promote-model` with your name as reviewer, model "
        f"`{model}` and version `{location.version}`.",
        "On this page: give the version the alias `champion`. Serving follows at the next run of "
        "a flow or `sensei reconcile`, and the ledger records the reviewer `unknown`. MLflow's "
        "button `Promote model` only copies the version.",
        f"For a share of learners first: `sensei trial start {version} --share 10`.",
        "To undo a promotion: `sensei rollback --reviewer NAME`.",
    ]


def _more(location: VersionLocation) -> list[str]:
    return [
        f"[the run: every model's figures, curves]({location.link()})",
        f"[model card]({location.link('model_card.md')}): protocol, slices, intended use",
        f"[plots]({location.link('plots')})",
        *(f"[{title}]({location.link(path)})" for title, path in location.reports.items()),
    ]
