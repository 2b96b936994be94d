"""Examples in `/docs`: true of the curriculum that a new platform starts with."""

from collections.abc import Iterator
from typing import Any

from sensei import curriculum
from serving.api import examples

SHOWN = (examples.RECOMMENDATIONS, examples.DIFFICULTY, examples.LEARNING_PATH)


def named(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in an example, however deep."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from named(each)


def test_topics_and_resources_are_those_of_the_curriculum() -> None:
    topics = {each.topic_id: each for each in curriculum.load_file().topics}
    resources = {
        r.resource_id: (t.topic_id, r.kind, r.title, r.url)
        for t in topics.values()
        for r in t.resources
    }
    found = [each for shown in SHOWN for each in named(shown)]
    titled = [each for each in found if "topic_id" in each]
    assert titled
    for each in titled:
        assert each["title"] == topics[each["topic_id"]].title
        if (resource := each.get("resource")) is not None:
            known = each["topic_id"], resource["kind"], resource["title"], resource["url"]
            assert resources[resource["resource_id"]] == known
    document = examples.DOCUMENT
    about = tuple(document[name] for name in ("topic_id", "format", "title", "url"))
    assert resources[document["doc_id"]] == about
    assert document["topic"] == topics[document["topic_id"]].title
