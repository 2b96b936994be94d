"""The command line: every job as a command that says what it does and what comes next."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from flows.console import console, flow_messages, progress_bar, run_progress
from flows.faults import in_words
from flows.keys import app as keys_app
from flows.preflight import check_folder, check_output, check_port, check_room
from sensei.errors import InvalidInput
from sensei.settings import Settings

if TYPE_CHECKING:
    from flows.summary import RunSummary
    from sensei.importing import Imported

ROOT = Path(__file__).resolve().parents[1]
Split = Literal["time", "learner"]
Promotion = Literal["auto", "review"]
Effort = Annotated[
    Literal["quick", "full"],
    typer.Option(help="quick: few networks, once; full: every one, three times."),
]
INTERRUPTED = 130
"""Exit code after Ctrl-C, by convention 128 + SIGINT."""


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Cyber-Sensei's personalisation: what to study next, and how hard.",
)
curriculum_app = typer.Typer(no_args_is_help=True, help="The catalogue of topics and resources.")
db_app = typer.Typer(no_args_is_help=True, help="The log's database.")
app.add_typer(curriculum_app, name="curriculum")
app.add_typer(db_app, name="db")
app.add_typer(keys_app, name="keys")


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    """Options that every command shares."""


@app.command()
def run(
    days: Annotated[int, typer.Option(min=1, help="Targets of the last so many days.")] = 90,
    split: Annotated[
        Split, typer.Option(help="time, or learner where a log knows only order.")
    ] = "time",
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
    effort: Effort = "quick",
) -> None:
    """The main job: read the log, train, compare, promote, package, report.

    An empty log is first filled with simulated learners, and marked as a demo.
    """
    from flows.own_log import fill_empty_log
    from flows.summary import show_summary

    settings = Settings()
    with run_progress() as say:
        fill_empty_log(settings, say)
        summary = _train(settings, days, split, seed, "auto", effort, say)
    show_summary(console, summary)


@app.command()
def train(
    days: Annotated[int, typer.Option(min=1, help="Targets of the last so many days.")] = 90,
    split: Annotated[
        Split, typer.Option(help="time, or learner where a log knows only order.")
    ] = "time",
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
    promotion: Annotated[
        Promotion, typer.Option(help="auto: what passes the gate; review: a person decides.")
    ] = "auto",
    effort: Effort = "quick",
) -> None:
    """Train on the log as it is, and promote what passes the gate."""
    from flows.summary import show_summary

    with run_progress() as say:
        summary = _train(Settings(), days, split, seed, promotion, effort, say)
    show_summary(console, summary)


def _train(
    settings: Settings,
    days: int,
    split: Split,
    seed: int | None,
    promotion: Promotion,
    effort: Literal["quick", "full"],
    say: Callable[[str], None],
) -> "RunSummary":
    from flows.own_log import open_own_log, refuse_empty

    refuse_empty(open_own_log(settings))
    check_room(settings.root)
    say("Prefect: starting its engine, about 20 seconds where no server runs")
    from flows.train_models import train_models

    with flow_messages(say):
        return train_models(
            window_days=days,
            split=split,
            seed=settings.seed if seed is None else seed,
            promotion=promotion,
            effort=effort,
        )


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSON Lines or Parquet files.")],
    renamed: Annotated[
        list[str] | None, typer.Option("--map", help="theirs=ours, for a column named otherwise.")
    ] = None,
) -> None:
    """Append the interactions of files to the log; bad rows go into quarantine with a reason."""
    from flows.own_log import open_own_log
    from flows.summary import command, show_import
    from sensei.importing import import_files

    settings = Settings()
    mapping = _mapping(renamed or [])
    log = open_own_log(settings)
    with progress_bar("Importing") as progress:
        imported = import_files(log, files, mapping, progress)
    show_import(console, imported)
    _refuse_nothing(imported)
    console.print(f"Next: {command()} run")


def _refuse_nothing(imported: "Imported") -> None:
    """Say it as an error where no row at all could be used."""
    if not imported.read:
        raise InvalidInput("rows: expected some, got none; check the file")
    if imported.quarantined == imported.read:
        raise InvalidInput(
            f"rows: expected some that can be used, got none: {imported.examples[0]}"
        )


def _mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Parse `theirs=ours` pairs; `theirs=` leaves a column out."""
    mapping = {}
    for pair in pairs:
        theirs, equals, ours = pair.partition("=")
        if not (theirs and equals):
            raise InvalidInput(
                f"--map: expected theirs=ours, got {pair!r}; `theirs=` leaves a column out"
            )
        mapping[theirs] = ours
    return mapping


