"""Refused events of requests go into the quarantine, like the refused rows of a file."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from starlette.requests import Request

from sensei.errors import InvalidBatch, InvalidInput, StorageUnavailable

MOST_WAITING = 100
"""Maximum number of requests whose refused events wait for the database; more are not kept."""

RECORDING = frozenset(
    {
        "/api/interactions",
        "/api/learning/{username}/submit-quiz",
        "/api/user/{username}/feedback/recommendation",
        "/api/knowledge-base/{doc_id}/view",
    }
)
"""Templates of the paths to which events are sent."""

_waiting: set[asyncio.Task[None]] = set()


class RefusedEvent(NamedTuple):
    """Event as it was sent, the first rule that it broke, and that rule without the value."""

    row: dict[str, Any]
    reason: str
    expectation: str


async def keep_refused(
    request: Request, path: str, in_path: Mapping[str, str], error: InvalidInput
) -> None:
    """Store the events that broke a rule, without delay for the answer.

    Args:
        request: its body is JSON, and was read.
        path: template of the path.
        in_path: parameters of the path.
        error: the rules that were broken.
    """
    worker = getattr(request.app.state, "worker", None)
    if worker and path in RECORDING and len(_waiting) < MOST_WAITING:
        events = list(refused_events(await request.body(), in_path, error))
        task = asyncio.create_task(_store(worker.records, events))
        _waiting.add(task)
        task.add_done_callback(_waiting.discard)


def refused_events(
    body: bytes, in_path: Mapping[str, str], error: InvalidInput
) -> Iterator[RefusedEvent]:
    """Yield the events of a body that broke a rule.

    Args:
        body: JSON of one event or of a list.
        in_path: parameters of the path; `username` is the learner.
        error: the rules that were broken.
    """
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        return  # the path was refused before the body was read
    reasons = error.items if isinstance(error, InvalidBatch) else {0: str(error)}
    events = sent if isinstance(sent, list) else [sent]
    for position, reason in reasons.items():
        event = events[position] if position < len(events) else None
        row = dict(event) if isinstance(event, dict) else {"event": event}
        if "username" in in_path:
            row["user_id"] = in_path["username"]
        yield RefusedEvent(row, reason, reason.split(", got ")[0])


async def _store(records: Any, events: Sequence[RefusedEvent]) -> None:
    try:
        await records.quarantine(events)
    except StorageUnavailable:
        return  # the caller knows of the refusal; its count is lost with the database
