"""Summaries that a command prints at its end."""

import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from flows.presentation.result_tables import COUNTING, NAMES, ResultTables, show_figures
from sensei.settings import Settings

if TYPE_CHECKING:  # a summary needs none of the libraries that these import
    from sensei.events.importer import ImportSummary
    from training.evaluation.protocol import Result


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
        tables: figures on the test part, and the candidates chosen before on validation.
        no_success: why there is no difficulty model; empty if there is one.
        chosen: model -> candidate chosen on validation.
        versions: model -> registered version.
        promoted: model -> true if the version now serves learners.
        decisions: model -> the gate's sentence.
        checks: model -> the gate's checks and their results, in one line.
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
    tables: ResultTables
    no_success: str
    chosen: dict[str, str]
    versions: dict[str, str]
    promoted: dict[str, bool]
    decisions: dict[str, str]
    checks: dict[str, str]
    bundle: str | None
    bento: str | None
    drift: str
    reports: dict[str, str]
    page: str
    scored_share: float = 1.0
    review: bool = False

    def verdict(self, model: str) -> str:
        """Describe the decision on a version, with the gate's sentence."""
        sentence = self.decisions[model]
        if self.review:
            return f"waits for a person; decision of the gate: {sentence}"
        return f"{'promoted' if self.promoted[model] else 'not promoted'}. {sentence}"

    def promoting(self) -> dict[str, str]:
        """Model -> the command that promotes the version that waits; empty without review."""
        return {
            model: f"{command()} promote --model {model} --version {version} --reviewer NAME"
            for model, version in self.versions.items()
            if self.review
        }


def show_summary(console: Console, run: RunSummary) -> None:
    """Show the data read and refused, the models, their figures, and the next steps."""
    console.rule("[bold]Results of this run")
    whose = "simulated learners (a demo)" if run.demo else "learners"
    console.print(
        f"Read      {run.read:,} interactions of {run.learners:,} {whose} on "
        f"{run.topics:,} topics, up to {run.as_of:%Y-%m-%d %H:%M} UTC"
    )
    why = ", ".join(f"{count:,} by {name}" for name, count in run.reasons.items())
    console.print(
        f"Refused   {run.quarantined:,} rows, kept in quarantine" + (f": {why}" if why else "")
    )
    console.print(
        f"Trained   on {run.targets['train']:,} targets of the last {run.window_days} days; "
        f"{run.targets['validate']:,} to choose by, {run.targets['test']:,} opened once at the end"
    )
    if run.scored_share < 1:
        console.print(
            f"          chosen and tested on {100 * run.scored_share:.0f} % of the learners, drawn "
            "by hash: more would add no information"
        )
    show_figures(console, run.tables.without_networks())
    _show_comparison(console, run)
    if run.no_success:
        console.print(f"No difficulty model: {run.no_success}.")
    for model, version in run.versions.items():
        colour = "green" if run.promoted[model] else "yellow"
        console.print(
            f"{model}: {_name(run.chosen[model])}, [{colour}]version {version}[/{colour}], "
            f"{escape(run.verdict(model))}"
        )
        console.print(f"  checks: {run.checks[model]}")
    console.print(run.drift)
    for title, path in run.reports.items():
        console.print(f"  {title:<14} {_short(path)}", soft_wrap=True)
    console.print(f"  {'MLflow run':<14} {run.page}", soft_wrap=True)
    console.print("                 with model_card.md, evaluation.json (all figures) and plots")
    _show_next(console, run)


def _show_comparison(console: Console, run: RunSummary) -> None:
    """Compare the chosen recommender with baselines in words, if all were measured."""
    best = run.chosen["recommendation"]
    new, every = run.tables.next_topic["new"], run.tables.next_topic["all"]
    if not {"most_popular", "repeat_last"} <= new.keys():
        return
    others = [name for name in COUNTING if name in new and name != best]
    runner_up = max(others, key=lambda name: new[name]["hr_at_1"])
    tie = " (a tie)" if runner_up in run.tables.tied["new"] else ""
    console.print(
        f"In words: of 100 times that a learner changed the topic, it was ranked first "
        f"{_percent(new[best])} times with {_name(best)}, {_percent(new['most_popular'])} with "
        f"most popular, {_percent(new[runner_up])} with {_name(runner_up)}"
        f"{tie}. Counting also the times when the "
        f"learner stayed with the topic: {_percent(every[best])}, against "
        f"{_percent(every['repeat_last'])} with repeat last."
    )


