"""Endpoints for a learner's own data: format preference, export, erasure."""

from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from serving.api import examples
from serving.api.event_schemas import OfLearner, Style
from serving.api.request_schemas import Query
from serving.api.response_schemas import ResponseModel
from serving.http.auth import CALLER
from serving.http.endpoints import Endpoint, answer

if TYPE_CHECKING:
    from sensei.privacy.audit_log import Actor
    from serving.storage.learner_data import LearnerData


LOOK_ALIKES = "Other learners of an old log whose ids look the same; they are not included"


class StyleChoice(Query):
    """Body of `PUT /api/user/{username}/learning-style`."""

    learning_style: Style | None = Field(
        description="visual, kinesthetic or mixed; null to use the observed one",
        examples=["visual"],
    )


class StyleEvidence(ResponseModel):
    """Number of events by kind that the observed preference is based on."""

    video_views: int
    text_reads: int
    practice_attempts: int
    quiz_attempts: int


class LearningStyle(ResponseModel):
    """A learner's preferred format; no learning gain is claimed for it (Pashler et al. 2008)."""

    learning_style: Style = Field(description="The learner's own choice, else the observed one")
    observed: Style
    override: Style | None
    evidence: StyleEvidence
    fallback: str | None = Field(description="Reason if nothing was observed, else null")


class Export(ResponseModel):
    """All data held on a learner."""

    user_id: str
    held: dict[str, list[dict[str, Any]]] = Field(description="Rows by table")
    look_alikes: list[str] = Field(description=LOOK_ALIKES)


class Erasure(ResponseModel):
    """Result of an erasure: no data on the learner remains; later events about them are refused."""

    erased: dict[str, int] = Field(description="Rows erased by table")
    look_alikes: list[str] = Field(description=LOOK_ALIKES)


async def learning_style(request: Request, asked: OfLearner) -> Response:
    """Return a learner's preferred format."""
    return answer(await _records(request).learning_style(asked.username))


async def choose_learning_style(request: Request, asked: OfLearner, sent: StyleChoice) -> Response:
    """Store the format that a learner chose."""
    return answer(await _records(request).choose_style(asked.username, sent.learning_style))


async def export_learner(request: Request, asked: OfLearner) -> Response:
    """Export all data held on a learner."""
    records, name, by = _records(request), asked.username, caller(request)
    export = await records.export(name, by)
    if export is None:
        raise HTTPException(
            404, f"username: expected a learner with stored data, got {name!r:.80}; check it"
        )
    return Response(export, media_type="application/json")


async def erase_learner(request: Request, asked: OfLearner) -> Response:
    """Erase all data held on a learner."""
    records, by = _records(request), caller(request)
    counts, look_alikes = await records.erase(asked.username, by)
    return answer({"erased": counts, "look_alikes": look_alikes})


def caller(request: Request) -> "Actor":
    """Return the caller's identity for the audit log."""
    from sensei.privacy.audit_log import (
        Actor,  # here: BentoML's supervisor needs no database
    )

    key = request.scope.get(CALLER)
    address = request.client.host if request.client else "socket"
    return Actor(f"key {key}" if key else "no key", f"HTTP {address}")


def _records(request: Request) -> "LearnerData":
    records: LearnerData = request.app.state.worker.records
    return records


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/api/user/{username}/learning-style",
        learning_style,
        "Get a learner's preferred format",
        LearningStyle,
        OfLearner,
        example=examples.LEARNING_STYLE,
    ),
    Endpoint(
        "PUT",
        "/api/user/{username}/learning-style",
        choose_learning_style,
        "Set the format that a learner chose",
        LearningStyle,
        OfLearner,
        StyleChoice,
        statuses=(410, 503),
        example=examples.LEARNING_STYLE,
    ),
    Endpoint(
        "GET",
        "/api/user/{username}",
        export_learner,
        "Export all data held on a learner",
        Export,
        OfLearner,
        statuses=(404, 503),
        example=examples.EXPORT,
    ),
    Endpoint(
        "DELETE",
        "/api/user/{username}",
        erase_learner,
        "Erase a learner: delete all data on them, refuse new events",
        Erasure,
        OfLearner,
        scope="operator",
        platform_if="platform_may_erase",
        statuses=(503,),
        example=examples.ERASURE,
    ),
)
