"""`sensei status`, `doctor` and `results`: state of this installation and its last run."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.doctor import checkup
from flows.local.prefect_auth import use_known_auth_string
from flows.local.service_probe import ServerProbe, ask_prefect, neighbours, prefect_api
from flows.presentation.phrases import (
    ago,
    figures_in_words,
    monitored_at,
    trial_in_words,
    verdict_in_words,
)
from flows.presentation.terminal import console
from flows.presentation.terminal_document import show_document
from sensei.errors import SenseiError, StorageUnavailable
from sensei.private_files import make_private
from sensei.settings import Settings

if TYPE_CHECKING:
    from sensei.events.log import Log
    from training.release.ledger import LedgerEntry
    from training.tracking.mlflow_status import Tracked

Rows = list[tuple[str, str]]
"""Rows of the status table: label and text."""


def status() -> None:
    """Show the servers, the champions, their live figures, and what waits for a person."""
    from flows.presentation.run_summary import command

    settings, now = Settings(), datetime.now(UTC)
    use_known_auth_string(settings)
    around = neighbours(settings)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for label, text in (("Servers", servers(around)), *_inside(settings, around, now)):
        table.add_row(label, escape(text))
    console.print(f"[bold]{settings.root}[/bold]  {now:%Y-%m-%d %H:%M} UTC", soft_wrap=True)
    console.print(table)
    console.print(f"Problems and fixes: {command()} doctor", soft_wrap=True)


def results() -> None:
    """Show all results of the last training run: figures, checks of the gate, reports."""
    from flows.local.local_log import open_own_log
    from flows.presentation.run_summary import LAST_RESULTS, command, read_document

    stored = open_own_log(Settings()).get_fact(LAST_RESULTS)
    if stored is None:
        console.print("No training run has finished yet.")
        console.print(f"Next: {command()} run", soft_wrap=True)
        return
    show_document(console, read_document(stored))


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="First make all files of the home private.")
    ] = False,
) -> None:
    """Report misconfigurations and how to fix them; exit with 1 if there is any."""
    settings, wrong = Settings(), 0
    if repair:
        closed = make_private(settings.root)
        console.print(f"Made private: {closed:,} files and folders that others could read.")
    use_known_auth_string(settings)
    for finding in checkup(settings, os.environ, neighbours(settings), datetime.now(UTC)):
        mark = "[red]WRONG[/red]" if finding.fix else "[green]ok[/green]   "
        console.print(f"{mark}  {finding.name}: {escape(finding.said)}", soft_wrap=True)
        if finding.fix:
            console.print(f"       fix: {escape(finding.fix)}", soft_wrap=True)
        wrong += bool(finding.fix)
    if wrong:
        console.print(f"{wrong} to fix.")
        raise typer.Exit(1)
    console.print("No problems found.")


def servers(around: Sequence[ServerProbe]) -> str:
    """Describe the state of all servers in one line."""
    states = []
    for probe in around:
        trouble = f" ({probe.said})" if probe.name == "service" and probe.said else ""
        states.append(f"{probe.name} {probe.port} {probe.state}{trouble}")
    return ", ".join(states)


def _inside(settings: Settings, around: Sequence[ServerProbe], now: datetime) -> Rows:
    """Describe log, ledger and MLflow; one sentence if the log does not answer."""
    from sensei.events.log import open_log

    if not settings.database_url and not (settings.root / "sensei.db").exists():
        return [("Log", "none yet: `sensei run`")]
    try:
        log = open_log(settings.log_url)
        return [
            ("Log", _log(log, now)),
            *_versions(settings, log, now),
            ("Last run", last_run(settings, around, now)),
            *_live(log, now),
            ("Guards", guards(settings, log, now)),
        ]
    except SenseiError as error:
        return [("Log", str(error))]


def _log(log: "Log", now: datetime) -> str:
    from sensei.app_state import DEMO

    last, simulated = log.last_event(), " (simulated)" if log.get_fact(DEMO) else ""
    newest = f", the last one {ago(last, now)}" if last else ""
    return f"{log.count():,} interactions{simulated}{newest}"


def _versions(settings: Settings, log: "Log", now: datetime) -> Rows:
    """Describe the champions, their bundle, and the versions that wait for a person."""
    from training.release import ledger

    lines, digest = ledger.read(log), log.pointer()
    serving = f"{digest[:12]}" if digest else "none: answers follow the curriculum"
    if digest and not (settings.bundles / digest).is_dir():
        serving += ", NOT in " + str(settings.bundles)
    try:
        waiting = _waiting(_tracked(settings), ledger.champions(lines))
    except StorageUnavailable as error:
        waiting = f"unknown: {error}"
    return [("Champions", champions(lines, now)), ("Bundle", serving), ("Waiting", waiting)]


def champions(lines: Sequence["LedgerEntry"], now: datetime) -> str:
    """Describe the champion of each model, since when it serves and who decided."""
    newest = {line.model: line for line in lines}
    texts = [
        f"{model} {line.to_version} since {line.created_at:%Y-%m-%d %H:%M} "
        f"({ago(line.created_at, now)}), by {line.decided_by}"
        + (f", {line.status.upper()}" if line.status == "pending" else "")
        for model, line in newest.items()
    ]
    return "\n".join(texts) or "none yet: `sensei run`"


def _tracked(settings: Settings) -> "Tracked":
    from sensei.model_name import ModelName
    from training.tracking.mlflow_status import read_tracked

    return read_tracked(settings.tracking_uri, list(ModelName))


def _waiting(tracked: "Tracked", champion: dict[str, str]) -> str:
    """List the challengers without those that became champion."""
    waiting = [
        f"{alias.model} {alias.version}"
        for alias in tracked.aliases
        if alias.alias == "challenger" and champion.get(alias.model) != alias.version
    ]
    return ", ".join(waiting) or "no challenger"


def last_run(settings: Settings, around: Sequence[ServerProbe], now: datetime) -> str:
    """Describe the newest training run that Prefect or MLflow knows.

    MLflow alone knows a run without a server; Prefect alone knows a run that failed early.
    """
    runs = []
    has_address = "PREFECT_API_URL" in os.environ
    if has_address or any(probe.name == "Prefect" and probe.state == "answers" for probe in around):
        for run in ask_prefect(prefect_api(settings), "/flow_runs/filter", _NEWEST) or []:
            moment = datetime.fromisoformat(run["start_time"])
            runs.append((moment, f"{run['name']}, {run['state_name'].lower()}", "Prefect"))
    try:
        tracked = _tracked(settings).last_run
    except StorageUnavailable as error:
        if not runs:
            return f"unknown: {error}"
    else:
        if tracked:
            text = f"{tracked.name}, {tracked.status.lower()}"
            runs.append((tracked.started_at, text, "MLflow"))
    if not runs:
        return "none yet"
    moment, text, source = max(runs)
    return f"{text}, started {ago(moment, now)} ({source})"


_NEWEST: dict[str, Any] = {
    "flows": {"name": {"any_": ["train-models"]}},
    "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED", "PENDING"]}}},
    "sort": "START_TIME_DESC",
    "limit": 1,
}


def _live(log: "Log", now: datetime) -> Rows:
    """Describe the monitor's findings, the running A/B test, and if retraining is due."""
    from sensei.ab_test_state import current
    from sensei.app_state import MONITORED, RETRAINING_DUE

    monitored, due, trial = log.get_fact(MONITORED), log.get_fact(RETRAINING_DUE), current(log)
    moment, rows = monitored_at(monitored), []
    if monitored is None or moment is None:
        rows.append(("Monitor", "never ran: `sensei monitor`"))
    else:
        rows.append(("Monitor", f"{figures_in_words(monitored)}; {ago(moment, now)}"))
        rows.append(("Alarms", "\n".join(monitored.get("alarms") or []) or "none"))
    tried = trial and f"{trial_in_words(trial, now)}. {verdict_in_words(monitored, trial, now)}"
    rows.append(("Trial", tried or "none"))
    rows.append(("Retraining", retraining(due, log.pointer())))
    return rows


def guards(settings: Settings, log: "Log", now: datetime) -> str:
    """Describe volume, freshness, refused rows and the ages of runs, a line for each."""
    from flows.tasks.guard_readings import judge_guards

    return "\n".join(
        f"{verdict.guard}: {verdict.sentence}" + (" - ALARM" if verdict.fires else "")
        for verdict in judge_guards(settings, log, now)
    )


def retraining(due: Any, serving: str | None) -> str:
    """Describe if retraining is due, because a learner of the training data was erased."""
    if not isinstance(due, dict) or due.get("bundle") != serving:
        return "not due"
    return f"due since {str(due.get('since'))[:10]}: {due.get('reason')}; `sensei train`"
