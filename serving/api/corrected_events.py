"""Endpoints that take back or correct recorded events; for operators, and audited."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sensei.contracts import KINDS
from sensei.events import rules
from serving.api import examples
from serving.api.event_schemas import RecordedEvent
from serving.api.interactions import as_recorded
from serving.api.learner import caller
from serving.api.request_schemas import Query, TopicId, Username
from serving.api.response_schemas import ResponseModel
from serving.http.endpoints import Endpoint, answer

if TYPE_CHECKING:
    from sensei.events.corrections import Correction
    from serving.storage.learner_data import LearnerData


def _metadata(value: Any) -> Any:
    rules.check_metadata(value)
    return value


Reason = Annotated[
    Annotated[str, BeforeValidator(lambda value: rules.check_id("reason", value))] | None,
    Field(description="Reason in words, for the record", examples=["regraded"]),
]


class EventQuery(Query):
    """Path of a request about a recorded event."""

    username: Username
    event_id: Annotated[
        str,
        BeforeValidator(lambda value: rules.check_id("event_id", value)),
        Field(description="Id under which the event was first recorded", examples=["quiz-17"]),
    ]


class VoidQuery(EventQuery):
    """Path and query of `POST /api/interactions/{username}/{event_id}/void`."""

    reason: Reason = None


class EventCorrection(Query):
    """New values of an event; fields that are not sent stay as they are."""

    interaction_type: Annotated[
        str, BeforeValidator(rules.check_kind), WithJsonSchema({"enum": list(KINDS)})
    ] = KINDS[0]
    topic_id: TopicId = 0
    score: Annotated[
        float | None,
        BeforeValidator(rules.check_score),
        Field(description="a fraction in [0, 1]; null removes it", examples=[0.85]),
        WithJsonSchema({"type": ["number", "null"], "minimum": 0, "maximum": 1}),
    ] = None
    duration_seconds: Annotated[
        int | None,
        BeforeValidator(rules.check_duration),
        Field(description="Duration in seconds; null removes it", examples=[240]),
        WithJsonSchema(
            {"type": ["number", "null"], "minimum": 0, "maximum": rules.MAX_DURATION_SECONDS}
        ),
    ] = None
    timestamp: Annotated[
        datetime | None,
        BeforeValidator(rules.check_time),
        Field(description="Time at which it ended, ISO 8601"),
        WithJsonSchema({"type": "string", "format": "date-time"}),
    ] = None
    metadata: Annotated[
        dict[str, Any] | None,
        BeforeValidator(_metadata),
        Field(description="Replaces all metadata of the event; null removes it"),
        WithJsonSchema({"type": ["object", "null"]}),
    ] = None
    reason: Reason = None

    def changes(self) -> dict[str, Any]:
        """Return the new values that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set - {"reason"}}


class CorrectedEvent(ResponseModel):
    """State of an event after a correction."""

    state: Literal["void", "corrected"]
    changed: bool = Field(description="False if the event was in this state already")
    event: RecordedEvent | None = Field(description="Content that counts now; null if void")


async def void_event(request: Request, asked: VoidQuery) -> Response:
    """Void an event: it counts no more."""
    from sensei.events.corrections import Correction  # here: BentoML's supervisor needs no database

    order = Correction(asked.username, asked.event_id, None, asked.reason)
    return await _corrected(request, order)


async def correct_event(request: Request, asked: EventQuery, sent: EventCorrection) -> Response:
    """Give an event new values."""
    from sensei.events.corrections import Correction

    order = Correction(asked.username, asked.event_id, sent.changes(), sent.reason)
    return await _corrected(request, order)


async def _corrected(request: Request, order: "Correction") -> Response:
    records: LearnerData = request.app.state.worker.records
    result = await records.correct(order, caller(request))
    if not result.is_known:
        raise HTTPException(
            404,
            f"event_id: expected an event of this learner, got {order.event_id!r:.80}; "
            "send the id under which it was recorded",
        )
    return answer(
        {
            "state": "void" if result.event is None else "corrected",
            "changed": result.is_new,
            "event": None if result.event is None else as_recorded(result.event),
        }
    )


_MAY_FAIL = (404, 410, 503)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        "/api/interactions/{username}/{event_id}/void",
        void_event,
        "Void an event: it counts no more; its history is kept",
        CorrectedEvent,
        VoidQuery,
        scope="operator",
        statuses=_MAY_FAIL,
        example=examples.VOIDED,
    ),
    Endpoint(
        "POST",
        "/api/interactions/{username}/{event_id}/correct",
        correct_event,
        "Correct an event: the new values count; its history is kept",
        CorrectedEvent,
        EventQuery,
        EventCorrection,
        scope="operator",
        statuses=_MAY_FAIL,
        example=examples.CORRECTED,
    ),
)
