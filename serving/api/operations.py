"""Endpoints for operators: service metrics, and the quality of past answers."""

import time

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from serving.api import examples
from serving.api.monitoring_schemas import NOTHING, Monitored
from serving.api.request_schemas import Query
from serving.guard_metrics import guard_exposition
from serving.http.endpoints import Endpoint, answer
from serving.observability import exposition


async def metrics(request: Request, _: Query) -> Response:
    """Return the metrics of all workers, read in a thread, because it takes milliseconds."""
    found = await run_in_threadpool(exposition)
    if worker := getattr(request.app.state, "worker", None):  # a stopping service has none
        monitored, newest = await worker.records.guard_state()
        found += guard_exposition(monitored, newest, time.time_ns() // 1000)
    return Response(found, media_type=CONTENT_TYPE_LATEST)


async def monitoring_metrics(request: Request, _: Query) -> Response:
    """Return the latest figures of the monitor."""
    return answer(NOTHING | await request.app.state.worker.records.monitored())


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/api/monitoring/metrics",
        monitoring_metrics,
        "Quality of recent answers",
        Monitored,
        scope="operator",
        example=examples.MONITORED,
    ),
    Endpoint("GET", "/metrics", metrics, "Prometheus metrics of all workers", scope="operator"),
)
