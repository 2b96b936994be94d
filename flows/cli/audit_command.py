"""`sensei audit`: audit log of erasures, exports, key changes and serving changes."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.presentation.terminal import console
from sensei.settings import Settings


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
