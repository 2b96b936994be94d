"""BentoML service, built once per worker from settings, the log and a bundle.

BentoML's metrics, access log and tracing are off. Its metrics keep one series per raw path, thus
per learner. The other two halve the requests per second.
"""

import gc
import os
import sys
from collections.abc import Collection
from typing import Any

# BentoML reads this variable once and caches the value. A manual `bentoml serve` reads it before
# it loads the service, so the cache is cleared as well.
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

# BentoML's supervisor process imports this module too, but answers no requests. Modules that only
# workers need are imported inside functions, which halves the memory of a service.


class Front:
    """ASGI dispatcher: BentoML's own paths go to BentoML, all other requests to our application.

    BentoML gives each request a timer of 60 seconds and never cancels it. Under load, hundreds of
    thousands of timers are alive. Each full garbage collection scans all of them and stops the
    worker for some tenths of a second. BentoML's own `/livez` and `/readyz` would also take
    precedence over ours.
    """

    def __init__(self, own_app: ASGIApp, bento_app: ASGIApp, bento_paths: Collection[str]) -> None:
        self._ours = own_app
        self._theirs = bento_app
        self._paths = frozenset(bento_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch a request; BentoML handles startup and shutdown."""
        is_own_route = scope["type"] == "http" and scope["path"] not in self._paths
        await (self._ours if is_own_route else self._theirs)(scope, receive, send)


class FrontedService(Service[Any]):  # type: ignore[misc]
    """BentoML service behind our application, with the number of workers from our settings."""

    def inject_config(self) -> None:
        """Set the number of workers before BentoML counts or starts them."""
        from sensei.settings import Settings

        self.config["workers"] = Settings().service_workers
        super().inject_config()

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Build the ASGI application of a worker, and set the limits of its connections."""
        from sensei.settings import Settings

        if sys.platform != "win32":
            from serving.http.connections import bound_connections

            bound_connections(Settings().keep_alive_seconds)
        native = [api.route for api in self.apis.values()]
        bento_app = Guard(super().to_asgi(is_main), **guard(app.state))
        return Front(app, bento_app, [*native, "/schema.json"])


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
        app.state.worker = start_worker(settings)
        app.state.engine = app.state.worker.engine
        app.state.access = auth.open_access(settings, app.state.worker.log_file)
        auth.keep_current(app.state.access)
        # Python's default switch interval of 5 ms would let the logging thread delay a response.
        sys.setswitchinterval(0.001)
        # Objects that exist now live as long as the process: exclude them from full collections.
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Write the events and answers that still wait, and stop."""
        worker, app.state.worker = app.state.worker, None
        worker.close()
        request_lines.close()
        SHARED.close()

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def refuse_exposed() -> None:
        """Refuse to start without a valid key on an address that other machines can reach.

        This check runs before any worker starts.
        """
        from sensei.errors import SenseiError
        from sensei.settings import Settings

        command = click.get_current_context(silent=True)
        host = command.params.get("host") if command else None
        try:
            auth.refuse_exposed(host or BentoMLContainer.http.host.get(), Settings())
        except SenseiError as error:
            raise SystemExit(f"error: {error}") from None
