"""Summaries that a command prints at its end."""

import math
import shlex
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape

from flows.presentation.terminal_document import show_document
from sensei.curriculum import LOAD_CATALOGUE, describe_outside
from sensei.settings import Settings
from training.evaluation.metric_specs import PRECISE_DIGITS
from training.reports.document import (
    Block,
    Commands,
    Facts,
    Heading,
    Paragraph,
    ResultDocument,
    bullets,
    document,
    facts,
)

if TYPE_CHECKING:  # a summary needs none of the libraries that these import
    from sensei.events.importer import ImportSummary
    from training.evaluation.result import Result
    from training.release.gate import Decision

LAST_RESULTS = "last_results"
"""Fact name of the last training run's results, as `stored_document` returns them."""

_STORED = TypeAdapter(ResultDocument)


@dataclass(frozen=True)
class RunSummary:
    """Summary of one training run, for people and for the Prefect UI.

    Attributes:
        demo: true if the learners are simulated.
        as_of: end of the window, UTC.
        window_days: its length.
        read, quarantined: rows read, and refused by this run's validation.
        reasons: expectation -> refused rows.
        learners, topics: in the valid rows.
        targets: part -> targets.
        result: figures on the test part, and the candidates chosen before on validation.
        no_success: why there is no difficulty model; empty if there is one.
        versions: model -> registered version.
        promoted: model -> true if the version now serves learners.
        decisions: model -> decision of the gate.
        bundle, bento: digest of the bundle and tag of the Bento; None if nothing was promoted.
        drift: finding of the drift report, in words.
        reports: title -> file.
        page: address of the run's page while `make mlflow` runs; the reports are attached to it.
        scored_share: share of the learners whose held-out targets were used, in (0, 1].
        review: a person decides: every version waits.
    """

    demo: bool
    as_of: datetime
    window_days: int
    read: int
    quarantined: int
    reasons: dict[str, int]
    learners: int
    topics: int
    targets: dict[str, int]
    result: "Result"
    no_success: str
    versions: dict[str, str]
    promoted: dict[str, bool]
    decisions: "dict[str, Decision]"
    bundle: str | None
    bento: str | None
    drift: str
    reports: dict[str, str]
    page: str
    scored_share: float = 1.0
    review: bool = False

    def outcome(self, model: str) -> str:
        """Tell if a version was promoted."""
        if self.review:
            gate_outcome = "passed" if self.decisions[model].promote else "did not pass"
            return f"waits for a person, {gate_outcome} the gate"
        return "promoted" if self.promoted[model] else "not promoted"

    def promoting(self) -> dict[str, str]:
        """Model -> the command that promotes the version that waits; empty without review."""
        return {
            model: f"{command()} promote --model {model} --version {version} --reviewer NAME"
            for model, version in self.versions.items()
            if self.review
        }

    @property
    def data(self) -> str:
        """Describe the interactions that were read and refused."""
        people = "simulated learners (a demo)" if self.demo else "learners"
        return (
            f"{self.read:,} interactions of {self.learners:,} {people} on {self.topics:,} topics, "
            f"up to {self.as_of:%Y-%m-%d %H:%M} UTC; {self.quarantined:,} rows refused"
        )


def verdict(run: RunSummary) -> Facts:
    """Describe each model: better than counting or not, promoted or not; then data and drift."""
    pairs = {model: _verdict_on(run, model) for model in run.versions}
    if run.no_success:
        pairs["difficulty"] = f"No model: {run.no_success}."
    return facts(pairs | {"data": run.data, "drift": run.drift})


def _verdict_on(run: RunSummary, model: str) -> str:
    from training.reports.candidate_comparison import CandidateComparison
    from training.reports.metric_tables import gain_text, label

    comparison, decision = CandidateComparison(run.result, model), run.decisions[model]
    reason = ""
    if not math.isnan(decision.gain):
        gain = {"value": decision.gain, "low": decision.low, "high": decision.high}
        reason = f"; gain {gain_text(gain, PRECISE_DIGITS)} over the champion"
    failed = [check.name for check in decision.checks if not check.passed]
    reason += f"; failed checks: {', '.join(failed)}" if failed else ""
    return (
        f"{comparison.against_counting} **Version {run.versions[model]}** "
        f"({label(comparison.chosen)}) **{run.outcome(model)}**{reason}."
    )


def results_document(run: RunSummary) -> ResultDocument:
    """Return all results of a run: verdict, data, figures, checks of the gate, reports."""
    from training.reports.metric_tables import figures_blocks

    refusal_counts = ", ".join(f"{count:,} by {name}" for name, count in run.reasons.items())
    share = f"{100 * run.scored_share:.0f} % of the learners, drawn by hash"
    checks = (
        f"**{model} {run.versions[model]}**: {decision.reason} Checks: {decision.summary}."
        for model, decision in run.decisions.items()
    )
    return document(
        Heading(f"Training up to {run.as_of:%Y-%m-%d %H:%M} UTC", 1),
        verdict(run),
        _how_to_decide(run) if run.review else (),
        Heading("Data"),
        facts(
            {
                "refused": refusal_counts,
                "trained on": f"{run.targets['train']:,} targets of {run.window_days} days",
                "chosen on": f"{run.targets['validate']:,} targets",
                "tested on": f"{run.targets['test']:,} targets, used once, after the choice",
                "sample": share if run.scored_share < 1 else "",
            }
        ),
        Heading("Figures on the test part"),
        figures_blocks(run.result),
        Heading("Gate"),
        bullets(checks),
        Heading("Files"),
        facts(
            {
                "bundle": run.bundle or "",
                "Bento": run.bento or "",
                "MLflow run": run.page,
                **{title: short_path(path) for title, path in run.reports.items()},
            }
        ),
        Paragraph("The MLflow run has model_card.md, evaluation.json and all plots."),
    )


