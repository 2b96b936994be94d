"""Page of a version in MLflow, for the reviewer who decides on its promotion."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from training.evaluation.result import Result
from training.release.gate import Decision
from training.reports.candidate_comparison import CandidateComparison, limits
from training.reports.model_card import Provenance, cell, listed

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


def page(result: Result, made: Provenance, decision: Decision, place: VersionLocation) -> str:
    """Return the page: description, gate verdict, comparison, data, limits, and promotion commands.

    Args:
        result: metrics on the test part.
        made: provenance of the version.
        decision: decision of the gate.
        place: location of the version.
    """
    standing = CandidateComparison(result, made.model)
    sections = {
        f"The gate {'passed it' if decision.promote else 'kept it back'}": _gate(decision),
        "Comparison": _compared(standing, decision, place),
        "Training data": listed(_learnt(result, made)),
        "Limits": listed(limits(standing, made.demo)) or "None found.",
        "Promotion": _promoting(made.model, place),
        "More": listed(_more(place)),
    }
    head = f"**{standing.chosen}**. {made.description}"
    pictures = " ".join(place.picture(name) for name in PLOTS[made.model])
    return "\n\n".join([head, *(f"### {t}\n\n{text}" for t, text in sections.items()), pictures])


def verdicts(versions: Mapping[str, str], decisions: Mapping[str, Decision]) -> str:
    """Return the gate's reason for each version of a run, with links to their pages."""
    return listed(
        f"[{model} {versions[model]}](#/models/{model}/versions/{versions[model]}): "
        f"{decision.reason}"
        for model, decision in decisions.items()
    )


def tags(made: Provenance, decision: Decision, place: VersionLocation) -> dict[str, str]:
    """Return the tags by which versions are filtered."""
    failed = [check.name for check in decision.checks if not check.passed]
    return {
        "gate": "passed" if decision.promote else "kept back",
        "gate_failed": ", ".join(failed) or "none",
        "gain": "" if math.isnan(decision.gain) else f"{decision.gain:+.4f}",
        "against": place.against or "none",
        "data_digest": made.dataset.digest[:16],
        "data_until": f"{made.dataset.last:%Y-%m-%d}",
        "learners": "simulated" if made.demo else "real",
        "effort": str(made.parameters.get("effort", "")),
    }


def figures(model: str, decision: Decision) -> dict[str, float]:
    """Return the gate's values as metrics of the run; values that are not finite are left out."""
    found = {
        "gain": decision.gain,
        "gain_low": decision.low,
        "gain_high": decision.high,
        "challenger": decision.challenger,
        "champion": decision.champion,
        **{check.name.replace(" ", "_"): check.value for check in decision.checks[1:]},
    }
    return {
        f"{model}/gate/{name}": value
        for name, value in found.items()
        if value is not None and math.isfinite(value)
    }


def _gate(decision: Decision) -> str:
    return listed(f"**{each.name} {each.verdict}**: {each.said}" for each in decision.checks)


def _compared(standing: CandidateComparison, decision: Decision, place: VersionLocation) -> str:
    """Compare with the next best, the reference, counting models, and the champion.

    The result is a list, because MLflow shows tables without space between their columns.
    """
    order = sorted(standing.leading, key=lambda n: standing.leading[n]["value"])
    order = order if standing.by_success else order[::-1]
    shown = {standing.chosen, *order[:2], "reference", standing.best_counting, _plainest(standing)}
    count = max(int(each["n"]) for each in standing.table.values())
    figures = (
        f"{name}{' (this version)' if name == standing.chosen else ''}: "
        f"{cell(standing.leading[name]['value'], standing.leading[name])}"
        for name in order
        if name in shown
    )
    on_test = (
        f"{standing.metric}, with 95 % intervals, on {count:,} targets of the test part:\n\n"
        f"{listed(figures)}"
    )
    if math.isnan(decision.champion):
        return on_test
    rematch = [
        f"this version: {decision.challenger:.4f}",
        f"champion, version {place.against}: {decision.champion:.4f}",
        f"gain: {decision.gain:+.4f} [{decision.low:+.4f}, {decision.high:+.4f}]",
    ]
    return (
        f"{on_test}\n\nThe same metric on events after the training of both:\n\n{listed(rematch)}"
    )


def _plainest(standing: CandidateComparison) -> str:
    return "global_mean" if standing.by_success else "most_popular"


def _learnt(result: Result, made: Provenance) -> list[str]:
    given, parameters = made.dataset, made.parameters
    return [
        f"{given.interactions:,} interactions of {given.learners:,} "
        f"{'simulated ' if made.demo else ''}learners on {given.topics:,} topics, "
        f"{given.first:%Y-%m-%d} to {given.last:%Y-%m-%d} (UTC)",
        f"data digest `{given.digest}`",
        ", ".join(f"{key} {value}" for key, value in parameters.items()),
        f"split by {result.data['split']}; code {made.code}",
    ]


def _promoting(model: str, place: VersionLocation) -> str:
    version = f"--model {model} --version {place.version}"
    lines = [
        f"in a terminal: `sensei promote {version} --reviewer NAME`",
        f"in Prefect's UI: run `promote-model` with reviewer, model `{model}` and version "
        f"`{place.version}`",
        "here: give it the alias `champion` (the button above only copies the version); serving "
        "follows after the next `sensei reconcile` or flow run, and the ledger records `unknown` "
        "as reviewer",
        f"first for some learners: `sensei trial start {version} --share 10`",
        "undo: `sensei rollback --reviewer NAME`",
    ]
    return listed(lines)


def _more(place: VersionLocation) -> list[str]:
    return [
        f"[the run: every model's figures, curves]({place.link()})",
        f"[model card]({place.link('model_card.md')}): protocol, slices, intended use",
        f"[plots]({place.link('plots')})",
        *(f"[{title}]({place.link(path)})" for title, path in place.reports.items()),
    ]
