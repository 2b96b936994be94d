"""The curriculum: topics, their prerequisites and their resources."""

import json
from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Engine, delete, insert, select

from sensei.contracts import Format
from sensei.errors import InvalidInput
from sensei.events.rules import MAX_TOPIC_ID
from sensei.storage import database, tables

MAX_MINUTES = 366 * 24 * 60
"""Maximum minutes of a topic or a resource: one year."""


class Resource(BaseModel):
    """Resource of a topic to read, watch or do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource_id: int = Field(
        ge=1, le=MAX_TOPIC_ID, description="Unique in the curriculum; the id of its page"
    )
    kind: Format
    title: str = Field(min_length=1)
    url: str = Field(min_length=1, description="URL, or a path on the platform")
    minutes: int | None = Field(None, ge=1, le=MAX_MINUTES)


class Topic(BaseModel):
    """Unit of the curriculum that takes one or a few sessions to learn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic_id: int = Field(ge=0, le=MAX_TOPIC_ID, description="`topic_id` in interactions")
    slug: str | None = None
    title: str = Field(min_length=1)
    domain: str = Field(min_length=1)
    difficulty: int | None = Field(None, ge=1, le=5, description="1 beginner, 5 expert")
    minutes: int | None = Field(
        None, ge=1, le=MAX_MINUTES, description="Study time of a typical learner"
    )
    prerequisites: tuple[int, ...] = ()
    summary: str = ""
    references: tuple[str, ...] = Field((), description="Names of standards and literature")
    resources: tuple[Resource, ...] = ()


class Curriculum(BaseModel):
    """Topics in their intended order of study; prerequisites form no cycle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    topics: tuple[Topic, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        _check_unique("topic_id", (topic.topic_id for topic in self.topics))
        _check_unique("resource_id", (resource.resource_id for _, resource in self.resources))
        titles = {topic.topic_id: topic.title for topic in self.topics}
        for topic in self.topics:
            for prerequisite in topic.prerequisites:
                if prerequisite not in titles:
                    raise ValueError(
                        f"prerequisites: expected topics of this curriculum, got {prerequisite} at "
                        f"topic {topic.topic_id} ({topic.title}); add the topic or remove it there"
                    )
        _check_acyclic(self.topics, titles)
        return self

    @property
    def resources(self) -> tuple[tuple[int, Resource], ...]:
        """Pairs (topic_id, resource) of all resources."""
        return tuple((topic.topic_id, one) for topic in self.topics for one in topic.resources)

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, by first appearance."""
        return tuple(dict.fromkeys(topic.domain for topic in self.topics))

    def plain(self) -> list[dict[str, Any]]:
        """Return topics as plain values for `sensei.simulation`, which imports none of ours."""
        wanted = {"topic_id", "domain", "difficulty", "minutes", "prerequisites"}
        return [topic.model_dump(include=wanted) for topic in self.topics]


def load_file(path: Path | None = None) -> Curriculum:
    """Read and check a curriculum file.

    Args:
        path: JSON file as described in `docs/curriculum.md`; by default our own curriculum.

    Returns:
        The curriculum, its topics in the file's order.

    Raises:
        InvalidInput: the file cannot be read, is not JSON, or breaks a rule. The message names the
            field, the expected value and the value received.
    """
    name = "curriculum.json" if path is None else str(path)
    source = files("sensei") / "data" / "curriculum.json" if path is None else path
    try:
        document = json.loads(source.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidInput(
            f"{name}: expected a readable file, got {error.strerror}; check the path"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name}: expected JSON, got {error}; repair the file") from None
    try:
        return Curriculum.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(f"{name}: {_sentence(error)}") from None


def store(engine: Engine, curriculum: Curriculum) -> None:
    """Replace the stored curriculum in one transaction.

    Interactions stay untouched: a log may name topics that no catalogue has.

    Raises:
        StorageUnavailable: nothing was written.
    """
    topics = [
        topic.model_dump(include={"topic_id", "title", "domain", "minutes"})
        | {"prerequisites": list(topic.prerequisites)}
        for topic in curriculum.topics
    ]
    resources = [
        one.model_dump(exclude={"resource_id"}) | {"id": one.resource_id, "topic_id": topic_id}
        for topic_id, one in curriculum.resources
    ]
    with database.write_transaction(engine) as connection:
        connection.execute(delete(tables.ResourceRow))
        connection.execute(delete(tables.TopicRow))
        connection.execute(insert(tables.TopicRow), topics)
        if resources:
            connection.execute(insert(tables.ResourceRow), resources)


def read(engine: Engine) -> Curriculum:
    """Return the stored curriculum by ascending `topic_id`; it has no topics if none was loaded.

    Fields without a database column (slug, difficulty, summary, references) are absent.
    """
    with database.read_connection(engine) as connection:
        topics = connection.execute(
            select(tables.TopicRow).order_by(tables.TopicRow.topic_id)
        ).all()
        resource_rows = connection.execute(
            select(tables.ResourceRow).order_by(tables.ResourceRow.id)
        ).all()
    resources: dict[int, list[Resource]] = {}
    for row in resource_rows:
        fields = {"kind": row.kind, "title": row.title, "url": row.url, "minutes": row.minutes}
        resource = Resource(resource_id=row.id, **fields)
        resources.setdefault(row.topic_id, []).append(resource)
    return Curriculum.model_construct(  # checked at loading; may be empty
        name="stored curriculum",
        topics=tuple(
            Topic(
                topic_id=row.topic_id,
                title=row.title,
                domain=row.domain,
                minutes=row.minutes,
                prerequisites=tuple(row.prerequisites),
                resources=tuple(resources.get(row.topic_id, ())),
            )
            for row in topics
        ),
    )


def find(engine: Engine, resource_id: int) -> tuple[Topic, Resource] | None:
    """Return a stored resource with its topic (id, title and domain only); None if absent."""
    query = select(
        tables.ResourceRow, tables.TopicRow.title.label("topic"), tables.TopicRow.domain
    ).join_from(tables.ResourceRow, tables.TopicRow)
    with database.read_connection(engine) as connection:
        row = connection.execute(query.where(tables.ResourceRow.id == resource_id)).first()
    if row is None:
        return None
    resource = Resource(
        resource_id=row.id, kind=row.kind, title=row.title, url=row.url, minutes=row.minutes
    )
    return Topic(topic_id=row.topic_id, title=row.topic, domain=row.domain), resource


def _check_unique(field: str, values: Iterable[int]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{field}: expected each value once, got {twice[0]} twice; renumber one")


def _check_acyclic(topics: tuple[Topic, ...], titles: dict[int, str]) -> None:
    try:
        TopologicalSorter({topic.topic_id: topic.prerequisites for topic in topics}).prepare()
    except CycleError as error:
        circle = " -> ".join(titles[topic_id] for topic_id in error.args[1])
        raise ValueError(
            f"prerequisites: expected no cycle, got {circle}; remove one of these prerequisites"
        ) from None


def _sentence(error: ValidationError) -> str:
    """Return the first error as `field: expected X, got Y; do Z`, and the number of others."""
    fault = error.errors(include_url=False)[0]
    more = error.error_count() - 1
    tail = f" (and {more} more)" if more else ""
    if "error" in fault.get("ctx", {}):
        return f"{fault['ctx']['error']}{tail}"  # already our own sentence
    field = ".".join(map(str, fault["loc"])) or "file"
    expected = fault["msg"][0].lower() + fault["msg"][1:]
    got = "nothing" if fault["type"] == "missing" else f"{fault['input']!r:.60}"
    return f"{field}: {expected}, got {got}; see docs/curriculum.md{tail}"
