"""Whether a worker lives, whether it can answer, and how it stands.

Behind several workers each call meets one of them: what it says is that worker's.
"""

import os
from typing import TYPE_CHECKING

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from features.history import FOLD_VERSION
from serving.answers import Answer
from serving.endpoints import Endpoint, answer
from serving.schemas import Query

if TYPE_CHECKING:
    from serving.model import Model
    from serving.worker import Worker


class Alive(Answer):
    """The process answers."""

    alive: bool


class Ready(Answer):
    """Whether requests can be answered, and what stands in the way of the best answers."""

    ready: bool
    troubles: list[str] = Field(description="Sentences; empty where all is as it should be")


class Served(Answer):
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
    """Whether requests are answered: 503 before the start is over, and once it ends.

    Without a log or without a bundle they are, by labelled fallbacks: then it is ready, and says
    what is missing.
    """
    worker = _worker(request)
    if worker is None:
        return answer({"ready": False, "troubles": ["service: it starts or ends"]}, 503)
    return answer({"ready": True, "troubles": _troubles(worker)})


async def healthz(request: Request, _: Query) -> Response:
    """How this worker stands."""
    worker = _worker(request)
    if worker is None:
        return await readyz(request, _)
    following, predictions = worker.follower.status(), worker.predictions
    return answer(
        {
            "ready": True,
            "troubles": _troubles(worker),
            "worker": os.getpid(),
            "fold_version": FOLD_VERSION,
            "champion": _served(worker.engine.model),
            "challenger": _served(worker.engine.challenger),
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


def _served(model: "Model | None") -> dict[str, object] | None:
    if model is None:
        return None
    entries = model.bundle.manifest.models.items()
    return {"bundle": model.digest, "versions": {name: each.version for name, each in entries}}


def _log_answers(worker: "Worker") -> bool:
    return worker.follower.status().log and not worker.engine.learners.is_unreachable


def _troubles(worker: "Worker") -> list[str]:
    """What stands in the way of the best answers. Not where things lie: anybody may ask."""
    following, engine = worker.follower.status(), worker.engine
    on = f"{engine.model.digest[:12]} serves on" if engine.model else "none serves"
    found = {
        "log: expected an answer, got none; what is served stays": not _log_answers(worker),
        "models: expected a bundle, got none; run `sensei run`": engine.model is None,
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
        example={"ready": True, "troubles": []},
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
