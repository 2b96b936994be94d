"""ASGI application of the service, assembled from the groups of endpoints.

It uses Starlette, not FastAPI. BentoML sends FastAPI routes through a thread pool, which costs more
than half of the requests per second (docs/decisions). `serving.http.endpoints` explains how to add
a route.
"""

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.middleware import Middleware

from sensei.access.keys import OPEN, OPERATOR
from sensei.errors import InvalidInput
from serving.api import health, interactions, learner, operations, recommendations
from serving.api.refused_events import refuse_invalid
from serving.http import pages
from serving.http.auth import Access, OnlyFor
from serving.http.endpoints import ERROR_HANDLERS, Endpoint, route
from serving.http.fast_path import FastPath
from serving.http.guard import Guard, Limits
from serving.http.openapi import openapi
from serving.http.rate_limit import RateLimiter

ENDPOINTS: tuple[Endpoint, ...] = (
    *recommendations.ENDPOINTS,
    *interactions.ENDPOINTS,
    *learner.ENDPOINTS,
    *operations.ENDPOINTS,
    *health.ENDPOINTS,
    *pages.ENDPOINTS,
)
"""All endpoints that the service answers."""


def route_middleware(endpoint: Endpoint) -> Sequence[Middleware]:
    """Return the middleware of one endpoint that depends on its declaration."""
    if endpoint.scope != OPERATOR:
        return ()
    is_erasure = endpoint.handle is learner.erase_learner
    return [Middleware(OnlyFor, OPERATOR, unless="platform_may_erase" if is_erasure else None)]


def guard(state: State) -> dict[str, Any]:
    """Return the arguments of a `Guard` for the declared endpoints.

    A path template with a parameter never matches an open path.
    """
    return {
        "state": state,
        "open_paths": [each.path for each in ENDPOINTS if each.scope == OPEN],
        "open_folder": pages.ASSETS,
    }


def application() -> Starlette:
    """Build the application.

    The caller sets `app.state.engine` and the values that `Guard` looks up.
    """
    served = Starlette(
        routes=[*(route(each, route_middleware(each)) for each in ENDPOINTS), pages.assets()],
        exception_handlers=ERROR_HANDLERS | {InvalidInput: refuse_invalid},
    )
    served.router.redirect_slashes = False  # an unknown path gets 404, never a redirect
    served.state.openapi = openapi(ENDPOINTS)
    served.state.access, served.state.rates, served.state.limits = Access(), RateLimiter(), Limits()
    served.add_middleware(FastPath, endpoints=ENDPOINTS)
    served.add_middleware(Guard, **guard(served.state))
    return served


app = application()