def _how_to_decide(run: RunSummary) -> list[Block]:
    """Tell the reviewer where to look, and three ways to decide."""
    return [
        Heading("Decision"),
        Paragraph(
            f"Read the model card, figures and plots of the [MLflow run]({run.page}) "
            "(`make mlflow`). Then promote a version in one of three ways:"
        ),
        bullets(
            [
                *(f"in a terminal: `{line}`" for line in run.promoting().values()),
                "in Prefect: run the deployment `promote-model`",
                "in MLflow: give the version the alias `champion`; serving follows at the next "
                "run of a flow, and the ledger records the reviewer `unknown`",
            ]
        ),
        Paragraph("Without a decision, the champion continues to serve."),
    ]


def stored_document(page: ResultDocument) -> Any:
    """Convert a document to JSON values."""
    return _STORED.dump_python(page, mode="json")


def read_document(content: Any) -> ResultDocument:
    """Convert the JSON values of `stored_document` back."""
    return _STORED.validate_python(content)


def show_summary(console: Console, run: RunSummary, serving: str) -> None:
    """Show the verdict, what serves now, and the next commands; they fit on one screen.

    Args:
        console: where to show it.
        run: the training run.
        serving: description of the champions.
    """
    pairs = dict(verdict(run).pairs) | {"serves now": serving}
    steps = {f"promote {model}": line for model, line in run.promoting().items()} | _next_steps(run)
    blocks = Heading("Results of this run", 1), facts(pairs), Heading("Next")
    show_document(console, document(blocks, Commands((*steps.items(),))))


def _next_steps(run: RunSummary) -> dict[str, str]:
    """Purpose -> command, as the user must type it here."""
    sensei = command()
    steps = {"all figures": f"{sensei} results"}
    if run.review:  # with the commands that promote, more would not fit on one screen
        return steps
    steps["start all"] = f"{sensei} up"
    learner = "learner-00001" if run.demo else "testuser"
    site = f"http://127.0.0.1:{Settings().service_port}/api"
    steps["request"] = f"curl {site}/user/{learner}/recommendations"
    steps["status"] = f"{sensei} status"
    if run.demo:
        steps["own log"] = f"SENSEI_HOME=own {sensei.split()[-1]} import FILE"
    return steps


def home_prefix() -> str:
    """Return `SENSEI_HOME=... ` if this process uses another home than the default one."""
    home = Settings().root
    return (
        ""
        if home == Path("var").resolve()
        else f"SENSEI_HOME={shlex.quote(short_path(str(home)))} "
    )


def command() -> str:
    """Return the `sensei` command as the user must type it here, for the same home."""
    program = Path(sys.argv[0])
    on_path = shutil.which("sensei")
    if on_path and Path(on_path).resolve() == program.resolve():
        return f"{home_prefix()}sensei"
    return home_prefix() + (short_path(str(program)) if program.name == "sensei" else "sensei")


def short_path(path: str) -> str:
    """Shorten a path below the working folder to a relative one."""
    return path.removeprefix(f"{Path.cwd()}/")


def show_import(console: Console, imported: "ImportSummary") -> None:
    """Show how many rows of imported files were new, repeated, quarantined or dropped."""
    console.print(
        f"{imported.read:,} rows read: {imported.inserted:,} new, {imported.repeated:,} already "
        f"stored, {imported.quarantined:,} quarantined"
    )
    if imported.import_id is not None and imported.inserted:
        console.print(
            f"Take it back: {command()} import undo {imported.import_id}",
            soft_wrap=True,
            markup=False,
        )
    if imported.identical:
        console.print(
            f"{imported.identical:,} of them without an event_id: rows that are equal count once; "
            "if they are different events, give each an event_id"
        )
    if imported.erased:
        console.print(f"{imported.erased:,} of learners who were erased: dropped")
    if imported.outside:
        console.print(f"{describe_outside(imported.outside)}; {LOAD_CATALOGUE}", soft_wrap=True)
    for reason, count in imported.reasons.most_common(5):
        example = next((e for e in imported.examples if e.startswith(reason)), reason)
        console.print(f"  {count:>8,}  {escape(example)}", soft_wrap=True)


def show_evaluation(
    console: Console, result: "Result", out: Path | None, plots: Path | None, all_wanted: bool
) -> None:
    """Show an evaluation's figures; if all models were wanted, also list those not measured."""
    from training.reports.metric_tables import figures_blocks

    data = result.data
    console.print(
        f"{data['rows']:,} rows of {data['learners']:,} learners on {data['topics']:,} topics, "
        f"split: {data['split']}"
    )
    show_document(console, document(figures_blocks(result)))
    if data["no_success"]:
        console.print(f"Success was not evaluated: {data['no_success']}.")
    for job, names in data["left_out"].items():
        if names and all_wanted:
            console.print(f"Not evaluated for {job}: {', '.join(names)} (--effort full, --models)")
    for path in (out, plots):
        if path:
            console.print(f"Written to {escape(str(path))}", soft_wrap=True)
