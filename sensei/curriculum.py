"""The curriculum: topics, their prerequisites and their resources."""

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, Engine, delete, func, insert, select
from sqlalchemy.orm import Session

from sensei.app_state import CATALOGUE
from sensei.contracts import Format
from sensei.corrections.merged_ids import merged_ids
from sensei.corrections.superseding import invalidate
from sensei.errors import InvalidInput
from sensei.events.rules import MAX_TOPIC_ID
from sensei.privacy import tombstones
from sensei.storage import database, tables

MAX_MINUTES = 366 * 24 * 60
"""Maximum minutes of a topic or a resource: one year."""

LOAD_CATALOGUE = (
    "load a catalogue that has them with `sensei curriculum load FILE`; "
    "there, a topic of the past is `retired`"
)
"""Next step after events on topics that the catalogue does not have."""

SHOWN_IDS = 10
"""Maximum number of topic ids that a sentence lists."""


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
    retired: bool = Field(False, description="Not offered any more; its events stay")
    replaced_by: int | None = Field(
        None, description="Offered topic that this one's events count for; retires this one"
    )

    @property
    def is_offered(self) -> bool:
        """True if learners may be sent to the topic."""
        return not self.retired and self.replaced_by is None

    @property
    def counts_for(self) -> int:
        """Topic that events on this one count for: its replacement, or itself."""
        return self.topic_id if self.replaced_by is None else self.replaced_by


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
        _check_offered(self.topics)
        open_prerequisites = {
            topic.topic_id: self.offered_prerequisites(topic) for topic in self.offered
        }
        _check_acyclic(open_prerequisites, titles)
        return self

    @property
    def offered(self) -> tuple[Topic, ...]:
        """Topics that learners may be sent to: those that are not retired."""
        return tuple(topic for topic in self.topics if topic.is_offered)

    def offered_prerequisites(self, topic: Topic) -> tuple[int, ...]:
        """Return a topic's prerequisites as offered topics.

        The replacement takes the place of a replaced topic; other retired topics are left out.
        """
        named = (self.offered_as[topic_id] for topic_id in topic.prerequisites)
        return tuple(dict.fromkeys(topic_id for topic_id in named if topic_id is not None))

    @cached_property
    def offered_as(self) -> dict[int, int | None]:
        """Offered topic by the id of a topic: itself or its replacement; None if it is retired."""
        return {
            topic.topic_id: topic.topic_id if topic.is_offered else topic.replaced_by
            for topic in self.topics
        }

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
        return [
            topic.model_dump(include=wanted) | {"prerequisites": self.offered_prerequisites(topic)}
            for topic in self.offered
        ]


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

    No event changes. A learner's revision rises if one of their events counts from now on, counts
    no more, or counts for another topic: their state is then computed again.

    Raises:
        StorageUnavailable: nothing was written.
    """
    topics = [
        topic.model_dump(include={"topic_id", "title", "domain", "minutes", "retired"})
        | {
            "prerequisites": list(curriculum.offered_prerequisites(topic)),
            "replaced_by": topic.replaced_by,
        }
        for topic in curriculum.topics
    ]
    resources = [
        one.model_dump(exclude={"resource_id"}) | {"id": one.resource_id, "topic_id": topic_id}
        for topic_id, one in curriculum.resources
    ]
    after = {topic.topic_id: topic.counts_for for topic in curriculum.topics}
    with database.read_connection(engine) as connection:  # a long log is read without a lock
        newest = connection.execute(select(func.max(tables.UserInteraction.id))).scalar() or 0
        before = _counts_for(connection)
        learners = _learners_between(connection, before, after, 0, newest)
    with database.write_transaction(engine) as connection:
        tombstones.join_writers(connection)
        if _counts_for(connection) != before:  # loaded twice at the same time
            before, newest = _counts_for(connection), 0
        later = _learners_between(connection, before, after, newest, None)
        connection.execute(delete(tables.ResourceRow))
        connection.execute(delete(tables.TopicRow))
        connection.execute(insert(tables.TopicRow), topics)
        if resources:
            connection.execute(insert(tables.ResourceRow), resources)
        changed = learners | later
        invalidate(connection, merged_ids(connection, changed).all_of(changed))
        loaded = tables.AppStateRow(name=CATALOGUE, value=str(uuid.uuid4()))
        with Session(connection) as session:
            session.merge(loaded)
            session.flush()


def _counts_for(connection: Connection) -> dict[int, int]:
    """Return the topic that events on each stored topic count for; empty without a catalogue."""
    row = tables.TopicRow
    query = select(row.topic_id, func.coalesce(row.replaced_by, row.topic_id))
    return dict(connection.execute(query).tuples().all())


def _learners_between(
    connection: Connection,
    before: Mapping[int, int],
    after: Mapping[int, int],
    after_id: int,
    last_id: int | None,
) -> set[str]:
    """Return the learners of whom some event counts differently after another catalogue.

    Args:
        connection: connection to the log.
        before: topic that events on each topic count for; empty without a catalogue.
        after: the same for the new catalogue, which has topics.
        after_id: key before the first event.
        last_id: key of the last event; None for all.
    """
    event = tables.UserInteraction
    changed = {
        topic_id
        for topic_id in before.keys() | after.keys()
        if before.get(topic_id, None if before else topic_id) != after.get(topic_id)
    }
    query = select(event.user_id).distinct().where(event.id > after_id)
    if last_id is not None:
        query = query.where(event.id <= last_id)
    if before:
        if not changed:
            return set()
        query = query.where(event.topic_id.in_(sorted(changed)))
    else:  # until now every topic counted
        query = query.where(event.topic_id.not_in(sorted(after.keys() - changed)))
    return set(connection.execute(query).scalars())


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
                retired=row.retired,
                replaced_by=row.replaced_by,
            )
            for row in topics
        ),
    )


def topic_ids(engine: Engine) -> set[int]:
    """Return the ids of all topics of the catalogue, retired ones too; empty without one."""
    with database.read_connection(engine) as connection:
        return set(connection.execute(select(tables.TopicRow.topic_id)).scalars())


def describe_outside(events_by_topic: Mapping[int, int]) -> str:
    """Describe events on topics that the catalogue does not have: their number and the ids."""
    events, ids = sum(events_by_topic.values()), sorted(events_by_topic)
    more = f" and {len(ids) - SHOWN_IDS:,} more" if len(ids) > SHOWN_IDS else ""
    return (
        f"{events:,} events on topics that the catalogue does not have "
        f"({', '.join(map(str, ids[:SHOWN_IDS]))}{more}): kept, and not counted"
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


def _check_offered(topics: tuple[Topic, ...]) -> None:
    """Check that some topic is offered, and that replacements are."""
    offered = {topic.topic_id for topic in topics if topic.is_offered}
    if not offered:
        raise ValueError("topics: expected one that is not retired, got none; add one")
    for topic in topics:
        if topic.replaced_by is not None and topic.replaced_by not in offered:
            raise ValueError(
                "replaced_by: expected a topic of this curriculum that is not retired, got "
                f"{topic.replaced_by} at topic {topic.topic_id} ({topic.title}); name the topic "
                "that is offered now"
            )


def _check_acyclic(prerequisites: Mapping[int, tuple[int, ...]], titles: dict[int, str]) -> None:
    try:
        TopologicalSorter(prerequisites).prepare()
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
