"""One event in the data contract, as a request or a caller sends it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from sensei.errors import InvalidInput
from sensei.events import rules


def _user_id(value: object) -> str:
    return rules.check_id("user_id", value)


def _event_id(value: object) -> str | None:
    return None if value is None else rules.check_id("event_id", value)


def _metadata(value: object) -> dict[str, Any] | None:
    text = rules.check_metadata(value).text
    return None if text is None else orjson.loads(text)


class Interaction(BaseModel):
    """One action of a learner; every value has passed its rule in `sensei.events.rules`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: Annotated[str, BeforeValidator(_user_id)]
    interaction_type: Annotated[str, BeforeValidator(rules.check_kind)]
    topic_id: Annotated[int, BeforeValidator(rules.check_topic)]
    timestamp: Annotated[datetime, BeforeValidator(rules.check_time)]
    score: Annotated[float | None, BeforeValidator(rules.check_score)] = None
    duration_seconds: Annotated[int | None, BeforeValidator(rules.check_duration)] = None
    metadata: Annotated[dict[str, Any] | None, BeforeValidator(_metadata)] = None
    event_id: Annotated[str | None, BeforeValidator(_event_id)] = None


def parse(row: Mapping[str, object]) -> Interaction:
    """Validate one event.

    Raises:
        InvalidInput: a value breaks its rule, or a field is missing or unknown.
    """
    try:
        return Interaction.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(Interaction.model_fields)
            raise InvalidInput(
                f"{field}: expected one of {known}, got an unknown field; leave it out"
            ) from error
        raise InvalidInput(f"{field}: expected a value, got none; send it") from error
