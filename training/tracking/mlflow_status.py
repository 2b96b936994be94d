"""MLflow status without importing MLflow: it takes milliseconds, the import alone seconds."""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from sensei.errors import StorageUnavailable
from training.tracking.registry import EXPERIMENT

SECONDS = 1.0
"""Timeout of a request to the MLflow server, in seconds."""

FINISHED = "FINISHED"
"""Status of a run that trained, compared and registered its models."""


class Alias(NamedTuple):
    """Alias of a model version: `champion` or `challenger`."""

    model: str
    alias: str
    version: str


@dataclass(frozen=True)
class TrackedRun:
    """Run as listed by MLflow; its status is `FINISHED`, `FAILED` or `RUNNING`."""

    name: str
    status: str
    started_at: datetime


@dataclass(frozen=True)
class Tracked:
    """Aliases, the newest run, and the newest finished run; None if there is none."""

    aliases: tuple[Alias, ...]
    last_run: TrackedRun | None
    last_finished: TrackedRun | None = None

    def version(self, model: str, alias: str) -> str | None:
        """Return the version of a model with an alias; None if there is none."""
        return next((a.version for a in self.aliases if a[:2] == (model, alias)), None)


def read_tracked(uri: str, models: Sequence[str]) -> Tracked:
    """Read aliases and the newest run from MLflow's server or database, depending on the URI.

    Args:
        uri: `sqlite:///...`, `postgresql://...` or `http://...`.
        models: names of the registered models.

    Raises:
        StorageUnavailable: the server or the database does not answer, or has unknown tables.
    """
    check_store(uri)
    with _answering(uri):
        if uri.startswith("http"):
            return _served(uri, models)
        return Tracked((), None) if _is_absent(uri) else _stored(uri, models)


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        message = str(getattr(error, "orig", error)).partition("\n")[0]
        if isinstance(error, LookupError | TypeError):
            message = "an answer that is not MLflow's"
        raise StorageUnavailable(
            f"MLflow: expected {uri.split('@')[-1]} to answer, got {message!r}; start it with "
            "`make mlflow`, or check SENSEI_MLFLOW_TRACKING_URI"
        ) from error


_FAILURES = (httpx.HTTPError, SQLAlchemyError, ImportError, LookupError, TypeError, ValueError)
"""Errors of a store that does not answer, of a missing driver, and of an answer in other words."""


def store_version(uri: str) -> str | None:
    """Return the version of MLflow's server, or its database's migration; None without tables.

    Raises:
        StorageUnavailable: the server or the database does not answer.
    """
    with _answering(uri):
        if uri.startswith("http"):
            answer = httpx.get(uri.rstrip("/") + "/version", timeout=SECONDS)
            return answer.raise_for_status().text.strip()
        if _is_absent(uri):
            return None
        engine = create_engine(uri)
        try:
            with engine.connect() as connection:
                if not inspect(connection).has_table("alembic_version"):
                    return None
                migration = connection.execute(
                    text("SELECT version_num FROM alembic_version")
                ).scalar()
                return None if migration is None else str(migration)
        finally:
            engine.dispose()


def _is_absent(uri: str) -> bool:
    """Tell if the URI names an SQLite file that does not exist; a connection would create it."""
    url = make_url(uri)
    return url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()


_TABLES = {"registered_model_aliases", "runs"}
_ALIASES = text("SELECT name, alias, version FROM registered_model_aliases")
_NEWEST_RUN = text(
    "SELECT r.name, r.status, r.start_time FROM runs r JOIN experiments e "
    "ON e.experiment_id = r.experiment_id WHERE e.name = :experiment "
    "AND r.lifecycle_stage = 'active' AND r.start_time IS NOT NULL AND r.status LIKE :status "
    "ORDER BY r.start_time DESC LIMIT 1"
)


def _stored(uri: str, models: Sequence[str]) -> Tracked:
    """Read MLflow's tables, which are private: another version may name them otherwise."""
    engine = create_engine(uri)
    try:
        with engine.connect() as connection:
            if _TABLES.isdisjoint(inspect(connection).get_table_names()):
                return Tracked((), None)  # MLflow has not written to it yet
            rows = connection.execute(_ALIASES).all()
            last, finished = (
                connection.execute(
                    _NEWEST_RUN, {"experiment": EXPERIMENT, "status": status}
                ).first()
                for status in ("%", FINISHED)
            )
    except (OperationalError, ProgrammingError) as error:
        message = str(error.orig).partition("\n")[0]
        raise StorageUnavailable(
            f"MLflow: expected the tables of MLflow {version('mlflow')} in {uri.split('@')[-1]}, "
            f"got {message!r}; install the MLflow of requirements.lock, or restore a copy of the "
            "store"
        ) from error
    finally:
        engine.dispose()
    aliases = tuple(Alias(row.name, row.alias, str(row.version)) for row in rows)
    return Tracked(
        tuple(alias for alias in aliases if alias.model in models),
        *(
            TrackedRun(str(run.name), str(run.status), _moment(run.start_time)) if run else None
            for run in (last, finished)
        ),
    )


