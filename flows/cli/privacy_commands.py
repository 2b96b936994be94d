"""`sensei learner` and `sensei audit`: one learner's data, and who changed or read what."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.presentation.terminal import console
from sensei.app_state import RETRAINING_DUE
from sensei.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

learner_app = typer.Typer(no_args_is_help=True, help="Export, erase or merge learners.")
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
    from sensei.privacy.look_alikes import stored_id

    check_output(out)
    settings = Settings()
    engine = open_own_log(settings).engine
    name = stored_id(engine, name)
    tables = erasure.export(engine, name, settings.suppression)
    out.write_bytes(orjson.dumps({"user_id": name, "held": tables}, option=orjson.OPT_INDENT_2))
    rows = sum(map(len, tables.values()))
    console.print(f"{rows:,} rows written to {out}", soft_wrap=True, markup=False)
    _name_look_alikes(engine, name)


@learner_app.command("erase")
def erase(name: Name) -> None:
    """Erase a learner permanently: later events about this user_id are refused."""
    from flows.local.local_log import open_own_log
    from sensei.privacy import erasure
    from sensei.privacy.look_alikes import stored_id

    settings = Settings()
    log = open_own_log(settings)
    name = stored_id(log.engine, name)
    counts = erasure.erase(log.engine, name, settings.emptied_by_erase, settings.suppression)
    console.print(f"{sum(counts.values()):,} rows erased; extracts and caches are removed.")
    _name_look_alikes(log.engine, name)
    due = log.get_fact(RETRAINING_DUE)
    if due and due["bundle"] == log.pointer():
        console.print("The bundle in use may have been trained on them. Next: sensei train")


@learner_app.command("merge")
def merge(
    former: Annotated[str, typer.Argument(help="The user_id that is given up.")],
    into: Annotated[str, typer.Argument(help="The user_id that remains.")],
) -> None:
    """Make two learners one: all events of the first, later ones too, count for the second."""
    from flows.local.local_log import open_own_log
    from sensei.corrections.merging import merge_learners
    from sensei.privacy.look_alikes import stored_id

    settings = Settings()
    engine = open_own_log(settings).engine
    names = stored_id(engine, former), stored_id(engine, into)
    moved, clashes = merge_learners(engine, *names, suppression=settings.suppression)
    console.print(f"{moved:,} rows moved; later events of the first arrive at the second.")
    if clashes:
        console.print(
            f"{clashes:,} events have new ids, as the second has other events under theirs; "
            "`sensei learner export` shows them.",
            soft_wrap=True,
        )


def _name_look_alikes(engine: "Engine", name: str) -> None:
    """Name the learners whose ids look the same: an old log may hold one person twice."""
    from sensei.privacy.look_alikes import look_alikes

    if names := look_alikes(engine, name):
        shown = ", ".join(ascii(name) for name in names)
        console.print(
            f"Other learners look the same and are not included: {shown}. If they are the same "
            "person, repeat the command with each.",
            soft_wrap=True,
            markup=False,
        )


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
