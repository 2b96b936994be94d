"""`sensei import`, `simulate` and `curriculum`: interactions and topics to train on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.presentation.terminal import console, progress_bar, run_progress
from sensei.errors import InvalidInput
from sensei.settings import Settings

if TYPE_CHECKING:
    from sensei.events.importer import ImportSummary

curriculum_app = typer.Typer(no_args_is_help=True, help="The catalogue of topics and resources.")

Renamed = Annotated[
    list[str] | None, typer.Option("--map", help="theirs=ours, for a column with another name.")
]


def mapping_of(pairs: Sequence[str] | None) -> dict[str, str]:
    """Parse `theirs=ours` pairs into a mapping from their column to ours.

    `theirs=` leaves a column out.

    Raises:
        InvalidInput: a text is not such a pair.
    """
    mapping = {}
    for pair in pairs or ():
        theirs, equals, ours = pair.partition("=")
        if not (theirs and equals):
            raise InvalidInput(
                f"--map: expected theirs=ours, got {pair!r}; `theirs=` leaves a column out"
            )
        mapping[theirs] = ours
    return mapping


def refuse_useless(imported: "ImportSummary") -> None:
    """Raise an error if no row of an import is usable.

    Raises:
        InvalidInput: there was no row, or all rows were refused.
    """
    if not imported.read:
        raise InvalidInput("rows: expected some, got none; check the file")
    if imported.quarantined == imported.read:
        raise InvalidInput(
            f"rows: expected some that can be used, got none: {imported.examples[0]}"
        )


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="CSV, JSON Lines or Parquet files; or `list`, or `undo ID`, for earlier imports."
        ),
    ],
    renamed: Renamed = None,
    corrections: Annotated[
        bool, typer.Option("--corrections", help="The files hold corrections of stored events.")
    ] = False,
) -> None:
    """Append the interactions of files to the log; quarantine bad rows with a reason."""
    match [str(file) for file in files]:
        case ["list"]:
            return _list_imports()
        case ["undo", import_id]:
            return _undo_import(import_id)
    if corrections:
        return _correct(files)
    return _import(files, renamed)


def _import(files: Sequence[Path], renamed: Renamed) -> None:
    from flows.local.local_log import open_own_log
    from flows.presentation.run_summary import command, show_import
    from sensei.events.importer import import_files

    settings = Settings()
    mapping = mapping_of(renamed)
    log = open_own_log(settings)
    with progress_bar("Importing") as progress:
        imported = import_files(log, files, mapping, progress)
    show_import(console, imported)
    refuse_useless(imported)
    console.print(f"Next: {command()} run", soft_wrap=True)


def _list_imports() -> None:
    from flows.local.local_log import open_own_log
    from sensei.corrections.imports import newest_imports

    for row in newest_imports(open_own_log(Settings()).engine, 50):
        moment = f"{row.created_at:%Y-%m-%d %H:%M}"
        line = f"{row.id:>6}  {moment}  {row.rows:>10,} rows  {row.source}  {row.actor}"
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _undo_import(import_id: str) -> None:
    from flows.local.local_log import open_own_log
    from sensei.corrections.imports import undo_import

    if not import_id.isdecimal():
        raise InvalidInput(f"import: expected the number of an import, got {import_id!r}; send one")
    voided = undo_import(open_own_log(Settings()).engine, int(import_id))
    console.print(f"{voided:,} events of import {int(import_id)} voided.")


def _correct(files: Sequence[Path]) -> None:
    from flows.local.local_log import open_own_log
    from sensei.corrections.correction_files import correct_from_file

    settings = Settings()
    log = open_own_log(settings)
    for path in files:
        summary = correct_from_file(log, path, settings.suppression)
        console.print(
            f"{path.name}: {summary.read:,} corrections: {summary.changed:,} changed an event, "
            f"{summary.unchanged:,} were known, {summary.unknown:,} name no stored event, "
            f"{summary.refused:,} refused, {summary.erased:,} of erased learners",
            soft_wrap=True,
            markup=False,
        )
        for example in summary.examples:
            console.print(f"  {example}", soft_wrap=True, markup=False)


def simulate(
    learners: Annotated[int, typer.Option(min=1, max=100_000)] = 300,
    days: Annotated[int, typer.Option(min=1, max=3_650)] = 60,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Fill an empty log with simulated learners; the database is then marked as a demo."""
    from flows.local.local_log import last_midnight, open_own_log, simulate_into
    from flows.presentation.run_summary import command

    settings = Settings()
    with run_progress() as say:
        simulate_into(open_own_log(settings), learners, days, seed, last_midnight(), say)
    console.print(f"Next: {command()} run", soft_wrap=True)


@curriculum_app.command("load")
def load(
    file: Annotated[
        Path | None, typer.Argument(help="JSON file; by default the included curriculum.")
    ] = None,
) -> None:
    """Replace the catalogue of topics and resources with the content of a file."""
    from flows.local.local_log import open_own_log
    from flows.presentation.run_summary import command
    from sensei import curriculum
    from sensei.events.aggregates import outside_catalogue

    catalogue, log = curriculum.load_file(file), open_own_log(Settings())
    curriculum.store(log.engine, catalogue)
    if outside := outside_catalogue(log.engine):
        console.print(f"{curriculum.describe_outside(outside)}.", soft_wrap=True)
    retired = len(catalogue.topics) - len(catalogue.offered)
    loaded = f"{len(catalogue.offered)} topics loaded" + (f", {retired} retired" if retired else "")
    console.print(f"{loaded}. Next: {command()} run", soft_wrap=True)
