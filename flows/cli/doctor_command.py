"""`sensei doctor`: misconfigurations and the commands that fix them."""

import os
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from flows.presentation.terminal import console
from sensei.private_files import make_private
from sensei.settings import Settings


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="First make all files of the home private.")
    ] = False,
) -> None:
    """Report misconfigurations and how to fix them; exit with 1 if there is any."""
    from flows.cli.doctor import checkup
    from flows.local.prefect_auth import use_known_auth_string
    from flows.local.service_probe import neighbours

    settings, wrong = Settings(), 0
    if repair:
        closed = make_private(settings.root)
        console.print(f"Made private: {closed:,} files and folders that others could read.")
    use_known_auth_string(settings)
    for each in checkup(settings, os.environ, neighbours(settings), datetime.now(UTC)):
        mark = "[red]WRONG[/red]" if each.fix else "[green]ok[/green]   "
        console.print(f"{mark}  {each.name}: {escape(each.said)}", soft_wrap=True)
        if each.fix:
            console.print(f"       fix: {escape(each.fix)}", soft_wrap=True)
        wrong += bool(each.fix)
    if wrong:
        console.print(f"{wrong} to fix.")
        raise typer.Exit(1)
    console.print("No problems found.")
