"""`sensei curriculum`: catalogue of topics and resources."""

from pathlib import Path
from typing import Annotated

import typer

from flows.presentation.terminal import console
from sensei.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The catalogue of topics and resources.")


@app.command("load")
def load(
    file: Annotated[
        Path | None, typer.Argument(help="JSON file; by default the included curriculum.")
    ] = None,
) -> None:
    """Replace the catalogue of topics and resources with the content of a file."""
    from flows.local.local_log import open_own_log
    from flows.presentation.run_summary import command
    from sensei import curriculum

    catalogue = curriculum.load_file(file)
    curriculum.store(open_own_log(Settings()).engine, catalogue)
    console.print(f"{len(catalogue.topics)} topics loaded. Next: {command()} run")
