"""The curriculum hangs together, and files that do not are refused in words."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sensei import curriculum
from sensei.corrections.corrections import Correction, correct
from sensei.errors import InvalidInput
from sensei.events.aggregates import outside_catalogue
from sensei.events.log import open_log
from sensei.storage import database


def write(folder: Path, *topics: dict[str, object], **more: object) -> Path:
    path = folder / "curriculum.json"
    path.write_text(json.dumps({"name": "Test", "topics": topics, **more}), encoding="utf-8")
    return path


@pytest.fixture
def migrated_url(tmp_path: Path, migrated_file: Path) -> str:
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'sensei.db')}"


def topic(topic_id: int, **more: object) -> dict[str, object]:
    return {"topic_id": topic_id, "title": f"Topic {topic_id}", "domain": "Web", **more}


def test_our_own_has_at_least_60_topics_in_8_domains() -> None:
    own = curriculum.load_file()
    assert len(own.topics) >= 60
    assert len(own.domains) >= 8
    assert [one.topic_id for one in own.topics] == list(range(1, len(own.topics) + 1))


def test_our_own_comes_in_an_order_in_which_it_can_be_studied() -> None:
    known: set[int] = set()
    for one in curriculum.load_file().topics:
        assert set(one.prerequisites) <= known, one.title
        known.add(one.topic_id)


def test_each_of_our_topics_can_be_read_watched_and_done() -> None:
    own = curriculum.load_file()
    for one in own.topics:
        assert sorted(each.kind for each in one.resources) == ["lab", "text", "video"], one.title
        assert one.summary
        assert one.references
        assert one.difficulty is not None
        assert sum(each.minutes or 0 for each in one.resources) == one.minutes
    titles = [one.title for one in own.topics] + [each.title for _, each in own.resources]
    assert len(set(titles)) == len(titles)


def test_our_resources_lie_on_the_platform() -> None:
    for _, one in curriculum.load_file().resources:
        assert one.url.startswith("library/")


@pytest.mark.parametrize(
    ("topics", "sentence"),
    [
        ([topic(1, prerequisites=[2]), topic(2, prerequisites=[1])], "no cycle, got Topic"),
        ([topic(1, prerequisites=[1])], "no cycle, got Topic 1 -> Topic 1"),
        ([topic(1, prerequisites=[9])], "expected topics of this curriculum, got 9 at topic 1"),
        ([topic(1), topic(1)], "topic_id: expected each value once, got 1 twice"),
        ([{"topic_id": 1, "domain": "Web"}], "topics.0.title: .*required, got nothing"),
        ([topic(1, titel="x")], "topics.0.titel: .*not permitted"),
        ([topic(1, minutes=-5)], "topics.0.minutes: .*got -5"),
        ([], "topics: .*at least 1 item"),
        ([topic(1, retired=True)], "topics: expected one that is not retired, got none"),
        ([topic(1), topic(2, replaced_by=3)], "replaced_by: .*got 3 at topic 2"),
        (
            [topic(1), topic(2, replaced_by=3), topic(3, replaced_by=1)],
            "replaced_by: expected a topic of this curriculum that is not retired, got 3",
        ),
        (
            [topic(1, prerequisites=[2]), topic(2, replaced_by=3), topic(3, prerequisites=[1])],
            "no cycle, got Topic",
        ),
        (
            [topic(1, resources=[{"resource_id": 1, "kind": "song", "title": "x", "url": "y"}])],
            "topics.0.resources.0.kind: .*got 'song'",
        ),
    ],
)
def test_a_faulty_file_is_refused_with_field_and_value(
    tmp_path: Path, topics: list[dict[str, object]], sentence: str
) -> None:
    path = write(tmp_path, *topics)
    with pytest.raises(InvalidInput, match=sentence) as refused:
        curriculum.load_file(path)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(path))


def test_a_file_that_is_absent_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="expected a readable file"):
        curriculum.load_file(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_bytes(b"\xff{")
    with pytest.raises(InvalidInput, match="expected JSON"):
        curriculum.load_file(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InvalidInput, match="file: "):
        curriculum.load_file(tmp_path / "list.json")


def test_the_documented_example_loads(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "curriculum.md"
    example = page.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]
    (tmp_path / "example.json").write_text(example, encoding="utf-8")
    assert len(curriculum.load_file(tmp_path / "example.json").topics) == 1


def test_retired_topics_stay_and_are_no_prerequisites_of_offered_ones(
    tmp_path: Path, migrated_url: str
) -> None:
    file = write(
        tmp_path,
        topic(1, prerequisites=[2, 3, 4, 5]),
        topic(2, replaced_by=3),
        topic(3),
        topic(4, retired=True),
        topic(5),
    )
    log = open_log(migrated_url)
    curriculum.store(log.engine, curriculum.load_file(file))
    stored = curriculum.read(log.engine)
    log.close()
    assert [one.topic_id for one in stored.topics] == [1, 2, 3, 4, 5]
    assert [one.topic_id for one in stored.offered] == [1, 3, 5]
    assert stored.topics[0].prerequisites == (3, 5)
    assert (stored.topics[1].replaced_by, stored.topics[3].retired) == (3, True)


def test_only_learners_whose_events_count_differently_are_computed_again(
    tmp_path: Path, migrated_url: str
) -> None:
    log = open_log(migrated_url)
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    log.append(
        {"user_id": user, "interaction_type": "text_read", "topic_id": at, "timestamp": moment}
        for user, at in (("ann", 1), ("bob", 2), ("cem", 9))
    )

    def revisions_after(*topics: dict[str, object]) -> dict[str, int]:
        curriculum.store(log.engine, curriculum.load_file(write(tmp_path, *topics)))
        return log.revisions(["ann", "bob", "cem"])

    assert revisions_after(topic(1), topic(2)) == {"ann": 1, "bob": 1, "cem": 3}
    assert revisions_after(topic(1), topic(2, retired=True)) == {"ann": 1, "bob": 1, "cem": 3}
    assert revisions_after(topic(1), topic(2, replaced_by=1)) == {"ann": 1, "bob": 3, "cem": 3}
    assert revisions_after(topic(1), topic(2), topic(9)) == {"ann": 1, "bob": 5, "cem": 5}
    assert log.read()["topic_id"].tolist() == [1, 2, 9]
    revisions_after(topic(1), topic(2, replaced_by=1))
    assert log.read()["topic_id"].tolist() == [1, 1]
    assert outside_catalogue(log.engine) == {9: 1}
    assert log.count() == 3
    (event,) = log.read_learner("bob")
    correct(log.engine, [Correction("bob", event.event_id, {"topic_id": 8})])
    correct(log.engine, [Correction("bob", event.event_id, {"topic_id": 7})])
    assert outside_catalogue(log.engine) == {7: 1, 9: 1}
    log.close()


def test_what_is_stored_is_read_and_the_next_one_takes_its_place(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sensei.db'}"
    database.upgrade(url)
    log = open_log(url)
    assert curriculum.read(log.engine).topics == ()
    own = curriculum.load_file()
    curriculum.store(log.engine, own)
    read = curriculum.read(log.engine)
    assert read.resources == own.resources
    for ours, stored in zip(own.topics, read.topics, strict=True):
        assert (ours.title, ours.domain, ours.minutes) == (
            stored.title,
            stored.domain,
            stored.minutes,
        )
        assert ours.prerequisites == stored.prerequisites
    curriculum.store(log.engine, curriculum.load_file(write(tmp_path, topic(7))))
    assert [one.topic_id for one in curriculum.read(log.engine).topics] == [7]
    assert curriculum.read(log.engine).resources == ()
    log.close()
