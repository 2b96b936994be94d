"""`sensei learner`: export and erasure of one learner's data."""

from pathlib import Path
from typing import Annotated

import typer

from flows.presentation.terminal import console
from sensei.app_state import RETRAINING_DUE
from sensei.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Export or erase the data of one learner.")
Name = Annotated[str, typer.Argument(help="The learner's user_id.")]


@app.command("export")
def export(
    name: Name, out: Annotated[Path, typer.Option(help="JSON file to write.", dir_okay=False)]
) -> None:
    """Write all stored data of a learner into a file."""
    import orjson

    from flows.local.local_log import open_own_log
    from flows.local.preflight import check_output
    from sensei.privacy import erasure

    check_output(out)
    settings = Settings()
    held = erasure.export(open_own_log(settings).engine, name, settings.suppression)
    out.write_bytes(orjson.dumps({"user_id": name, "held": held}, option=orjson.OPT_INDENT_2))
    rows = sum(map(len, held.values()))
    console.print(f"{rows:,} rows written to {out}", soft_wrap=True, markup=False)


@app.command("erase")
def erase(name: Name) -> None:
    """Erase a learner permanently: later events about this user_id are refused."""
    from flows.local.local_log import open_own_log
    from sensei.privacy import erasure

    settings = Settings()
    log = open_own_log(settings)
    counts = erasure.erase(log.engine, name, settings.emptied_by_erase, settings.suppression)
    console.print(f"{sum(counts.values()):,} rows erased; extracts and caches are removed.")
    due = log.get_fact(RETRAINING_DUE)
    if due and due["bundle"] == log.pointer():
        console.print("The bundle in use may have been trained on them. Next: sensei train")
