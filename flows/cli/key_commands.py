"""`sensei keys`: API keys of the service and their roles."""

from typing import Annotated, Literal

import typer
from rich.table import Table

from flows.presentation.terminal import console
from sensei.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Keys of the service.")


@app.command("create")
def create(
    role: Annotated[
        Literal["platform", "operator"],
        typer.Option(help="platform: learners' routes; operator: all routes."),
    ] = "platform",
) -> None:
    """Create a key and show it once. With the first key, the service requires one."""
    from flows.local.local_log import open_own_log
    from sensei.access import key_store

    settings = Settings()
    key, shown = key_store.create(open_own_log(settings).engine, role)
    console.print(f"Key {key.key_id} ({role}), valid within seconds. It is not shown again:")
    console.print(shown, soft_wrap=True)
    console.print("Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
    key_store.remember(settings.root)  # last: the key is shown even if this fails


@app.command("list")
def list_() -> None:
    """List the keys by id, role and date; the keys themselves are not stored."""
    from flows.local.local_log import open_own_log
    from flows.presentation.run_summary import command
    from sensei.access import key_store

    keys = key_store.read(open_own_log(Settings()).engine)
    if not keys:
        console.print(f"No key yet. Next: {command()} keys create --role platform", soft_wrap=True)
        return
    table = Table(title="Keys", title_justify="left")
    for heading in ("id", "role", "created", "revoked"):
        table.add_column(heading, no_wrap=True)
    for key in keys:
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "-"
        table.add_row(key.key_id, key.role, f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    console.print(table)


@app.command("prefect")
def prefect() -> None:
    """Show the password that Prefect's page asks for once; created at the first call."""
    from flows.local.prefect_auth import auth_string

    console.print(auth_string(Settings()), soft_wrap=True)


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="Key id, from `sensei keys list`.")]) -> None:
    """Revoke a key; it takes effect within seconds."""
    from flows.local.local_log import open_own_log
    from sensei.access import key_store

    settings = Settings()
    engine = open_own_log(settings).engine
    key_store.revoke(engine, key_id, suppression=settings.suppression)
    console.print(f"Key {key_id} is revoked.")
