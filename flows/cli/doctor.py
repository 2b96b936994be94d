"""Checks of `sensei doctor`; each function returns its findings."""

import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flows.local.preflight import check_prefect_store, check_room
from flows.local.service_probe import POOL, ServerProbe, ask_prefect
from sensei.errors import SenseiError, StorageUnavailable
from sensei.private_files import open_to_others
from sensei.settings import PREFIX, Settings

if TYPE_CHECKING:
    from sensei.ab_test_state import AbTest
    from sensei.events.log import Log


RECONCILE = "`sensei reconcile`"


class Finding(NamedTuple):
    """Finding of one check; `fix` tells how to fix a problem and is empty if there is none."""

    name: str
    said: str
    fix: str = ""


def of_error(name: str, error: SenseiError) -> Finding:
    """Convert an error into a finding; the part after the last `; ` is the next step."""
    problem, _, fix = str(error).rpartition("; ")
    return Finding(name, problem, fix)


def variables(environment: Mapping[str, str]) -> Iterable[Finding]:
    """Check that every `SENSEI_*` variable is a setting."""
    settings = [PREFIX + name.upper() for name in Settings.model_fields]
    unknown = sorted(n for n in environment if n.startswith(PREFIX) and n not in settings)
    for name in unknown:
        near = difflib.get_close_matches(
            name.removeprefix(PREFIX).lower(), Settings.model_fields, 1
        )
        fix = (
            f"set {PREFIX}{near[0].upper()} instead"
            if near
            else "unset it: docs/operations.md lists the settings"
        )
        yield Finding("settings", f"{name} is not a setting and has no effect", fix)
    if not unknown:
        names = ", ".join(name for name in settings if environment.get(name))
        yield Finding("settings", names or "all at their defaults")


def home(folder: Path) -> Finding:
    """Check that the home folder is writable and has enough free space."""
    try:
        check_room(folder)
    except StorageUnavailable as error:
        return of_error("home", error)
    return Finding("home", f"{folder} can be written")


def privacy(folder: Path) -> Finding:
    """Report files that other users of this machine may read, as older releases left them."""
    if not (paths := open_to_others(folder)):
        return Finding("files", "only their owner may read them")
    return Finding(
        "files",
        f"other users may read {len(paths):,} files and folders, the first is {paths[0]}",
        "`sensei doctor --repair`",
    )


def port(neighbour: ServerProbe) -> Finding:
    """Check that a port is free or held by its own server."""
    name, state_text = f"port {neighbour.port}", f"{neighbour.name}: {neighbour.state}"
    if neighbour.state in ("answers", "off"):
        return Finding(name, state_text + (f", {neighbour.said}" if neighbour.said else ""))
    return Finding(
        name,
        f"kept for {neighbour.name}, held by another program or by one that does not answer",
        f"stop the program that holds it, or set {neighbour.setting} to a free port",
    )


def prefect(
    environment: Mapping[str, str], around: Sequence[ServerProbe] = ()
) -> Iterable[Finding]:
    """Check that a server answers, has deployments and a worker.

    The address is `PREFECT_API_URL`, or that of the local server. Without a server, check that each
    run can start its own one.
    """
    api, here = environment.get("PREFECT_API_URL", "").rstrip("/"), ""
    for probe in around:
        if probe.name == "Prefect" and probe.state == "answers":
            here = f"{probe.address}/api"
    if not api and not here:
        try:
            check_prefect_store(environment)
        except StorageUnavailable as error:
            yield of_error("Prefect", error)
            return
        yield Finding("Prefect", "no server: each run starts one for itself")
        return
    deployments = ask_prefect(api or here, "/deployments/filter", {})
    if deployments is None:
        yield Finding(
            "Prefect",
            f"PREFECT_API_URL names {api}, which does not answer",
            "start it with `make server`, or unset PREFECT_API_URL",
        )
    elif not deployments:
        fix = "`make deploy`, then `make worker`"
        yield Finding("Prefect", f"{api or here} has no deployment", fix)
    else:
        yield Finding("Prefect", f"{api or here} answers, with {len(deployments)} deployments")
        yield worker(api or here)


def worker(api: str) -> Finding:
    """Check that a worker polls the work pool of our deployments."""
    workers = ask_prefect(api, f"/work_pools/{POOL}/workers/filter", {}) or []
    if any(worker_row["status"] == "ONLINE" for worker_row in workers):
        return Finding("worker", f"one polls the pool `{POOL}`")
    problem = f"none polls the pool `{POOL}`: runs of deployments wait, the nightly one too"
    return Finding("worker", problem, "`make worker`, or end `make up` and start it again")


