"""ASGI application of the service, assembled from the groups of endpoints.

It uses Starlette, not FastAPI, which costs too many requests per second (docs/decisions/0015).
`serving.http.endpoints` explains how to add a route.
"""

from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import State

from sensei.access.keys import OPEN
from serving.api import (
    corrected_events,
    health,
    interactions,
    learner,
    operations,
    recommendations,
)
from serving.http import pages
from serving.http.auth import Access
from serving.http.dispatch import Dispatcher
from serving.http.endpoints import ERROR_HANDLERS, Endpoint
from serving.http.guard import Guard, Limits
from serving.http.openapi import openapi
from serving.http.rate_limit import RateLimiter

ENDPOINTS: tuple[Endpoint, ...] = (
    *recommendations.ENDPOINTS,
    *interactions.ENDPOINTS,
    *corrected_events.ENDPOINTS,
    *learner.ENDPOINTS,
    *operations.ENDPOINTS,
    *health.ENDPOINTS,
    *pages.ENDPOINTS,
)
"""All endpoints that the service answers."""


def guard(state: State) -> dict[str, Any]:
    """Return the arguments of a `Guard` for the declared endpoints.

    A path template with a parameter never matches an open path.
    """
    return {
        "state": state,
        "open_paths": [endpoint.path for endpoint in ENDPOINTS if endpoint.scope == OPEN],
        "open_folder": pages.ASSETS,
    }


def application() -> Starlette:
    """Build the application.

    Its own routes are only the files below `/docs`; the declared paths are answered before them.
    The caller sets `app.state.engine` and the values that `Guard` looks up.
    """
    web_app = Starlette(routes=[pages.assets()], exception_handlers=ERROR_HANDLERS)
    web_app.router.redirect_slashes = False  # an unknown path gets 404, never a redirect
    web_app.state.openapi = openapi(ENDPOINTS)
    web_app.state.access, web_app.state.rates, web_app.state.limits = (
        Access(),
        RateLimiter(),
        Limits(),
    )
    web_app.add_middleware(Dispatcher, endpoints=ENDPOINTS)
    web_app.add_middleware(Guard, **guard(web_app.state))
    return web_app


app = application()
