"""Whether a worker lives, whether it can answer, and how it stands.

Behind several workers each call meets one of them: what it says is that worker's.
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
    """The process answers."""

    alive: bool


class Keys(ResponseModel):
    """How the keys stand that callers present."""

    state: Literal["unread", "expired", "none", "valid"]
    read_seconds: float | None = Field(description="Since they were last read; null: never")
    max_age_seconds: int = Field(description="Keys read longer ago let nobody in")
    note: str | None = Field(description="What to do, for a person; null where nothing is")


class Ready(ResponseModel):
    """Whether requests can be answered, and what stands in the way of the best answers."""

    ready: bool
    troubles: list[str] = Field(description="Sentences; empty where all is as it should be")
    keys: Keys


class Served(ResponseModel):
    """A bundle that answers."""

    bundle: str = Field(description="Its digest")
    versions: dict[str, str] = Field(description="Model -> version in the registry")


class Health(Ready):
    """How one worker stands."""

    worker: int = Field(description="Its process")
    fold_version: int = Field(description="Of the history that inputs are read from")
    champion: Served | None = Field(description="Null where answers follow the curriculum")
    challenger: Served | None = Field(description="Of a live trial")
    log: bool = Field(description="Whether it answered when it was last asked")
    polled_seconds: float | None = Field(description="Since the pointer was last read")
    refreshed_seconds: float | None = Field(description="Since recent popularity was read")
    answers_waiting: int = Field(description="Not in the log of answers yet")
    answers_written: int
    answers_lost: int = Field(description="Dropped because the log did not take them")


async def livez(_: Request, __: Query) -> Response:
    """Whether the process answers at all."""
    return answer({"alive": True})


async def readyz(request: Request, _: Query) -> Response:
    """Readiness: 503 before the start is over, once it ends, and at another migration of the log.

    Without a log or without a bundle requests are answered by labelled fallbacks: then it is ready,
    and lists what is missing. Without trusted keys nobody is let in: then it is not ready. With a
    log at another migration every write is refused until a person acts, so a load balancer should
    ask workers of the version that fits; reads are still answered.
    """
    worker, keys = _worker(request), _access(request).status()
    troubles = ["service: it starts or ends"] if worker is None else _troubles(worker)
    if not keys.is_ready:
        troubles = [str(keys.note), *troubles]
    fits = worker is not None and worker.follower.status().mismatch is None
    is_ready = fits and keys.is_ready
    found = {"ready": is_ready, "troubles": troubles, "keys": keys._asdict()}
    return answer(found, 200 if is_ready else 503)


async def healthz(request: Request, _: Query) -> Response:
    """How this worker stands."""
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
    return {"bundle": model.digest, "versions": {name: each.version for name, each in entries}}


def _log_answers(worker: "Worker") -> bool:
    return worker.follower.status().log and not worker.engine.learners.is_unreachable


def _troubles(worker: "Worker") -> list[str]:
    """What stands in the way of the best answers. Not where things lie: anybody may ask."""
    following, model = worker.follower.status(), worker.engine.state.model
    on = f"{model.digest[:12]} serves on" if model else "none serves"
    moved = worker.log_file.trouble if worker.log_file else None
    found = {
        f"{moved}; until then nothing is written": moved is not None,
        following.mismatch or "": following.mismatch is not None,
        "log: expected an answer, got none; what is served stays": not (
            _log_answers(worker) or moved or following.mismatch
        ),
        "models: expected a bundle, got none; run `sensei run`": model is None,
        f"bundle: expected the one that is pointed at, got a refusal; {on}, see the service's "
        "log": following.refused is not None,
        "challenger: expected the trial's bundle, got a refusal; see the service's log": (
            following.refused_challenger is not None
        ),
    }
    return [sentence for sentence, true in found.items() if true]


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/livez", livez, "Whether it lives", Alive, scope="open", example={"alive": True}
    ),
    Endpoint(
        "GET",
        "/readyz",
        readyz,
        "Whether it can answer",
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
        "How it stands",
        Health,
        scope="operator",
        statuses=(503,),
    ),
)
