"""What a request may hold, and the sentence a caller reads when it does not."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sensei import rules
from sensei.errors import InvalidInput

MAX_COUNT = 50
"""Most topics one request may ask for."""

# The rules of the log: who or what cannot be logged cannot be asked about.
Username = Annotated[
    str,
    BeforeValidator(partial(rules.check_id, "username")),
    Field(description=f"text of 1 to {rules.MAX_TEXT} characters", examples=["username=testuser"]),
]
TopicId = Annotated[int, BeforeValidator(rules.check_topic)]


class Query(BaseModel):
    """Base of all requests: unknown fields are refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecommendationsQuery(Query):
    """Path and query of `GET /api/user/{username}/recommendations`."""

    username: Username
    count: int = Field(
        3,
        ge=1,
        le=MAX_COUNT,
        description=f"a whole number from 1 to {MAX_COUNT}",
        examples=["count=3"],
    )


class DifficultyQuery(Query):
    """Path and query of `GET /api/learning/topic/{topic_id}/difficulty/suggest`."""

    topic_id: TopicId
    username: Username


Request = TypeVar("Request", bound=Query)


def parse(model: type[Request], values: Mapping[str, Any]) -> Request:
    """The request that `values` hold.

    Args:
        model: what is expected.
        values: path parameters and query, as text.

    Raises:
        InvalidInput: what was expected, what came, what to send.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(". ".join(_sentence(model, each) for each in error.errors())) from None


def _sentence(model: type[Query], error: Any) -> str:
    name = str(error["loc"][0])
    field = model.model_fields.get(name)
    if field is None:
        known = ", ".join(model.model_fields)
        return f"{name}: expected only {known}, got {name}; leave it out"
    got = "nothing" if error["type"] == "missing" else repr(error["input"])[:80]
    return f"{name}: expected {field.description}, got {got}; send {(field.examples or [name])[0]}"
