"""`sensei learner` and `sensei audit`: one learner's data, and who changed or read what."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.presentation.terminal import console
from sensei.app_state import RETRAINING_DUE
from sensei.settings import Settings

learner_app = typer.Typer(no_args_is_help=True, help="Export or erase the data of one learner.")
Name = Annotated[str, typer.Argument(help="The learner's user_id.")]


@learner_app.command("export")
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
    tables = erasure.export(open_own_log(settings).engine, name, settings.suppression)
    out.write_bytes(orjson.dumps({"user_id": name, "held": tables}, option=orjson.OPT_INDENT_2))
    rows = sum(map(len, tables.values()))
    console.print(f"{rows:,} rows written to {out}", soft_wrap=True, markup=False)


@learner_app.command("erase")
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


def audit(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of entries.")] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list, for programs.")
    ] = False,
) -> None:
    """Show who erased, exported, changed keys or changed what serves; newest first."""
    import orjson

    from flows.local.local_log import open_own_log
    from sensei.privacy import audit_log

    entries = audit_log.newest(open_own_log(Settings()).engine, limit)
    if as_json:
        typer.echo(orjson.dumps([asdict(entry) for entry in entries], option=orjson.OPT_INDENT_2))
        return
    if not entries:
        console.print("No entry yet.")
        return
    table = Table(title="Audit log (UTC, newest first)", title_justify="left")
    for heading in ("when", "who", "from", "what", "learner (digest)", "detail"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        detail = ", ".join(f"{name} {value}" for name, value in entry.detail.items())
        moment = f"{entry.at:%Y-%m-%d %H:%M:%S}"
        learner = (entry.subject or "-")[:16]
        cells = (moment, entry.actor, entry.origin, entry.action, learner, detail or "-")
        table.add_row(*map(escape, cells))
    console.print(table)
