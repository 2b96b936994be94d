"""The application that the service mounts: the groups of endpoints, assembled.

Starlette rather than FastAPI, because BentoML sends FastAPI routes through a thread pool, which
costs more than half of the requests per second (docs/decisions). `serving.endpoints` says how a
route is added.
"""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware

from serving import health, operations, pages, reading, writing
from serving.documents import openapi
from serving.endpoints import ERROR_HANDLERS, Endpoint, route

ENDPOINTS: tuple[Endpoint, ...] = (
    *reading.ENDPOINTS,
    *writing.ENDPOINTS,
    *operations.ENDPOINTS,
    *health.ENDPOINTS,
    *pages.ENDPOINTS,
)
"""All that is served; of two paths that match, the first answers."""


def route_middleware(endpoint: Endpoint) -> Sequence[Middleware]:  # noqa: ARG001
    """What runs around one endpoint and knows its declaration."""
    return ()


def application(middleware: Sequence[Middleware] = ()) -> Starlette:
    """The application; whoever starts it sets `app.state.engine`.

    Args:
        middleware: what runs around all of it, the outermost first.
    """
    served = Starlette(
        routes=[*(route(each, route_middleware(each)) for each in ENDPOINTS), pages.assets()],
        middleware=middleware,
        exception_handlers=ERROR_HANDLERS,
    )
    served.state.openapi = openapi(ENDPOINTS)
    return served


app = application()
