"""Observability of the service: Prometheus metrics, and logs of one JSON line per record.

Metric labels come from declarations (route templates, reasons, versions), never from requests. So a
learner or an unknown path creates no time series. BentoML gives its workers a folder in
`PROMETHEUS_MULTIPROC_DIR`. `serving.shared_metrics` uses it to add up the values of all workers.
"""

import logging
import os
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)

from serving.shared_metrics import SharedMetrics

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram, in seconds; most responses take 1 to 5 ms."""

values.ValueClass = values.MutexValue  # in memory: see `serving.shared_metrics`

REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "sensei_http_requests", "Requests", ("route", "method", "status"), registry=REGISTRY
)
SECONDS = Histogram(
    "sensei_http_request_seconds",
    "Response time of requests",
    ("route",),
    buckets=BUCKETS,
    registry=REGISTRY,
)
IN_FLIGHT = Gauge(
    "sensei_http_requests_in_flight",
    "Requests in progress",
    registry=REGISTRY,
)
FALLBACKS = Counter(
    "sensei_fallbacks", "Answers with a fallback", ("kind", "reason"), registry=REGISTRY
)
EVENTS = Counter("sensei_events_appended", "Events appended, without repeats", registry=REGISTRY)
PREDICTIONS_LOST = Counter(
    "sensei_predictions_lost", "Predictions that could not be logged", registry=REGISTRY
)
MODELS = Gauge(
    "sensei_models_serving",
    "Workers that serve a version",
    ("model", "candidate", "version"),
    registry=REGISTRY,
)

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the current request; None outside a request."""

OURS = ("serving", "sensei", "features")
_shown: set[tuple[str, str, str]] = set()


SHARED = SharedMetrics(REGISTRY, Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None)
"""Metrics of this process, combined with those of the other workers."""


def exposition() -> bytes:
    """Return the metrics of all workers in the Prometheus exposition format."""
    return generate_latest(SHARED)


def serves(models: Mapping[str, tuple[str, str]]) -> None:
    """Set the gauge of the versions that this worker serves.

    Args:
        models: model name -> (candidate, version).
    """
    current = {(name, candidate, version) for name, (candidate, version) in models.items()}
    for labels in _shown - current:
        MODELS.labels(*labels).set(0)
    for labels in current - _shown:
        MODELS.labels(*labels).set(1)
    _shown.clear()
    _shown.update(current)


class JsonLines(logging.Formatter):
    """Formatter of one JSON object per line.

    Fields: time, level, logger, message, request id, and the fields of the record. Of an exception
    it logs the type and the stack positions, not the message. The message may contain what a
    learner sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as JSON."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            kind, _, trace = record.exc_info
            line["error"] = kind.__name__
            line["trace"] = [
                f"{at.filename}:{at.lineno} {at.name}" for at in traceback.extract_tb(trace)
            ]
        return orjson.dumps(line, default=str).decode()


def configure_logging(level: str) -> None:
    """Log to standard output as JSON, and silence uvicorn's own access log.

    Args:
        level: log level of the project's own loggers.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.getLogger().handlers = [handler]
    for name in ("bentoml", "uvicorn.error", "circus"):
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True
    access = logging.getLogger("uvicorn.access")  # it would log learners' names
    access.handlers, access.propagate = [], False
    for name in OURS:
        logging.getLogger(name).setLevel(level)
