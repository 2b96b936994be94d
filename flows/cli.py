"""The command line: every job of the project as a command that says what it does and what comes next."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from flows.console import console, progress_bar, run_progress
from sensei.errors import SenseiError
from sensei.settings import Settings


class _OneSentence(TyperGroup):
    """A command group whose errors are one sentence with the next step, exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SenseiError as error:
            if ctx.params.get("debug"):
                raise
            console.print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        except (KeyboardInterrupt, click.Abort):
            console.print("[yellow]stopped[/yellow]; what was acknowledged is kept, repeat at will")
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            console.print(
                f"[red]unexpected {type(error).__name__}:[/red] {error}\n"
                "Run the same command as `sensei --debug ...` to see where it comes from.",
                highlight=False,
                soft_wrap=True,
            )
        raise typer.Exit(1)


app = typer.Typer(
    cls=_OneSentence,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Cyber-Sensei's personalisation: what to study next, and how hard.",
)
curriculum_app = typer.Typer(no_args_is_help=True, help="The catalogue of topics and resources.")
db_app = typer.Typer(no_args_is_help=True, help="The log's database.")
app.add_typer(curriculum_app, name="curriculum")
app.add_typer(db_app, name="db")


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    """Options that every command shares."""


@app.command()
def run(
    days: Annotated[int, typer.Option(min=1, help="Targets of the last so many days.")] = 90,
    split: Annotated[
        str, typer.Option(help="time, or learner where a log knows only order.")
    ] = "time",
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
) -> None:
    """The main job: read the log, train, compare, promote, package, report.

    An empty log is first filled with simulated learners, and marked as a demo.
    """
    from flows.demo import fill_empty_log
    from flows.summary import show_summary

    settings = Settings()
    with run_progress() as say:
        fill_empty_log(settings, say)
        summary = _train(settings, days, split, seed, "auto", say)
    show_summary(console, summary)


@app.command()
def train(
    days: Annotated[int, typer.Option(min=1, help="Targets of the last so many days.")] = 90,
    split: Annotated[
        str, typer.Option(help="time, or learner where a log knows only order.")
    ] = "time",
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
    promotion: Annotated[
        str, typer.Option(help="auto: promote what passes the gate; review: leave it to a person.")
    ] = "auto",
) -> None:
    """Train on the log as it is, and promote what passes the gate."""
    from flows.summary import show_summary

    with run_progress() as say:
        summary = _train(Settings(), days, split, seed, promotion, say)
    show_summary(console, summary)


def _train(
    settings: Settings, days: int, split: str, seed: int | None, promotion: str, say: Any
) -> Any:
    say("Starting Prefect's engine: about 20 seconds when no server runs")
    from flows.train_models import train_models

    return train_models(
        window_days=days,
        split=split,
        seed=settings.seed if seed is None else seed,
        promotion=promotion,
    )


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSON Lines or Parquet files.")],
    renamed: Annotated[
        list[str] | None, typer.Option("--map", help="theirs=ours, for a column named otherwise.")
    ] = None,
) -> None:
    """Append the interactions of files to the log; bad rows go into quarantine with a reason."""
    from flows.summary import show_import
    from sensei.importing import import_files
    from sensei.log import open_log

    settings = Settings()
    mapping = _mapping(renamed or [])
    log = open_log(settings.log_url)
    with progress_bar("Importing") as progress:
        imported = import_files(log, files, mapping, progress)
    show_import(console, imported)


def _mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Parse `theirs=ours` pairs."""
    mapping = {}
    for pair in pairs:
        theirs, equals, ours = pair.partition("=")
        if not (theirs and equals and ours):
            raise typer.BadParameter(f"expected theirs=ours, got {pair!r}", param_hint="--map")
        mapping[theirs] = ours
    return mapping


@app.command()
def simulate(
    learners: Annotated[int, typer.Option(min=1)] = 300,
    days: Annotated[int, typer.Option(min=1)] = 60,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Fill an empty log with simulated learners; the database is then marked as a demo."""
    from flows.demo import simulate_into
    from sensei.log import open_log

    settings = Settings()
    with run_progress() as say:
        simulate_into(open_log(settings.log_url), learners, days, seed, datetime.now(UTC), say)
    console.print("Next: [bold]sensei run[/bold]")


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Port; by default SENSEI_SERVICE_PORT.")] = None,
) -> None:
    """Answer over HTTP until Ctrl-C."""
    from flows.serving import serve_until_interrupted

    serve_until_interrupted(Settings(), port, console)


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet, in the data contract.")],
    split: Annotated[
        str, typer.Option(help="learner, time, column:NAME or column:metadata.NAME.")
    ] = "time",
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    renamed: Annotated[
        list[str] | None, typer.Option("--map", help="theirs=ours, for a column named otherwise.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Measure every model on any log by one protocol, without the database."""
    from flows.evaluate_log import evaluate_log
    from flows.summary import show_evaluation

    with run_progress() as say:
        result = evaluate_log(file, split, _mapping(renamed or []), seed, out, say)
    show_evaluation(console, result, out)


@app.command()
def models() -> None:
    """The registered versions: what answers learners, what waits, how each measured."""
    from flows.summary import show_versions

    show_versions(console, Settings())


@curriculum_app.command("load")
def curriculum_load(
    file: Annotated[Path | None, typer.Argument(help="JSON file; none: our own.")] = None,
) -> None:
    """Replace the catalogue of topics and resources by a file's."""
    from sensei import curriculum
    from sensei.log import open_log

    catalogue = curriculum.load_file(file)
    curriculum.store(open_log(Settings().log_url).engine, catalogue)
    console.print(f"{len(catalogue.topics)} topics loaded. Next: [bold]sensei run[/bold]")


@db_app.command("upgrade")
def db_upgrade() -> None:
    """Make the database, or bring its tables up to date."""
    from sensei.log import upgrade

    url = Settings().log_url
    upgrade(url)
    console.print("The database is up to date.")


@db_app.command("copy")
def db_copy(to: Annotated[str, typer.Option(help="SQLAlchemy URL of the new database.")]) -> None:
    """Copy everything into another, empty database."""
    from sensei.log import copy_database

    copy_database(Settings().log_url, to)
    console.print("Copied. Next: set SENSEI_DATABASE_URL to the new database.")


def main() -> None:
    """Entry point of the `sensei` command."""
    for name, value in Settings().environment().items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    app()
