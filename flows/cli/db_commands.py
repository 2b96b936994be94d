"""`sensei db`: commands for the log's database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.presentation.terminal import console
from sensei.settings import Settings

if TYPE_CHECKING:
    from sensei.privacy.reapply import Unapplied
    from sensei.privacy.restore import Restored
    from sensei.storage.backup import Content

app = typer.Typer(no_args_is_help=True, help="The log's database.")


def _say(sentence: str) -> None:
    console.print(escape(sentence), soft_wrap=True)


@app.command("upgrade")
def upgrade() -> None:
    """Create the database, or bring its tables up to date; a copy is made first."""
    from sensei.events.log import Log
    from sensei.privacy.reapply import complete_list
    from sensei.storage import database

    settings = Settings()
    log = Log(settings.log_url)
    if not log.sqlite:
        _dump_first(settings)
    copy = database.upgrade(settings.log_url)
    if copy:
        _say(f"Copy of the database before the upgrade: {copy}")
    complete_list(log.engine, settings.suppression)
    _say("The database is up to date.")


def _dump_first(settings: Settings) -> None:
    """Dump a PostgreSQL database that the upgrade will change, if its tool is installed."""
    from sensei.errors import StorageUnavailable
    from sensei.storage import backup, database
    from sensei.storage.sqlite_copy import stamp

    current = database.is_outdated(settings.log_url)
    if current is None:
        return
    settings.replaced.mkdir(parents=True, exist_ok=True)
    file = settings.replaced / f"migration-{current}.{stamp()}.dump"
    try:
        backup.back_up(settings.log_url, file)
        _say(f"Copy of the database before the upgrade: {file}")
    except StorageUnavailable as error:
        _say(f"No dump was made before the upgrade: {error}")


@app.command("copy")
def copy(to: Annotated[str, typer.Option(help="SQLAlchemy URL of the new database.")]) -> None:
    """Copy everything into another, empty database."""
    from sensei.storage.db_copy import copy_database

    copy_database(Settings().log_url, to)
    console.print("Copied. Next: set SENSEI_DATABASE_URL to the new database.")


@app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")],
) -> None:
    """Write a verified backup of the database; the service continues meanwhile."""
    from sensei.events.log import Log
    from sensei.privacy.reapply import complete_list
    from sensei.privacy.suppression import MODE
    from sensei.storage.backup import back_up

    settings = Settings()
    made = back_up(settings.log_url, file)
    complete_list(Log(settings.log_url).engine, settings.suppression)
    settings.suppression.touch(MODE)
    _say(f"Backup {file}: {made.size:,} bytes, {_words(made.content)}, verified.")
    _say(f"Keep a copy of {settings.suppression} elsewhere, too: a restore repeats its erasures.")


def _words(content: "Content") -> str:
    events, learners = (content.rows.get(name, 0) for name in ("user_interactions", "learners"))
    return f"{events:,} interactions of {learners:,} learners"


@app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="A file of `sensei db backup`.")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Restore even if a service answers or others are connected."),
    ] = False,
) -> None:
    """Replace the database with a backup; later erasures and revocations stay in effect."""
    from sensei.privacy.restore import restore as restore_backup

    settings = Settings()
    if not force:
        _refuse_serving(settings)
    done = restore_backup(settings, file, force)
    _say(f"Restored {file}: {_words(done.content)}.")
    for sentence in (*_replaced(done), *_reapplied(done.reapplied), *_keys(done)):
        _say(sentence)
    _reconcile(settings)
    _say("Next: start the service again, then `sensei doctor`.")


@app.command("reapply")
def reapply_list() -> None:
    """Erase and revoke again what the suppression list of this home names."""
    from flows.local.local_log import open_own_log
    from sensei.privacy.reapply import complete_list, reapply

    settings = Settings()
    log = open_own_log(settings)
    complete_list(log.engine, settings.suppression)
    done = reapply(log.engine, settings.suppression, settings.emptied_by_erase)
    for sentence in _reapplied(done) or ["Database and suppression list agree."]:
        _say(sentence)


def _refuse_serving(settings: Settings) -> None:
    """Raise an error if a service runs at the port of this home."""
    from flows.local.service_probe import neighbours
    from sensei.errors import StorageUnavailable

    service = neighbours(settings)[0]
    if service.state in ("answers", "silent"):
        raise StorageUnavailable(
            f"restore: expected no service, got one at {service.address}; stop it, then repeat, "
            "or add --force if it belongs to another SENSEI_HOME"
        )


def _replaced(done: "Restored") -> list[str]:
    sentences = []
    if done.replaced:
        sentences.append(f"The replaced database is kept: {done.replaced}")
    if done.unread:
        sentences.append(f"It could not be read ({done.unread}): no data was copied from it.")
    if done.before:
        rows = done.content.rows
        fewer = {name: count - rows.get(name, 0) for name, count in done.before.rows.items()}
        lost = ", ".join(f"{name} {count:,}" for name, count in fewer.items() if count > 0)
        if lost:
            sentences.append(f"Fewer rows than before, by table: {lost}.")
    return sentences


def _reapplied(done: "Unapplied") -> list[str]:
    sentences = []
    if done.tombstones or done.learners:
        unknown = f"{len(done.tombstones):,} erasures were unknown to the database"
        sentences.append(f"Erased again: {len(done.learners):,} learners; {unknown}.")
    if done.keys:
        sentences.append(f"Revoked again: {', '.join(key.key_id for key in done.keys)}.")
    if done.damaged:
        sentences.append(f"The suppression list has {done.damaged:,} lines that cannot be read.")
    return sentences


def _keys(done: "Restored") -> list[str]:
    """List the keys that became valid again, disappeared, or are missing."""
    if done.before is None:
        return []
    now, before = done.content.keys, done.before.keys
    back, gone = sorted(now - before), sorted(before - now)
    sentences = []
    if back:
        sentences.append(f"Keys that are valid again: {', '.join(back)}; revoke them if unwanted.")
    if gone:
        sentences.append(f"Keys that are not in the backup: {', '.join(gone)}; create new ones.")
    if before and not now:
        sentences.append("No key is left: run `sensei keys create` before the service starts.")
    return sentences


def _reconcile(settings: Settings) -> None:
    """Make ledger, serving pointer and aliases agree, including promotions since the backup."""
    from datetime import UTC, datetime

    from flows.cli.doctor import RECONCILE, agreement
    from sensei.errors import SenseiError
    from sensei.events.log import open_log

    log = open_log(settings.log_url)
    try:
        finding = agreement(log, settings.tracking_uri)
        if finding.fix != RECONCILE:
            problem = (
                f"{finding.said}; {finding.fix}, then {RECONCILE}" if finding.fix else finding.said
            )
            return _say(f"Reconcile: {problem}")
        from training.release.reconcile import RESTORED, reconcile
        from training.tracking.registry import Registry

        registry = Registry(settings.tracking_uri, settings.artifacts)
        for sentence in reconcile(log, registry, settings.bundles, datetime.now(UTC), RESTORED):
            _say(f"Reconcile: {sentence}")
    except SenseiError as error:
        _say(f"Reconcile: {error}; then {RECONCILE}")
    finally:
        log.close()