def _served(uri: str, models: Sequence[str]) -> Tracked:
    api = uri.rstrip("/") + "/api/2.0/mlflow"
    with httpx.Client(timeout=SECONDS) as client:
        aliases = [alias for model in models for alias in _aliases(client, api, model)]
        named = {"experiment_name": EXPERIMENT}
        answer = client.get(f"{api}/experiments/get-by-name", params=named)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return Tracked(tuple(aliases), None)
        number = answer.raise_for_status().json()["experiment"]["experiment_id"]
        query = {
            "experiment_ids": [number],
            "max_results": 1,
            "order_by": ["attributes.start_time DESC"],
        }
        filters: list[dict[str, str]] = [{}, {"filter": f"attributes.status = '{FINISHED}'"}]
        last, finished = (_newest_run(client, api, query | status) for status in filters)
    return Tracked(tuple(aliases), last, finished)


def _newest_run(client: httpx.Client, api: str, query: dict[str, Any]) -> TrackedRun | None:
    runs = client.post(f"{api}/runs/search", json=query).raise_for_status().json()
    infos = [run["info"] for run in runs.get("runs", [])]
    newest = [TrackedRun(i["run_name"], i["status"], _moment(i["start_time"])) for i in infos]
    return newest[0] if newest else None


def _aliases(client: httpx.Client, api: str, model: str) -> list[Alias]:
    answer = client.get(f"{api}/registered-models/get", params={"name": model})
    if answer.status_code == httpx.codes.NOT_FOUND:
        return []
    aliases = answer.raise_for_status().json()["registered_model"].get("aliases", [])
    return [Alias(model, entry["alias"], str(entry["version"])) for entry in aliases]


def _moment(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def newest_migration() -> str:
    """Return the newest migration of the installed MLflow."""
    return _mlflow_migrations()[0]


def check_store(uri: str) -> None:
    """Check that MLflow's database is at the newest migration of the installed MLflow.

    A server is not checked; it checks its own database.

    Raises:
        StorageUnavailable: the database is at another migration, or does not answer.
    """
    if uri.startswith("http"):
        return
    current = store_version(uri)
    if current is not None:
        newest, known = _mlflow_migrations()
        upgrade = f"back it up, then run `mlflow db upgrade {uri.split('@')[-1]}`"
        check_migration("MLflow", current, newest, known, upgrade)


def check_migration(
    library: str, current: str, newest: str, known: Collection[str], upgrade: str = ""
) -> None:
    """Check that a library's store is at a migration that the installed version supports.

    Args:
        library: name of the library; its package has the same name in lower case.
        current: migration of the store.
        newest: newest installed migration.
        known: all installed migrations.
        upgrade: instruction to upgrade an older store; empty if the library upgrades it itself.

    Raises:
        StorageUnavailable: the store is older and must be upgraded, or a newer version wrote it.
    """
    installed = f"{library} {version(library.lower())}"
    if current not in known:
        raise StorageUnavailable(
            f"{library}: expected a store at migration {newest} or older, as {installed} is "
            f"installed, got {current}, which a newer {library} wrote; install that version of "
            f"{library}, restore a copy of the store, or choose another SENSEI_HOME"
        )
    if upgrade and current != newest:
        raise StorageUnavailable(
            f"{library}: expected a store at migration {newest}, as {installed} is installed, "
            f"got the older {current}; {upgrade}"
        )


def migrations_in(folder: Path) -> tuple[str, frozenset[str]]:
    """Return the newest Alembic migration in a folder, and all of them.

    Raises:
        StorageUnavailable: the folder has none, so the installed library keeps them elsewhere.
    """
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    named, built_on = (
        frozenset(
            word
            for text in texts
            for word in re.findall(rf"^{key} = ['\"](\w+)['\"]", text, re.MULTILINE)
        )
        for key in ("revision", "down_revision")
    )
    if not named:
        raise StorageUnavailable(
            f"migrations: expected Alembic migrations in {folder}, got none; "
            "install the versions of requirements.lock"
        )
    return ", ".join(sorted(named - built_on)), named


def _mlflow_migrations() -> tuple[str, frozenset[str]]:
    return migrations_in(package_folder("mlflow") / "store/db_migrations/versions")


def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it, which may take seconds."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])
