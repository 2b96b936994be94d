"""Endpoints that record learner events; the response is sent after the event is durable."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sensei.errors import InvalidBatch, InvalidInput
from serving.api import examples
from serving.api.event_schemas import (
    Document,
    DocumentQuery,
    OfLearner,
    QuizSubmission,
    RecommendationFeedback,
    RecordedEvent,
    RecordedResponse,
    SentEvents,
    TimeSpent,
    ViewQuery,
)
from serving.api.request_schemas import Query
from serving.http.endpoints import Endpoint, answer

if TYPE_CHECKING:
    from sensei.curriculum import Resource, Topic
    from sensei.events.append import EventRow, PendingRow
    from serving.storage.event_writer import EventWriter
    from serving.storage.learner_data import LearnerData

VIEWS = {"text": "text_read", "video": "video_view", "lab": "resource_view"}
"""Kind of event that is recorded when a resource is opened, by format."""

_MAY_FAIL = (409, 410, 503)
_AT_ONCE = 50  # maximum number of events that are checked in the event loop


async def submit_quiz(request: Request, asked: OfLearner, sent: QuizSubmission) -> Response:
    """Record a completed quiz."""
    return answer(await _record(request, sent.row(asked.username, datetime.now(UTC))))


async def recommendation_feedback(
    request: Request, asked: OfLearner, sent: RecommendationFeedback
) -> Response:
    """Record a learner's feedback on a recommendation."""
    return answer(await _record(request, sent.row(asked.username, datetime.now(UTC))))


async def log_interactions(request: Request, asked: Query, sent: SentEvents) -> Response:  # noqa: ARG001
    """Record one event, or a list of events: all or none."""
    from sensei.events.append import entries  # here: BentoML's supervisor needs no database

    is_one = isinstance(sent.root, Mapping)
    events = [sent.root] if is_one else sent.root
    check = partial(entries, events, datetime.now(UTC))
    try:
        # A check of a thousand events takes 20 ms, too long to block the event loop.
        rows = check() if len(events) <= _AT_ONCE else await asyncio.to_thread(check)
    except InvalidBatch as error:
        if is_one:  # a single event has no position to name
            raise InvalidInput(str(error)) from None
        raise
    recorded = await _writer(request).log_interactions(rows)
    if is_one:
        return answer(as_recorded(recorded[0]))
    return answer({"interactions": [as_recorded(row) for row in recorded]})


async def view_document(request: Request, asked: ViewQuery) -> Response:
    """Return a resource; if a learner is named, record their view first, except for HEAD."""
    topic, resource = await _find(request, asked.doc_id)
    view = None
    if asked.username is not None and request.method == "GET":
        kind = VIEWS[resource.kind]
        row = _about(topic, resource, asked.username, kind, event_id=asked.event_id)
        view = await _record(request, row)
    elif asked.username is None and asked.event_id is not None:
        raise InvalidInput(
            "username: expected the learner who views it, got nothing; send username="
        )
    return answer(
        {
            "doc_id": asked.doc_id,
            "topic_id": topic.topic_id,
            "topic": topic.title,
            "title": resource.title,
            "format": resource.kind,
            "url": resource.url,
            "minutes": resource.minutes,
            "view": view,
        }
    )


async def spend_time(request: Request, asked: DocumentQuery, sent: TimeSpent) -> Response:
    """Record the time that a learner spent with a resource."""
    topic, resource = await _find(request, asked.doc_id)
    row = _about(
        topic,
        resource,
        sent.username,
        "resource_view",
        duration_seconds=sent.duration,
        event_id=sent.event_id,
        timestamp=sent.timestamp,
    )
    return answer(await _record(request, row))


def _about(
    topic: "Topic", resource: "Resource", user_id: str, kind: str, **values: Any
) -> "PendingRow":
    """Return the row of an event about a resource."""
    from sensei.events.append import pending_row

    metadata = {"format": resource.kind, "doc_id": resource.resource_id}
    now = datetime.now(UTC)
    return pending_row(user_id, kind, topic.topic_id, now, metadata=metadata, **values)


async def _find(request: Request, doc_id: int) -> "tuple[Topic, Resource]":
    records: LearnerData = request.app.state.worker.records
    topic_and_resource = await records.find(doc_id)
    if topic_and_resource is None:
        raise HTTPException(
            404, f"doc_id: expected a resource of the curriculum, got {doc_id}; see its resources"
        )
    return topic_and_resource


async def _record(request: Request, row: "PendingRow") -> dict[str, Any]:
    """Record one event; return it as the log stores it."""
    return as_recorded((await _writer(request).log_interactions([row]))[0])


def _writer(request: Request) -> "EventWriter":
    writer: EventWriter = request.app.state.worker.recorder
    return writer


def as_recorded(row: "EventRow") -> dict[str, Any]:
    """Return an event in the format of responses."""
    from sensei.storage.tables import to_datetime

    return {
        "event_id": row.event_id,
        "user_id": row.user_id,
        "interaction_type": row.interaction_type,
        "topic_id": row.topic_id,
        "score": row.score,
        "duration_seconds": row.duration_seconds,
        "timestamp": to_datetime(row.timestamp),
        "metadata": None if row.metadata is None else orjson.loads(row.metadata),
    }


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        "/api/learning/{username}/submit-quiz",
        submit_quiz,
        "Record a finished quiz",
        RecordedEvent,
        OfLearner,
        QuizSubmission,
        statuses=_MAY_FAIL,
        example=examples.QUIZ,
    ),
    Endpoint(
        "POST",
        "/api/user/{username}/feedback/recommendation",
        recommendation_feedback,
        "Record feedback on a recommendation",
        RecordedEvent,
        OfLearner,
        RecommendationFeedback,
        statuses=_MAY_FAIL,
        example=examples.FEEDBACK,
    ),
    Endpoint(
        "POST",
        "/api/interactions",
        log_interactions,
        "Record one event of any kind, or a list of events, all or none",
        RecordedResponse,
        body=SentEvents,
        statuses=_MAY_FAIL,
        example={"interactions": [examples.QUIZ, examples.FEEDBACK]},
    ),
    Endpoint(
        "POST",
        "/api/knowledge-base/{doc_id}/view",
        spend_time,
        "Record the time that a learner spent with a resource",
        RecordedEvent,
        DocumentQuery,
        TimeSpent,
        statuses=(404, *_MAY_FAIL),
        example=examples.TIME_SPENT,
    ),
    Endpoint(
        "GET",
        "/api/knowledge-base/{doc_id}",
        view_document,
        "Get a resource; with a username, record the learner's view of it",
        Document,
        ViewQuery,
        statuses=(404, *_MAY_FAIL),
        example=examples.DOCUMENT,
    ),
)
