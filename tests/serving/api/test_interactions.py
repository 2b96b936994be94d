"""Events from the platform: recorded once, refused with a reason, used by the next answer."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from sensei import curriculum
from sensei.events import append
from sensei.events.log import Log, open_log
from sensei.storage import database
from serving.api.event_schemas import MAX_BATCH, Document, RecordedEvent, RecordedResponse
from serving.api.learner import Erasure, Export, LearningStyle
from serving.app import application
from serving.state.log_reads import Reads
from serving.storage.event_writer import EventWriter
from serving.storage.learner_data import LearnerData

QUIZ = "/api/learning/mia/submit-quiz"
FEEDBACK = "/api/user/mia/feedback/recommendation"


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[TestClient]:
    served = application()
    served.state.worker = SimpleNamespace(
        recorder=EventWriter(lambda: open_log(url)),
        records=LearnerData(lambda: open_log(url), (tmp_path / "runs",)),
    )
    yield TestClient(served)
    served.state.worker.recorder.close()


def test_a_quiz_as_the_mission_sends_it_is_an_event_of_the_log(
    client: TestClient, log: Log
) -> None:
    sent = client.post(QUIZ, json={"topic_id": 5, "score": 0.85, "duration": 240})
    assert sent.status_code == 200, sent.text
    recorded = RecordedEvent.model_validate(sent.json())
    (event,) = log.read_learner("mia")
    assert (event.interaction_type, event.topic_id, event.score) == ("quiz_complete", 5, 0.85)
    assert (event.duration_seconds, event.event_id) == (240, recorded.event_id)
    assert abs(recorded.timestamp - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_quiz_may_say_more(client: TestClient, log: Log) -> None:
    more = {
        "event_id": "e",
        "timestamp": "2026-01-31T10:30:00+01:00",
        "difficulty": "hard",
        "item_id": 7,
        "prediction_id": "p",
    }
    sent = client.post(QUIZ, json={"topic_id": 5, "score": 1, **more}).json()
    assert sent["metadata"] == {"difficulty": "hard", "item_id": "7", "prediction_id": "p"}
    assert datetime.fromisoformat(sent["timestamp"]) == datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    (event,) = log.read_learner("mia")
    assert (event.item_id, event.difficulty) == ("7", "hard")


def test_feedback_as_the_mission_sends_it_is_an_event_of_the_log(
    client: TestClient, log: Log
) -> None:
    sent = client.post(FEEDBACK, json={"topic_id": 5, "helpful": True, "rating": 4})
    assert sent.json()["metadata"] == {"helpful": True, "rating": 4}
    assert log.read_learner("mia")[0].interaction_type == "feedback_recommendation"
    assert client.post(FEEDBACK, json={"topic_id": 5, "helpful": False}).status_code == 200


@pytest.mark.parametrize("timestamp", [None, "2026-01-31T09:30:00Z"])
def test_sent_again_it_is_answered_again_and_with_other_content_it_is_a_conflict(
    client: TestClient, log: Log, timestamp: str | None
) -> None:
    sent = {"topic_id": 5, "score": 0.5, "event_id": "e", "timestamp": timestamp}
    first, again = client.post(QUIZ, json=sent), client.post(QUIZ, json=sent)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    other = client.post(QUIZ, json=sent | {"score": 0.6})
    assert other.status_code == 409
    assert re.fullmatch(r"event_id: expected .+, got .+; .+", other.json()["error"])
    assert log.count() == 1


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (QUIZ, {"topic_id": 5, "score": 85}, "score"),
        (QUIZ, {"topic_id": 5, "score": None}, "score"),
        (QUIZ, {"topic_id": 5}, "score"),
        (QUIZ, {"topic_id": 5, "score": True}, "score"),
        (QUIZ, {"topic_id": -5, "score": 1}, "topic_id"),
        (QUIZ, {"topic_id": 5, "score": 1, "duration": -1}, "duration"),
        (QUIZ, {"topic_id": 5, "score": 1, "timestamp": "2126-01-01T00:00:00Z"}, "timestamp"),
        (QUIZ, {"topic_id": 5, "score": 1, "timestamp": 7}, "timestamp"),
        (QUIZ, {"topic_id": 5, "score": 1, "event_id": ""}, "event_id"),
        (QUIZ, {"topic_id": 5, "score": 1, "difficulty": "odd"}, "difficulty"),
        (QUIZ, {"topic_id": 5, "score": 1, "difficulty": ["hard"]}, "difficulty"),
        (QUIZ, {"topic_id": 5, "score": 1, "item_id": {}}, "item_id"),
        (QUIZ, {"topic_id": 5, "score": 1, "scroe": 1}, "scroe"),
        (FEEDBACK, {"topic_id": 5, "rating": 6}, "rating"),
        (FEEDBACK, {"topic_id": 5, "rating": "good"}, "rating"),
        (FEEDBACK, {"topic_id": 5, "helpful": "yes?"}, "helpful"),
        (FEEDBACK, {"topic_id": 5}, "helpful"),
        ("/api/interactions", [], "body"),
        ("/api/interactions", "event", "body"),
        ("/api/interactions", [{}] * (MAX_BATCH + 1), "body"),
        ("/api/interactions", {}, "user_id"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_one_sentence_and_nothing_is_written(
    client: TestClient, log: Log, path: str, body: Any, field: str
) -> None:
    refused = client.post(path, json=body)
    assert refused.status_code == 422, refused.text
    assert re.fullmatch(rf"{field}: expected .+, got .+; .+", refused.json()["error"])
    assert log.is_empty()


def event(**values: Any) -> dict[str, Any]:
    return {"user_id": "mia", "interaction_type": "video_view", "topic_id": 3} | values


def test_one_event_or_a_list_of_any_kind_is_taken_in(client: TestClient, log: Log) -> None:
    one = client.post("/api/interactions", json=event())
    many = client.post(
        "/api/interactions",
        json=[event(user_id="a/b"), event(interaction_type="recommendation_accepted")],
    )
    for each in (one, many):
        assert each.status_code == 200
        RecordedResponse.model_validate(each.json())
    assert [each["user_id"] for each in many.json()["interactions"]] == ["a/b", "mia"]
    assert log.count() == 3
    largest = client.post("/api/interactions", json=[event(topic_id=n) for n in range(MAX_BATCH)])
    topics = [each["topic_id"] for each in largest.json()["interactions"]]
    assert topics == list(range(MAX_BATCH))


def test_of_a_batch_all_bad_events_are_listed_and_none_is_written(
    client: TestClient, log: Log
) -> None:
    sent = [event(), event(score=85), 7, event(metadata={"rating": 9}), event(extra=1)]
    refused = client.post("/api/interactions", json=sent)
    assert refused.status_code == 422
    assert [each["index"] for each in refused.json()["items"]] == [1, 2, 3, 4]
    assert "send 0.85" in refused.json()["error"]
    assert log.is_empty()


def test_a_batch_with_one_conflict_is_not_written(client: TestClient, log: Log) -> None:
    client.post("/api/interactions", json=event(event_id="e"))
    refused = client.post("/api/interactions", json=[event(), event(event_id="e", topic_id=4)])
    assert refused.status_code == 409
    assert log.count() == 1


@pytest.fixture
def catalogue(log: Log) -> dict[str, int]:
    """A resource of each format."""
    loaded = curriculum.load_file()
    curriculum.store(log.engine, loaded)
    return {one.kind: one.resource_id for _, one in reversed(loaded.resources)}


def test_a_view_of_a_document_is_one_event_of_its_format_where_a_learner_is_named(
    client: TestClient, log: Log, catalogue: dict[str, int]
) -> None:
    for kind, doc_id in catalogue.items():
        path = f"/api/knowledge-base/{doc_id}"
        unseen = Document.model_validate(client.get(path).json())
        assert (unseen.format, unseen.view) == (kind, None)
        again = [client.get(f"{path}?username=mia&event_id={kind}") for _ in range(2)]
        assert again[0].content == again[1].content
    kinds = [each.interaction_type for each in log.read_learner("mia")]
    assert sorted(kinds) == ["resource_view", "text_read", "video_view"]


def test_asking_for_the_head_of_a_document_records_no_view(
    client: TestClient, log: Log, catalogue: dict[str, int]
) -> None:
    path = f"/api/knowledge-base/{catalogue['video']}?username=mia"
    assert client.head(path).status_code == 200
    assert log.is_empty()


def test_the_time_spent_with_a_document_follows(
    client: TestClient, log: Log, catalogue: dict[str, int]
) -> None:
    path = f"/api/knowledge-base/{catalogue['video']}/view"
    sent = client.post(path, json={"username": "mia", "duration": 300})
    assert sent.status_code == 200, sent.text
    (kept,) = log.read_learner("mia")
    assert (kept.interaction_type, kept.duration_seconds) == ("resource_view", 300)
    assert client.post(path, json={"username": "mia"}).status_code == 422


def test_a_document_that_is_not_there_is_said_and_nothing_is_written(
    client: TestClient, log: Log
) -> None:
    for answered in (
        client.get("/api/knowledge-base/77?username=mia"),
        client.post("/api/knowledge-base/77/view", json={"username": "mia", "duration": 1}),
    ):
        assert answered.status_code == 404
        assert re.fullmatch(r"doc_id: expected .+, got 77; .+", answered.json()["error"])
    assert client.get("/api/knowledge-base/1?event_id=e").status_code in (404, 422)
    assert "send the resource's number" in client.get("/api/knowledge-base/x").json()["error"]
    assert log.is_empty()


def test_a_style_is_observed_until_the_learner_chooses(client: TestClient, log: Log) -> None:
    path = "/api/user/mia/learning-style"
    client.post("/api/interactions", json=[event(event_id=f"{n}") for n in range(3)])
    seen = client.get(path).json()
    LearningStyle.model_validate(seen)
    assert (seen["learning_style"], seen["observed"], seen["override"]) == (
        "visual",
        "visual",
        None,
    )
    assert seen["evidence"]["video_views"] == 3
    chosen = client.put(path, json={"learning_style": "kinesthetic"}).json()
    assert (chosen["learning_style"], chosen["observed"]) == ("kinesthetic", "visual")
    assert client.get(path).json() == chosen
    assert client.put(path, json={"learning_style": None}).json() == seen
    for wrong in ({"learning_style": "auditory"}, {}, {"learning_style": 1}):
        assert client.put(path, json=wrong).status_code == 422


def test_a_learner_is_exported_erased_and_then_refused(client: TestClient, log: Log) -> None:
    client.post(QUIZ, json={"topic_id": 5, "score": 0.85, "event_id": "e"})
    client.put("/api/user/mia/learning-style", json={"learning_style": "visual"})
    held = Export.model_validate(client.get("/api/user/mia").json()).held
    assert held["user_interactions"][0]["event_id"] == "e"
    assert held["learners"][0]["style_override"] == "visual"
    erased = Erasure.model_validate(client.delete("/api/user/mia").json()).erased
    assert erased["user_interactions"] == 1
    assert client.get("/api/user/mia").status_code == 404
    for refused in (
        client.post(QUIZ, json={"topic_id": 5, "score": 0.85, "event_id": "e"}),
        client.post("/api/interactions", json=[event(user_id="bob"), event()]),
        client.put("/api/user/mia/learning-style", json={"learning_style": "visual"}),
    ):
        assert refused.status_code == 410
        assert "mia" not in refused.text
    assert client.delete("/api/user/mia").status_code == 200
    assert log.is_empty()


def test_while_the_log_is_busy_a_write_is_refused_with_the_ids_to_repeat_it_with(
    client: TestClient, log: Log
) -> None:
    with database.write_transaction(log.engine) as connection:
        connection.exec_driver_sql("DELETE FROM facts")
        refused = client.post(QUIZ, json={"topic_id": 5, "score": 0.85})
        assert (
            client.put(
                "/api/user/mia/learning-style", json={"learning_style": "visual"}
            ).status_code
            == 503
        )
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    (event_id,) = refused.json()["event_ids"]
    repeat = client.post(QUIZ, json={"topic_id": 5, "score": 0.85, "event_id": event_id})
    assert repeat.json()["event_id"] == event_id


def test_without_a_log_a_style_is_a_labelled_guess_and_a_known_document_is_still_shown(
    client: TestClient, log: Log, url: str, catalogue: dict[str, int]
) -> None:
    path = f"/api/knowledge-base/{catalogue['text']}"
    seen = client.get(path)
    log.close()
    file = Path(url.removeprefix("sqlite:///"))
    records: LearnerData = client.app.state.worker.records  # type: ignore[attr-defined]
    records._reads = Reads(lambda: open_log(url), 1, "records")  # no connection is open any more
    file.rename(file.with_suffix(".away"))
    file.write_text("no database" * 1000)
    style = client.get("/api/user/mia/learning-style")
    assert (style.status_code, style.json()["fallback"]) == (200, "log_unreachable")
    assert client.get(path).content == seen.content
    assert client.get(f"{path}?username=mia").status_code == 503


def test_reads_are_answered_while_writes_wait_for_the_disk(client: TestClient, log: Log) -> None:
    """A write that waits for another writer stands in a thread: the loop goes on."""
    recorder: EventWriter = client.app.state.worker.recorder  # type: ignore[attr-defined]

    async def both() -> int:
        submission = append.entries([event(event_id="e")], datetime.now(UTC))
        with database.write_transaction(log.engine) as connection:
            connection.exec_driver_sql("DELETE FROM facts")
            write = asyncio.ensure_future(recorder.log_interactions(submission))
            turns = 0
            while turns < 100:
                await asyncio.sleep(0)
                turns += 1
            assert not write.done()
        await write
        return turns

    assert asyncio.run(both()) == 100
    assert log.count() == 1
