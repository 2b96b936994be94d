"""What the people who run the service ask: whether it is well, and how it does."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from serving.endpoints import Endpoint
from serving.observability import exposition
from serving.schemas import Query


async def metrics(_: Request, __: Query) -> Response:
    """All metrics; reading every worker's files takes milliseconds, so a thread does it."""
    return Response(await run_in_threadpool(exposition), media_type=CONTENT_TYPE_LATEST)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/metrics", metrics, "Metrics of all workers, for Prometheus", scope="operator"
    ),
)