@app.command()
def simulate(
    learners: Annotated[int, typer.Option(min=1, max=100_000)] = 300,
    days: Annotated[int, typer.Option(min=1, max=3_650)] = 60,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Fill an empty log with simulated learners; the database is then marked as a demo."""
    from flows.own_log import last_midnight, open_own_log, simulate_into
    from flows.summary import command

    settings = Settings()
    with run_progress() as say:
        simulate_into(open_own_log(settings), learners, days, seed, last_midnight(), say)
    console.print(f"Next: {command()} run")


@app.command()
def serve(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; by default SENSEI_SERVICE_PORT.")
    ] = None,
) -> None:
    """Answer over HTTP until Ctrl-C."""
    settings = Settings()
    listen = settings.service_port if port is None else port
    check_port(settings.service_host, listen, "SENSEI_SERVICE_PORT or --port")
    arguments = ["serve", "serving.service:SenseiService", "--working-dir", str(ROOT)]
    arguments += ["--host", settings.service_host, "--port", str(listen)]
    console.print(f"Listening on http://{settings.service_host}:{listen} (Ctrl-C ends)")
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *arguments])  # noqa: S606


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet, in the data contract.")],
    split: Annotated[
        str, typer.Option(help="learner, time, column:NAME or column:metadata.NAME.")
    ] = "time",
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder to draw pictures into.")] = None,
    renamed: Annotated[
        list[str] | None, typer.Option("--map", help="theirs=ours, for a column named otherwise.")
    ] = None,
    models: Annotated[
        str, typer.Option(help="Names with commas between; by default those of the effort.")
    ] = "",
    effort: Effort = "quick",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Train each network so often; default: the effort's.")
    ] = None,
    setting: Annotated[
        Literal["fast", "sketch"], typer.Option(help="How the reference networks are fitted.")
    ] = "fast",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do not go on from what an earlier call kept.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of resampling, and the first of training.")] = 0,
) -> None:
    """Measure every model on any log by one protocol, without the database.

    Models that are done are kept under SENSEI_HOME: the same command again goes on from there.
    """
    from flows.summary import show_evaluation, show_import
    from sensei.importing import read_frame
    from training import fit
    from training.candidates import check_names
    from training.evaluate import evaluate as run_protocol
    from training.recipes import EFFORTS
    from training.score_cache import ScoreCache

    mapping = _mapping(renamed or [])
    wanted = [name.strip() for name in models.split(",") if name.strip()]
    check_names(wanted)
    kept = Settings().evaluations
    if out:
        check_output(out)
    if plots:
        check_folder(plots)
    fitted = {each.name: each for each in (fit.FAST, fit.SKETCH)}[setting]
    with run_progress() as say:
        say(f"Read: {file}")
        frame, imported = read_frame(file, mapping, _kept(split))
        _refuse_nothing(imported)
        check_room(kept)
        result = run_protocol(
            frame,
            split,
            seed,
            replace(EFFORTS[effort], setting=fitted),
            wanted,
            seeds,
            cache=lambda digest: ScoreCache(kept, digest, fresh),
            say=say,
            plots=plots,
        )
    if out:
        out.write_text(result.to_json() + "\n", "utf-8")
    show_import(console, imported)
    show_evaluation(console, result, out, plots)


def _kept(split: str) -> list[str]:
    """The column of the file that a split names, where it stands outside the metadata."""
    _, column, name = split.partition("column:")
    return [name] if column and name and not name.startswith("metadata.") else []


@app.command()
def models() -> None:
    """The registered versions: what answers learners, what waits, how each measured."""
    from flows.summary import show_versions
    from training.registry import Registry

    settings = Settings()
    registry = Registry(settings.tracking_uri, settings.artifacts)
    show_versions(console, registry.versions())


@curriculum_app.command("load")
def curriculum_load(
    file: Annotated[Path | None, typer.Argument(help="JSON file; none: our own.")] = None,
) -> None:
    """Replace the catalogue of topics and resources by a file's."""
    from flows.own_log import open_own_log
    from flows.summary import command
    from sensei import curriculum

    catalogue = curriculum.load_file(file)
    curriculum.store(open_own_log(Settings()).engine, catalogue)
    console.print(f"{len(catalogue.topics)} topics loaded. Next: {command()} run")


@db_app.command("upgrade")
def db_upgrade() -> None:
    """Make the database, or bring its tables up to date."""
    from sensei import database

    database.upgrade(Settings().log_url)
    console.print("The database is up to date.")


@db_app.command("copy")
def db_copy(to: Annotated[str, typer.Option(help="SQLAlchemy URL of the new database.")]) -> None:
    """Copy everything into another, empty database."""
    from sensei.copying import copy_database

    copy_database(Settings().log_url, to)
    console.print("Copied. Next: set SENSEI_DATABASE_URL to the new database.")


def main() -> None:
    """Entry point of the `sensei` command: an error is one sentence with the next step."""
    try:
        for name, value in Settings().environment().items():
            os.environ.setdefault(name, value)
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        code = app(standalone_mode=False)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        said = in_words(error)
        if said:
            console.print(f"[red]error:[/red] {escape(said)}", soft_wrap=True)
        raise SystemExit(1) from error
    if code == INTERRUPTED:
        console.print("Stopped. Nothing is half-written: repeat the command to go on.")
    raise SystemExit(code)
