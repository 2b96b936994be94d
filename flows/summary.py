"""What a person reads when a command has ended."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sensei.importing import Imported
from training.evaluate import Result
from training.registry import Version

NAMES = {
    "most_popular": "most popular",
    "repeat_last": "repeat last",
    "most_frequent": "learner's most frequent",
    "markov_1": "Markov, last topic",
    "markov_2": "Markov, last two topics",
    "global_mean": "overall mean",
    "topic_mean": "topic mean",
    "proficiency": "learner's proficiency",
    "reference": "reference network",
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


@dataclass(frozen=True)
class RunSummary:
    """What one training run did, for people and for the Prefect UI.

    Attributes:
        demo: whether the learners are simulated.
        as_of: end of the window.
        window_days: its length.
        read, quarantined: rows read, and refused by this run's validation.
        reasons: expectation -> refused rows.
        learners, topics: in the valid rows.
        targets: part -> targets.
        next_topic: mode -> model -> figures on the test part.
        success: model -> figures on the test part.
        no_success: why there is no difficulty model; empty where there is one.
        chosen: model -> candidate chosen on validation.
        versions: model -> registered version.
        promoted: model -> whether the version now answers learners.
        decisions: model -> the gate's sentence.
        bundle, bento: what serves; None where nothing was promoted.
        drift: what the drift report found, in words.
        links: title -> file or address.
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
    next_topic: dict[str, dict[str, dict[str, float]]]
    success: dict[str, dict[str, float]]
    no_success: str
    chosen: dict[str, str]
    versions: dict[str, str]
    promoted: dict[str, bool]
    decisions: dict[str, str]
    bundle: str | None
    bento: str | None
    drift: str
    links: dict[str, str]


def show_summary(console: Console, run: RunSummary) -> None:
    """Say what was read, refused, trained and promoted, how good it is, and what comes next."""
    console.rule("[bold]What this run did")
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
    show_figures(console, run.next_topic, run.success, run.chosen)
    _show_comparison(console, run)
    if run.no_success:
        console.print(f"No difficulty model: {run.no_success}.")
    for model, sentence in run.decisions.items():
        mark = "[green]promoted[/green]" if run.promoted[model] else "[yellow]kept back[/yellow]"
        console.print(
            f"{model}: {NAMES.get(run.chosen[model], run.chosen[model])}, version "
            f"{run.versions[model]}, {mark}. {sentence}"
        )
    console.print(run.drift)
    for title, link in run.links.items():
        console.print(f"  {title:<14} {_short(link)}", soft_wrap=True)
    _show_next(console)


def _show_comparison(console: Console, run: RunSummary) -> None:
    """The chosen recommender beside what needs no model, in words."""
    best = run.chosen["recommendation"]
    new, every = run.next_topic["new"], run.next_topic["all"]
    console.print(
        f"In words: of 100 times that a learner turned to another topic, it stood first "
        f"{_percent(new[best])} times with {NAMES.get(best, best)}, "
        f"{_percent(new['most_popular'])} with most popular; counting also the times when he went "
        f"on with the same, {_percent(every[best])}, against {_percent(every['repeat_last'])} "
        f"with repeat last."
    )


def _percent(figures: Mapping[str, float]) -> str:
    return f"{100 * figures['hr_at_1']:.0f}"


def _show_next(console: Console) -> None:
    sensei = command()
    console.rule("[bold]What comes next")
    console.print(
        f"  {sensei} serve                 then, in another terminal:\n"
        "  curl 'http://127.0.0.1:8000/api/user/testuser/recommendations?count=5'\n"
        "  curl 'http://127.0.0.1:8000/api/learning/topic/1/difficulty/suggest?username=testuser'\n"
        f"  {sensei} models                every version, and which one answers learners\n"
        f"  SENSEI_HOME=own {sensei} import FILE    your own log, in a folder of its own\n"
        f"  SENSEI_HOME=own {sensei} run",
        soft_wrap=True,
    )


def command() -> str:
    """How the `sensei` command must be typed here."""
    ours = Path(sys.argv[0])
    found = shutil.which("sensei")
    if found and Path(found).resolve() == ours.resolve():
        return "sensei"
    return _short(str(ours)) if ours.name == "sensei" else "sensei"


def _short(path: str) -> str:
    """A path below the working folder without that folder."""
    return path.removeprefix(f"{Path.cwd()}/")


def show_figures(
    console: Console,
    next_topic: Mapping[str, Figures],
    success: Figures,
    chosen: Mapping[str, str | None],
) -> None:
    """Show every model beside the baselines: ranking for all and new targets, success."""
    titles = {
        "all": "Next topic, all targets",
        "new": "Next topic, where it differs from the last (the last one is masked)",
    }
    for mode, title in titles.items():
        count = max((int(f["n"]) for f in next_topic[mode].values()), default=0)
        _show_table(
            console, f"{title}: {count:,}", next_topic[mode], RANKING, chosen["recommendation"]
        )
    if success:
        count = max(int(f["n"]) for f in success.values())
        title = f"Success of an attempt: {count:,}"
        _show_table(console, title, success, PROBABILITY, chosen.get("difficulty"))
    console.print(f"[dim]{_LEGEND}[/dim]")


_LEGEND = (
    "* chosen on the validation part, before these figures were seen. HR@k: share of targets among "
    "the first k topics; NDCG@5 and MRR: the same, higher for earlier places. AUC: chance that a "
    "success is scored above a failure; log loss, Brier, ECE: errors of the probability, lower is "
    "better."
)


def _show_table(
    console: Console, title: str, figures: Figures, columns: Mapping[str, str], chosen: str | None
) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("model")
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for name, values in figures.items():
        cells = [f"{values[c]:.3f}" if values[c] == values[c] else "-" for c in columns]
        mark, style = (" *", "bold green") if name == chosen else ("", "")
        table.add_row(NAMES.get(name, name) + mark, *cells, style=style)
    console.print(table)


def show_import(console: Console, imported: Imported) -> None:
    """Say what became of the rows of imported files."""
    console.print(
        f"{imported.read:,} rows read: {imported.inserted:,} new, {imported.repeated:,} there "
        f"already, {imported.quarantined:,} quarantined"
    )
    for reason, count in imported.reasons.most_common(5):
        example = next((e for e in imported.examples if e.startswith(reason)), reason)
        console.print(f"  {count:>8,}  {escape(example)}", soft_wrap=True)


def show_evaluation(console: Console, result: Result, out: Path | None) -> None:
    """Show an evaluation's figures."""
    data = result.data
    console.print(
        f"{data['rows']:,} rows of {data['learners']:,} learners on {data['topics']:,} topics, "
        f"split: {data['split']}"
    )
    show_figures(console, result.next_topic, result.success, data["selected"])
    if data["no_success"]:
        console.print(f"Success was not measured: {data['no_success']}.")
    if out:
        console.print(f"Written to {escape(str(out))}")


def show_versions(console: Console, versions: Sequence[Version]) -> None:
    """Show the registered versions, newest first."""
    if not versions:
        console.print(f"No version yet. Next: {command()} run")
        return
    table = Table(title="Registered versions", title_justify="left")
    for heading in ("model", "alias", "candidate", "made", "on its test part"):
        table.add_column(heading, no_wrap=heading == "model")
    for version in versions:
        table.add_row(
            f"{version.model} {version.version}",
            ", ".join(version.aliases) or "-",
            NAMES.get(version.candidate, version.candidate),
            f"{version.created_at:%m-%d %H:%M}",
            version.measured,
        )
    console.print(table)