def mlflow(uri: str) -> Finding:
    """Check that MLflow's store answers and has the installed version."""
    from training.tracking.mlflow_status import check_store, store_version

    try:
        check_store(uri)
        theirs = store_version(uri)
    except StorageUnavailable as error:
        return of_error("MLflow", error)
    if theirs is None:
        return Finding("MLflow", "its database does not exist yet: the first run creates it")
    ours = installed("mlflow")
    if uri.startswith("http") and theirs != ours:
        problem = f"expected its server to be version {ours}, got {theirs}"
        return Finding("MLflow", problem, "run the same version on both sides")
    return Finding("MLflow", f"its store answers, at {theirs}")


def catalogue(log: "Log") -> Finding:
    """Check that the catalogue has topics to recommend by name, and the topics of all events."""
    from sensei import curriculum
    from sensei.events.aggregates import outside_catalogue

    loaded = curriculum.read(log.engine)
    if not loaded.topics:
        return Finding("catalogue", "no topic is loaded", "`sensei curriculum load FILE`")
    if outside := outside_catalogue(log.engine):
        return Finding("catalogue", curriculum.describe_outside(outside), curriculum.LOAD_CATALOGUE)
    retired = len(loaded.topics) - len(loaded.offered)
    return Finding("catalogue", f"{len(loaded.offered)} topics, {retired} retired")


def keys(log: "Log", host: str) -> Finding:
    """Check that the service can start: outside loopback it needs a valid key."""
    from sensei.access import key_store
    from serving.http.keyless import is_loopback

    valid = sum(key.revoked_at is None for key in key_store.read(log.engine))
    if not valid and not is_loopback(host):
        return Finding(
            "keys",
            f"the service is set to listen on {host}, and there is no valid key",
            "`sensei keys create --role platform`, or unset SENSEI_SERVICE_HOST",
        )
    return Finding("keys", f"{valid} valid" if valid else "none, and none needed on loopback")


def look_alikes(log: "Log") -> Finding:
    """List learners whose ids look the same, as older releases stored them."""
    from sensei.privacy.look_alikes import groups

    groups_of_names = groups(log.engine)
    if not groups_of_names:
        return Finding("names", "all ids are in their normal form")
    shown = "; ".join(" and ".join(ascii(name) for name in names) for names in groups_of_names[:5])
    return Finding(
        "names",
        f"{len(groups_of_names):,} groups of learners have ids of older releases: {shown}",
        f"merge those of one person: `{_merge_command(groups_of_names[0])}`",
    )


def _merge_command(names: "Sequence[str]") -> str:
    """Return the command that merges a stored id into its normal form, for a POSIX shell."""
    from sensei.events.rules import appearance

    normal = appearance(names[0])
    stored = next((name for name in names if name != normal), names[0])
    return f"sensei learner merge {_shell_text(stored)} {_shell_text(normal)}"


def _shell_text(name: str) -> str:
    """Quote a name so that each of its characters can be seen and typed."""
    if name.isascii() and name.isprintable():
        return f"'{name}'" if "'" not in name else shlex.quote(name)
    characters = (
        char if " " <= char <= "~" and char not in "'\\" else f"\\U{ord(char):08x}" for char in name
    )
    return f"$'{''.join(characters)}'"


def clock(log: "Log", now: datetime) -> Finding:
    """Check that no interaction is in the future, which means that a clock is wrong."""
    from sqlalchemy import func, select

    from sensei.events.rules import latest
    from sensei.storage.database import read_connection
    from sensei.storage.tables import UserInteraction

    future = (UserInteraction.timestamp > latest(now)) | (UserInteraction.received_at > latest(now))
    with read_connection(log.engine) as connection:
        ahead = connection.execute(select(func.count()).where(future)).scalar()
    if ahead:
        return Finding(
            "clock",
            f"{ahead:,} interactions are later than {now:%Y-%m-%d %H:%M} UTC, the time here",
            "correct the clock of this machine or of the machine that received them",
        )
    return Finding("clock", "no interaction is in the future")


def bundle(log: "Log", folder: Path) -> Finding:
    """Check that the bundle at the serving pointer exists and can be loaded."""
    from features.history import FOLD_VERSION
    from sensei.bundle.bundle_format import Bundle

    digest = log.pointer()
    if digest is None:
        return Finding("bundle", "none is in use yet: `sensei run` creates one")
    try:
        Bundle.load(folder / digest, FOLD_VERSION)
    except SenseiError as error:
        again = "restore it from a copy, `sensei rollback`, or `sensei train`"
        return Finding("bundle", str(error).rpartition("; ")[0], again)
    return Finding("bundle", f"{digest[:12]} is whole, of fold version {FOLD_VERSION}")


