"""The BentoML service: built once per worker from settings, the log and a bundle.

Metrics, access log and tracing of BentoML are off: its metrics keep one series per raw path, so
per learner, and the other two halve the requests per second.
"""

import gc
import os
import sys
from collections.abc import Collection
from typing import Any

# BentoML reads this once, before it loads a service: `bentoml serve` typed by hand has already
# read it, so the value it remembers is dropped as well.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
import click
from _bentoml_sdk import Service
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.utils.analytics import usage_stats
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.bento_api import NativeEndpoints
from serving.app import app, guard
from serving.http import auth
from serving.http.access_log import request_lines
from serving.http.guard import Guard, Limits
from serving.http.rate_limit import RateLimiter
from serving.observability import SHARED, configure_logging

usage_stats.do_not_track.cache_clear()

# The process that watches over the workers imports this module too, and answers nothing: what
# only workers need is imported inside the functions, which halves the memory of a service.


class Front:
    """Our application in front of all of BentoML's layers, which get what only they can answer.

    BentoML gives each request a timer of 60 seconds that it never cancels: hundreds of thousands
    of them are alive under load, and each full garbage collection, which walks over all, halts
    the worker for some tenths of a second. Its own `/livez` and `/readyz` would come first, too.
    """

    def __init__(self, ours: ASGIApp, theirs: ASGIApp, their_paths: Collection[str]) -> None:
        self._ours = ours
        self._theirs = theirs
        self._paths = frozenset(their_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on; starting and ending is BentoML's."""
        ours = scope["type"] == "http" and scope["path"] not in self._paths
        await (self._ours if ours else self._theirs)(scope, receive, send)


class FrontedService(Service[Any]):  # type: ignore[misc]
    """BentoML's service behind our application, with as many workers as our settings say."""

    def inject_config(self) -> None:
        """Before workers are counted, and before one of them starts."""
        from sensei.settings import Settings

        self.config["workers"] = Settings().service_workers
        super().inject_config()

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application that a worker runs, and the limits of the connections it comes by."""
        from sensei.settings import Settings

        if sys.platform != "win32":
            from serving.http.connections import bound_connections

            bound_connections(Settings().keep_alive_seconds)
        native = [each.route for each in self.apis.values()]
        theirs = Guard(super().to_asgi(is_main), **guard(app.state))
        return Front(app, theirs, [*native, "/schema.json"])


@bentoml.service(
    name="sensei",
    service_class=FrontedService,
    http={"host": "127.0.0.1", "port": 8000},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(app, path="/")
class SenseiService(NativeEndpoints):
    """Recommendations and quiz difficulties over HTTP; the routes are in `serving.app`."""

    def __init__(self) -> None:
        from sensei.private_files import keep_files_private
        from sensei.settings import Settings
        from serving.worker import start_worker

        keep_files_private()
        settings = Settings()
        configure_logging(settings.log_level)
        if settings.log_level in ("DEBUG", "INFO"):
            request_lines.start()
        SHARED.start()
        app.state.limits = Limits(settings.max_body_bytes)
        app.state.rates = RateLimiter(settings.requests_per_second)
        app.state.platform_may_erase = settings.platform_may_erase
        app.state.access = auth.open_access(settings)
        auth.keep_current(app.state.access)
        app.state.worker = start_worker(settings)
        app.state.engine = app.state.worker.engine
        # A thread that logs answers must not keep one waiting for Python's usual 5 ms.
        sys.setswitchinterval(0.001)
        # What is there by now stays: no full collection has to walk over all of it again.
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """The last answers are logged before the process ends."""
        worker, app.state.worker = app.state.worker, None
        worker.close()
        request_lines.close()
        SHARED.close()

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def refuse_exposed() -> None:
        """Before any worker starts: on an address that others reach, there must be a key."""
        from sensei.errors import SenseiError
        from sensei.settings import Settings

        command = click.get_current_context(silent=True)
        host = command.params.get("host") if command else None
        try:
            auth.refuse_exposed(host or BentoMLContainer.http.host.get(), Settings())
        except SenseiError as error:
            raise SystemExit(f"error: {error}") from None
