"""Start of a local server, the worker or the deployments.

Usage: `python -m flows.local.launch NAME`. The files that they make are private. Prefect asks for
its auth string, and a guard refuses other sites. `sensei up` and the Makefile start all programs
through this module.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flows.local.prefect_auth import API, require_auth_string, use_auth_string
from flows.local.service_probe import POOL
from sensei.errors import SenseiError
from sensei.private_files import keep_files_private
from sensei.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"


def prepare(settings: Settings) -> None:
    """Set umask and environment variables; call it before Prefect is imported."""
    keep_files_private()
    settings.root.mkdir(parents=True, exist_ok=True)
    local = {API: f"http://{LOOPBACK}:{settings.prefect_port}/api", "PROJECT_ROOT": str(ROOT)}
    for name, value in (settings.environment() | local).items():
        os.environ.setdefault(name, value)


def start_prefect(settings: Settings) -> None:
    """Run Prefect's server; its page asks once for the auth string."""
    require_auth_string(settings)
    os.environ["PREFECT_UI_API_URL"] = "/api"  # the page's own origin, for any host name
    from prefect.server.api.server import create_app

    _serve(create_app(final=True), settings.prefect_port)


def start_evidently(settings: Settings) -> None:
    """Run Evidently's server on our workspace."""
    from evidently.ui.service.app import create_app, get_config

    port = settings.evidently_port
    workspace = str(settings.evidently)
    _serve(create_app(get_config(host=LOOPBACK, port=port, workspace=workspace)), port)


def start_mlflow(settings: Settings) -> None:
    """Replace this process with MLflow's server, with our guard in it."""
    home = f"sqlite:///{settings.root / 'mlflow.db'}"
    uri = home if settings.tracking_uri.startswith("http") else settings.tracking_uri
    listen = ["--host", LOOPBACK, "--port", str(settings.mlflow_port), "--workers", "1"]
    store = ["--backend-store-uri", uri]
    store += ["--artifacts-destination", str(settings.artifacts)]
    guarded = ["--app-name", "sensei", "--allowed-hosts", "127.0.0.1,127.0.0.1:*,localhost:*"]
    _become("mlflow", ["server", *listen, *store, *guarded])


def start_worker(settings: Settings) -> None:
    """Replace this process with the worker that runs what Prefect schedules."""
    use_auth_string(settings)
    _become("prefect", ["worker", "start", "--pool", POOL])


def make_deployments(settings: Settings) -> None:
    """Create work pool, global limit and deployments on the server."""
    use_auth_string(settings)
    from flows.local.deployments import deploy

    deploy()


PROGRAMS: dict[str, Callable[[Settings], None]] = {
    "prefect": start_prefect,
    "mlflow": start_mlflow,
    "evidently": start_evidently,
    "worker": start_worker,
    "deployments": make_deployments,
}


def launching(name: str) -> list[str]:
    """Return the command that starts a program of `PROGRAMS`."""
    return [sys.executable, "-m", __name__, name]


def _serve(app: Any, port: int) -> None:
    import uvicorn

    from flows.local.loopback_guard import LoopbackGuard

    uvicorn.run(LoopbackGuard(app), host=LOOPBACK, port=port, proxy_headers=False)


def _become(program: str, arguments: Sequence[str]) -> None:
    path = str(Path(sys.executable).with_name(program))
    os.execv(path, [path, *arguments])  # noqa: S606


def main() -> None:
    """Run the program that the first argument names."""
    name = " ".join(sys.argv[1:])
    if name not in PROGRAMS:
        sys.exit(f"program: expected one of {', '.join(PROGRAMS)}, got {name!r}; name one")
    try:
        settings = Settings()
        prepare(settings)
        PROGRAMS[name](settings)
    except SenseiError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
