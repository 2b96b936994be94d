"""Command line entry point: one command per job, each with its result and the next step."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from errno import EACCES, EDQUOT, ENOSPC, EROFS
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from flows.cli.ab_test_commands import app as trial_app
from flows.cli.data_commands import curriculum_app, import_, simulate
from flows.cli.db_commands import app as db_app
from flows.cli.evaluate_command import Effort, Models, evaluate, names_of
from flows.cli.export_command import export
from flows.cli.key_commands import app as keys_app
from flows.cli.privacy_commands import audit, learner_app
from flows.cli.promotion_commands import models, promote, reconcile, rollback
from flows.cli.status_commands import champions, doctor, results, status
from flows.local.preflight import check_port, check_room
from flows.local.service_probe import use_prefect
from flows.presentation.terminal import (
    RunDisplay,
    console,
    flow_messages,
    run_progress,
)
from flows.presentation.terminal_document import show_document
from sensei.errors import SenseiError
from sensei.private_files import keep_files_private
from sensei.settings import Settings

if TYPE_CHECKING:
    from flows.presentation.run_summary import RunSummary

ROOT = Path(__file__).resolve().parents[2]
Days = Annotated[int, typer.Option(min=1, help="Window of the training targets, in days.")]
Split = Annotated[
    Literal["time", "learner"], typer.Option(help="time, or learner if a log has no real times.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of every random choice.")]
INTERRUPTED = 130
"""Exit code after Ctrl-C, by convention 128 + SIGINT."""
_FULL = "free some space, then repeat"
_FORBIDDEN = "make it writable, or choose another SENSEI_HOME"
_STORAGE = {ENOSPC: _FULL, EDQUOT: _FULL, EROFS: _FORBIDDEN, EACCES: _FORBIDDEN}
"""Error number of a failed file operation -> next step for the user."""


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Cyber-Sensei's personalisation: recommended topics and quiz difficulty.",
)
app.add_typer(curriculum_app, name="curriculum")
app.add_typer(db_app, name="db")
app.add_typer(keys_app, name="keys")
app.add_typer(learner_app, name="learner")
app.add_typer(trial_app, name="trial")


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    """Accept the options that every command shares."""


@app.command()
def run(
    days: Days = 90,
    split: Split = "time",
    seed: Seed = None,
    effort: Effort = "quick",
) -> None:
    """Run the main job: read the log, train, compare, promote, package, report.

    An empty log is first filled with simulated learners, and marked as a demo.
    """
    from flows.local.local_log import fill_empty_log

    settings = Settings()
    with run_progress() as say:
        fill_empty_log(settings, say)
        summary = _train(settings, days, split, seed, "auto", effort, say)
    _show_results(settings, summary)


@app.command()
def train(
    days: Days = 90,
    split: Split = "time",
    seed: Seed = None,
    promotion: Annotated[
        Literal["auto", "review"],
        typer.Option(help="auto: promote if the gate passes; review: a person decides."),
    ] = "auto",
    effort: Effort = "quick",
    models: Models = None,
) -> None:
    """Train on the log as it is, and promote what passes the gate."""
    from training.candidates import check_run

    settings, wanted = Settings(), names_of(models)
    check_run(wanted)
    with run_progress() as say:
        summary = _train(settings, days, split, seed, promotion, effort, say, wanted)
    _show_results(settings, summary)


def _train(
    settings: Settings,
    days: int,
    split: Literal["time", "learner"],
    seed: int | None,
    promotion: Literal["auto", "review"],
    effort: Literal["quick", "full"],
    say: RunDisplay,
    models: list[str] | None = None,
) -> "RunSummary":
    from flows.local.local_log import open_own_log, refuse_empty
    from training.tracking.mlflow_status import check_store

    refuse_empty(open_own_log(settings))
    check_room(settings.root)
    check_store(settings.tracking_uri)
    use_prefect(settings)
    say("Prefect: starting its engine, about 20 seconds if no server runs")
    from flows.train_models import train_models

    with flow_messages(say):
        return train_models(
            window_days=days,
            split=split,
            seed=settings.seed if seed is None else seed,
            promotion=promotion,
            effort=effort,
            models=models,
        )


def _show_results(settings: Settings, summary: "RunSummary") -> None:
    from flows.presentation.run_summary import show_summary
    from sensei.events.log import open_log
    from training.release import ledger

    lines = ledger.read(open_log(settings.log_url))
    show_summary(console, summary, champions(lines, datetime.now(UTC)))


app.command()(results)
app.command("import")(import_)
app.command()(simulate)


@app.command()
def serve(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; by default SENSEI_SERVICE_PORT.")
    ] = None,
) -> None:
    """Serve over HTTP until Ctrl-C."""
    settings = Settings()
    listen = settings.service_port if port is None else port
    check_port(settings.service_host, listen, "SENSEI_SERVICE_PORT or --port")
    arguments = ["serve", "serving.service:SenseiService", "--working-dir", str(ROOT)]
    arguments += ["--host", settings.service_host, "--port", str(listen)]
    console.print(f"Listening on http://{settings.service_host}:{listen} (Ctrl-C ends)")
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *arguments])  # noqa: S606


@app.command()
def up() -> None:
    """Start Prefect, worker, MLflow, Evidently and the service at once, until Ctrl-C."""
    from flows.local.up import up as start

    raise typer.Exit(start(Settings()))


app.command()(audit)
app.command()(status)
app.command()(doctor)
app.command()(evaluate)
app.command()(export)
app.command()(models)
app.command()(promote)
app.command()(rollback)
app.command()(reconcile)


@app.command()
def monitor() -> None:
    """Measure the outcomes of the last days' answers and the drift, and raise alarms."""
    from flows.local.local_log import open_own_log
    from flows.presentation.monitoring_summary import findings_document

    settings = Settings()
    open_own_log(settings)
    use_prefect(settings)
    with run_progress() as say:
        say("Prefect: starting its engine, about 20 seconds if no server runs")
        from flows.monitor_models import monitor_models

        with flow_messages(say):
            findings = monitor_models()
    show_document(console, findings_document(findings))


def _error_message(error: Exception) -> str:
    """Return the message of an error; empty if the help was shown instead."""
    if isinstance(error, SenseiError):
        return str(error)
    # Errors of Typer's command line share this method, but have no public base class.
    command_line: Callable[[], str] | None = getattr(error, "format_message", None)
    if command_line:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "sensei"
        message = command_line().rstrip(".")  # empty if the help was shown
        return f"{message}; see `{command} --help`" if message else ""
    if isinstance(error, OSError) and error.errno in _STORAGE:
        path = error.filename or "the folder of SENSEI_HOME"
        return f"files: expected to write {path}, got {error.strerror!r}; {_STORAGE[error.errno]}"
    return f"unexpected {type(error).__name__}: {error}; get the traceback with `sensei --debug`"


def main() -> None:
    """Run the `sensei` command and print an error as one sentence with the next step."""
    keep_files_private()
    try:
        for name, value in Settings().environment().items():
            os.environ.setdefault(name, value)
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        code = app(standalone_mode=False)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        message = _error_message(error)
        if message:
            console.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True)
        raise SystemExit(1) from error
    if code == INTERRUPTED:
        console.print("Stopped. No file is incomplete: repeat the command to continue.")
    raise SystemExit(code)