def trial(log: "Log", folder: Path) -> Finding:
    """Check that the bundle of the running A/B test exists."""
    from sensei.ab_test_state import current

    running: AbTest | None = current(log)
    if running is None:
        return Finding("trial", "none runs")
    if not (folder / running.bundle).is_dir():
        problem = f"the bundle of {running.name} is not in {folder}"
        return Finding("trial", problem, "`sensei trial stop`")
    return Finding("trial", f"{running.name} answers {100 * running.share:g} % of learners")


def suppressed(log: "Log", file: Path) -> Finding:
    """Check that the database has all erasures and revocations of the suppression list."""
    from sensei.privacy.reapply import unapplied

    try:
        missing = unapplied(log.engine, file)
    except StorageUnavailable as error:
        return of_error("erasures", error)
    problems = [
        *(
            [f"{len(missing.learners):,} erased learners are in the database again"]
            if missing.learners
            else []
        ),
        *(
            [f"{len(missing.tombstones):,} erasures are unknown to it"]
            if missing.tombstones
            else []
        ),
        *(f"the revoked key {key.key_id} is valid again" for key in missing.keys),
    ]
    if problems:
        older = f"the database is older than {file.name}: {', '.join(problems)}"
        return Finding("erasures", older, "`sensei db reapply`")
    if missing.damaged:
        unread = f"{missing.damaged:,} lines of {file} cannot be read"
        return Finding("erasures", unread, "restore the file from a copy")
    return Finding("erasures", "the database has all erasures and revocations recorded outside it")


def guards(log: "Log", settings: Settings, now: datetime) -> Iterable[Finding]:
    """Judge the guards of the feed and of the scheduled runs, see `monitoring.guards`."""
    from flows.tasks.guard_readings import judge_guards

    for verdict in judge_guards(settings, log, now):
        yield Finding(verdict.guard, verdict.sentence, verdict.fix)


def agreement(log: "Log", uri: str) -> Finding:
    """Check that ledger, serving pointer and MLflow's aliases name the same champions."""
    from sensei.model_name import ModelName
    from training.release import ledger
    from training.tracking.mlflow_status import read_tracked

    lines, fix = ledger.read(log), RECONCILE
    if pending := [line for line in lines if line.status == ledger.PENDING]:
        return Finding("ledger", f"the promotion of {pending[0].model} was interrupted", fix)
    if lines and lines[-1].bundle != log.pointer():
        return Finding("ledger", "the serving pointer names another bundle than the ledger", fix)
    try:
        tracked = read_tracked(uri, list(ModelName))
    except StorageUnavailable as error:
        return of_error("ledger", error)
    champions = ledger.champions(lines)
    for model in ModelName:
        alias, ours = tracked.version(model, "champion"), champions.get(model)
        if alias != ours:
            problem = (
                f"champion of {model} is {ours or 'none'}, MLflow's alias is at {alias or 'none'}"
            )
            return Finding("ledger", problem, fix)
    named = ", ".join(f"{model} {version}" for model, version in sorted(champions.items()))
    return Finding("ledger", f"ledger, pointer and aliases agree: {named or 'no champion'}")


def of_log(log: "Log", settings: Settings, now: datetime) -> Iterable[Finding]:
    """Run all checks that read the log."""
    yield Finding("database", f"{log.engine.url.render_as_string()} answers, and is up to date")
    yield catalogue(log)
    yield keys(log, settings.service_host)
    yield look_alikes(log)
    yield clock(log, now)
    yield bundle(log, settings.bundles)
    yield trial(log, settings.bundles)
    yield agreement(log, settings.tracking_uri)
    yield suppressed(log, settings.suppression)
    yield from guards(log, settings, now)


def checkup(
    settings: Settings, environment: Mapping[str, str], around: Sequence[ServerProbe], now: datetime
) -> Iterable[Finding]:
    """Run all checks, those that others depend on first.

    Args:
        settings: of this installation.
        environment: variables of the process, before this software added its own.
        around: the servers at their ports.
        now: UTC.
    """
    from sensei.events.log import open_log

    yield from variables(environment)
    yield home(settings.root)
    yield privacy(settings.root)
    for probe in around:
        yield port(probe)
    yield from prefect(environment, around)
    yield mlflow(settings.tracking_uri)
    if not settings.database_url and not (settings.root / "sensei.db").exists():
        yield Finding(
            "database", "does not exist yet: `sensei run` or `sensei import FILE` creates it"
        )
        return
    try:
        log = open_log(settings.log_url)
    except SenseiError as error:
        yield of_error("database", error)
        return
    yield from of_log(log, settings, now)
    log.close()
