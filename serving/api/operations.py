"""What the people who run the service ask: how it does, and how well its answers did."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from serving.api import examples
from serving.api.monitoring_schemas import Monitored
from serving.api.request_schemas import Query
from serving.http.endpoints import Endpoint, answer
from serving.observability import exposition


async def metrics(_: Request, __: Query) -> Response:
    """All metrics; reading every worker's files takes milliseconds, so a thread does it."""
    return Response(await run_in_threadpool(exposition), media_type=CONTENT_TYPE_LATEST)


async def monitoring_metrics(request: Request, _: Query) -> Response:
    """What the monitor last found."""
    return answer(await request.app.state.worker.records.monitored())


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/api/monitoring/metrics",
        monitoring_metrics,
        "How well the answers of the last days did",
        Monitored,
        scope="operator",
        example=examples.MONITORED,
    ),
    Endpoint(
        "GET", "/metrics", metrics, "Metrics of all workers, for Prometheus", scope="operator"
    ),
)
