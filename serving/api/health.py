"""Liveness, readiness and health of a worker.

With several workers, each call reaches one of them and reports on that worker only.
"""

import os
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from features.history import FOLD_VERSION
from serving.api.request_schemas import Query
from serving.api.response_schemas import ResponseModel
from serving.http.auth import Access
from serving.http.endpoints import Endpoint, answer

if TYPE_CHECKING:
    from serving.state.model import Model
    from serving.worker import Worker


class Alive(ResponseModel):
    """Liveness: the process answers."""

    alive: bool


class Keys(ResponseModel):
    """Status of the keys that authenticate callers."""

    state: Literal["unread", "expired", "none", "valid"]
    read_seconds: float | None = Field(
        description="Seconds since the last read of the keys; null: never read"
    )
    max_age_seconds: int = Field(
        description="Maximum age; with older keys all requests are refused"
    )
    note: str | None = Field(description="Action for an operator; null if none is needed")


class Ready(ResponseModel):
    """Readiness to answer requests, and problems that reduce the quality of answers."""

    ready: bool
    troubles: list[str] = Field(description="Problems, as sentences; empty if there are none")
    keys: Keys


class Served(ResponseModel):
    """A bundle in use."""

    bundle: str = Field(description="Digest of the bundle")
    versions: dict[str, str] = Field(description="Registry version by model")


class Health(Ready):
    """Health of one worker."""

    worker: int = Field(description="Process id")
    fold_version: int = Field(description="Version of the fold that computes the inputs")
    champion: Served | None = Field(description="Null if answers follow the curriculum")
    challenger: Served | None = Field(description="Bundle of the challenger in a running A/B test")
    log: bool = Field(description="True if the last read of the log succeeded")
    polled_seconds: float | None = Field(
        description="Seconds since the serving pointer was last read"
    )
    refreshed_seconds: float | None = Field(
        description="Seconds since recent popularity was last read"
    )
    answers_waiting: int = Field(description="Answers not logged yet")
    answers_written: int
    answers_lost: int = Field(description="Answers dropped because they could not be logged")


async def livez(_: Request, __: Query) -> Response:
    """Answer the liveness probe."""
    return answer({"alive": True})


async def readyz(request: Request, _: Query) -> Response:
    """Answer the readiness probe.

    It returns 503 before startup is complete, during shutdown, and if the log is at another
    migration. Without a log or without a bundle the worker is ready: it answers with labelled
    fallbacks and lists what is missing. Without trusted keys nobody is admitted, so it is not
    ready. If the log is at another migration, every write is refused until a person acts, while
    reads are still answered. A load balancer should then send requests to workers of the matching
    version.
    """
    worker, keys = _worker(request), _access(request).status()
    troubles = ["service: it is starting or stopping"] if worker is None else _troubles(worker)
    if not keys.is_ready:
        troubles = [str(keys.note), *troubles]
    fits = worker is not None and worker.follower.status().mismatch is None
    is_ready = fits and keys.is_ready
    content = {"ready": is_ready, "troubles": troubles, "keys": keys._asdict()}
    return answer(content, 200 if is_ready else 503)


async def healthz(request: Request, _: Query) -> Response:
    """Return the health of this worker."""
    worker = _worker(request)
    if worker is None:
        return await readyz(request, _)
    following, predictions = worker.follower.status(), worker.predictions
    state = worker.engine.state
    return answer(
        {
            "ready": following.mismatch is None,
            "troubles": _troubles(worker),
            "keys": _access(request).status()._asdict(),
            "worker": os.getpid(),
            "fold_version": FOLD_VERSION,
            "champion": _served(state.model),
            "challenger": _served(state.challenger),
            "log": _log_answers(worker),
            "polled_seconds": following.polled_seconds,
            "refreshed_seconds": following.refreshed_seconds,
            "answers_waiting": predictions.waiting,
            "answers_written": predictions.written,
            "answers_lost": predictions.lost,
        }
    )


def _worker(request: Request) -> "Worker | None":
    return getattr(request.app.state, "worker", None)


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


def _served(model: "Model | None") -> dict[str, object] | None:
    if model is None:
        return None
    entries = model.bundle.manifest.models.items()
    return {"bundle": model.digest, "versions": {name: entry.version for name, entry in entries}}


def _log_answers(worker: "Worker") -> bool:
    return worker.follower.status().log and not worker.engine.learners.is_unreachable


def _troubles(worker: "Worker") -> list[str]:
    """Return the problems that reduce the quality of answers.

    The sentences contain no file paths, because anybody may call `/readyz`.
    """
    following, model = worker.follower.status(), worker.engine.state.model
    on = f"{model.digest[:12]} stays in use" if model else "none is in use"
    moved = worker.log_file.trouble if worker.log_file else None
    found = {
        f"{moved}; until then nothing is written": moved is not None,
        following.mismatch or "": following.mismatch is not None,
        "log: expected an answer, got none; the served models stay": not (
            _log_answers(worker) or moved or following.mismatch
        ),
        "models: expected an update, got an error that is logged; those in use stay": (
            following.failed is not None
        ),
        "models: expected a bundle, got none; run `sensei run`": model is None,
        f"bundle: expected the one of the serving pointer, got a refused one; {on}, see the "
        "service's log": following.refused is not None,
        "challenger: expected the trial's bundle, got a refused one; see the service's log": (
            following.refused_challenger is not None
        ),
    }
    return [sentence for sentence, true in found.items() if true]


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/livez", livez, "Liveness probe", Alive, scope="open", example={"alive": True}
    ),
    Endpoint(
        "GET",
        "/readyz",
        readyz,
        "Readiness probe",
        Ready,
        scope="open",
        statuses=(503,),
        example={
            "ready": True,
            "troubles": [],
            "keys": {
                "state": "valid",
                "read_seconds": 1.2,
                "max_age_seconds": 86_400,
                "note": None,
            },
        },
    ),
    Endpoint(
        "GET",
        "/healthz",
        healthz,
        "Health of a worker",
        Health,
        scope="operator",
        statuses=(503,),
    ),
)
