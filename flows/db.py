"""`sensei db`: the log's database."""

from typing import Annotated

import typer

from flows.console import console
from sensei.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The log's database.")


@app.command("upgrade")
def upgrade() -> None:
    """Make the database, or bring its tables up to date."""
    from sensei import database

    database.upgrade(Settings().log_url)
    console.print("The database is up to date.")


@app.command("copy")
def copy(to: Annotated[str, typer.Option(help="SQLAlchemy URL of the new database.")]) -> None:
    """Copy everything into another, empty database."""
    from sensei.copying import copy_database

    copy_database(Settings().log_url, to)
    console.print("Copied. Next: set SENSEI_DATABASE_URL to the new database.")