def _name(candidate: str) -> str:
    return NAMES.get(candidate, candidate)


def _percent(figures: Mapping[str, float]) -> str:
    return f"{100 * figures['hr_at_1']:.0f}"


def _show_next(console: Console, run: RunSummary) -> None:
    """Show the useful next commands, as the user must type them here."""
    sensei, learner = command(), "learner-00001" if run.demo else "testuser"
    site = f"http://127.0.0.1:{Settings().service_port}/api"
    steps = {
        "start everything in one terminal: the service, Prefect, MLflow, Evidently": [
            f"{sensei} up"
        ],
        "or start the service alone": [f"{sensei} serve"],
        "send requests, in another terminal": [
            f"curl '{site}/user/{learner}/recommendations?count=5'",
            f"curl '{site}/learning/topic/1/difficulty/suggest?username=testuser'",
        ],
        "show the status and all versions": [f"{sensei} status", f"{sensei} models"],
    }
    if run.review:
        steps = {"promote a waiting version after review": [*run.promoting().values()], **steps}
    if run.demo:
        own = f"SENSEI_HOME=own {sensei.split()[-1]}"
        steps["use your own log, in a separate folder"] = [f"{own} import FILE", f"{own} run"]
    console.rule("[bold]Next steps")
    for what, commands in steps.items():
        console.print(f"{what}:")
        for line in commands:
            console.print(f"    {line}", soft_wrap=True)


def home_prefix() -> str:
    """Return `SENSEI_HOME=... ` if this process uses another home than the default one."""
    home = Settings().root
    return "" if home == Path("var").resolve() else f"SENSEI_HOME={shlex.quote(_short(str(home)))} "


def command() -> str:
    """Return the `sensei` command as the user must type it here, for the same home."""
    ours = Path(sys.argv[0])
    found = shutil.which("sensei")
    if found and Path(found).resolve() == ours.resolve():
        return f"{home_prefix()}sensei"
    return home_prefix() + (_short(str(ours)) if ours.name == "sensei" else "sensei")


def _short(path: str) -> str:
    """Shorten a path below the working folder to a relative one."""
    return path.removeprefix(f"{Path.cwd()}/")


def show_import(console: Console, imported: "ImportSummary") -> None:
    """Show how many rows of imported files were new, repeated, quarantined or dropped."""
    console.print(
        f"{imported.read:,} rows read: {imported.inserted:,} new, {imported.repeated:,} already "
        f"stored, {imported.quarantined:,} quarantined"
    )
    if imported.identical:
        console.print(
            f"{imported.identical:,} of them without an event_id: rows that are equal count once; "
            "if they are different events, give each an event_id"
        )
    if imported.erased:
        console.print(f"{imported.erased:,} of learners who were erased: dropped")
    for reason, count in imported.reasons.most_common(5):
        example = next((e for e in imported.examples if e.startswith(reason)), reason)
        console.print(f"  {count:>8,}  {escape(example)}", soft_wrap=True)


def show_evaluation(
    console: Console, result: "Result", out: Path | None, plots: Path | None, all_wanted: bool
) -> None:
    """Show an evaluation's figures; if all models were wanted, also list those not measured."""
    data = result.data
    console.print(
        f"{data['rows']:,} rows of {data['learners']:,} learners on {data['topics']:,} topics, "
        f"split: {data['split']}"
    )
    show_figures(console, tables_of(result))
    if data["no_success"]:
        console.print(f"Success was not evaluated: {data['no_success']}.")
    for job, names in data["left_out"].items():
        if names and all_wanted:
            console.print(f"Not evaluated for {job}: {', '.join(names)} (--effort full, --models)")
    for path in (out, plots):
        if path:
            console.print(f"Written to {escape(str(path))}", soft_wrap=True)


def tables_of(result: "Result") -> ResultTables:
    """Build the tables of an evaluation result."""
    return ResultTables(
        result.next_topic,
        result.level_only,
        result.success,
        result.topic_only,
        result.intervals,
        result.data["selected"],
        result.data["budget"]["seeds"],
    )
