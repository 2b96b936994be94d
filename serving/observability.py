"""What is seen of the service: metrics for Prometheus, and logs of one JSON line each.

Metrics are labelled by what is declared (route templates, reasons, versions), never by what was
sent: a learner or an unknown path makes no series. BentoML gives its workers a folder in
`PROMETHEUS_MULTIPROC_DIR`, by which `serving.shared_metrics` adds up the values of all.
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
"""Seconds; most answers take one to five milliseconds."""

values.ValueClass = values.MutexValue  # in memory: see `serving.shared_metrics`

REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "sensei_http_requests", "Requests", ("route", "method", "status"), registry=REGISTRY
)
SECONDS = Histogram(
    "sensei_http_request_seconds",
    "Time until a request was answered",
    ("route",),
    buckets=BUCKETS,
    registry=REGISTRY,
)
IN_FLIGHT = Gauge(
    "sensei_http_requests_in_flight",
    "Requests being answered",
    registry=REGISTRY,
)
FALLBACKS = Counter(
    "sensei_fallbacks", "Answers that lacked something", ("kind", "reason"), registry=REGISTRY
)
EVENTS = Counter("sensei_events_appended", "Events appended, repeats left out", registry=REGISTRY)
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
"""Id of the request being answered."""

OURS = ("serving", "sensei", "features")
_told: set[tuple[str, str, str]] = set()


SHARED = SharedMetrics(REGISTRY, Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None)
"""What this process counts, together with the other workers."""


def exposition() -> bytes:
    """All metrics as Prometheus reads them, of all workers together."""
    return generate_latest(SHARED)


def serves(models: Mapping[str, tuple[str, str]]) -> None:
    """Say what this worker serves from now on.

    Args:
        models: candidate and version by the name of the model.
    """
    now = {(name, candidate, version) for name, (candidate, version) in models.items()}
    for labels in _told - now:
        MODELS.labels(*labels).set(0)
    for labels in now - _told:
        MODELS.labels(*labels).set(1)
    _told.clear()
    _told.update(now)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request id, fields of the record.

    Of an exception the type and the places, not its words: those may name what a learner sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
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
    """Write what this process logs to standard output, as JSON; not uvicorn's own access log.

    Args:
        level: of our own loggers.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.getLogger().handlers = [handler]
    for name in ("bentoml", "uvicorn.error", "circus"):
        theirs = logging.getLogger(name)
        theirs.handlers, theirs.propagate = [], True
    paths = logging.getLogger("uvicorn.access")  # it would write learners' names
    paths.handlers, paths.propagate = [], False
    for name in OURS:
        logging.getLogger(name).setLevel(level)
