"""Any endpoint, however it is declared: what is refused, with which status, in which words."""

import logging
import re
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from sensei.errors import ConflictingEvent, StorageUnavailable
from serving.api.request_schemas import Query, TopicId, Username
from serving.http.dispatch import Dispatcher
from serving.http.endpoints import ERROR_HANDLERS, Endpoint, answer


class Asked(Query):
    username: Username
    trouble: str = ""


class Sent(Query):
    topic_id: TopicId


TROUBLE: dict[str, Exception] = {
    "conflict": ConflictingEvent("event_id: expected the same content, got other"),
    "storage": StorageUnavailable("database sqlite:////secret/place: expected, got nothing"),
    "bug": ZeroDivisionError("secret"),
}


async def look(request: Request, asked: Asked) -> Response:
    if asked.trouble:
        raise TROUBLE[asked.trouble]
    return answer({"username": asked.username})


async def tell(request: Request, asked: Asked, sent: Sent) -> Response:
    return answer({"topic_id": sent.topic_id}, 201)


def application(*endpoints: Endpoint) -> Starlette:
    """Endpoints behind the dispatcher, with all other paths unknown."""
    app = Starlette(exception_handlers=ERROR_HANDLERS)
    app.router.redirect_slashes = False
    app.add_middleware(Dispatcher, endpoints=endpoints)
    return app


@pytest.fixture
def client() -> TestClient:
    declared = [
        Endpoint("GET", "/api/{username}/things", look, "Look", query=Asked),
        Endpoint("POST", "/api/{username}/things", tell, "Tell", query=Asked, body=Sent),
    ]
    return TestClient(application(*declared))


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("a%2Fb", "a/b"), ("a%2fthings", "a/things"), ("%252F", "%2F"), ("%20e%CC%81", "é"),
        ("%E5%AD%A6", "学"), ("a+b", "a+b"), ("%3Fx=1", "?x=1"), ("..%2F..", "../.."),
    ],
)  # fmt: skip
def test_a_name_may_hold_anything_that_is_encoded(client: TestClient, sent: str, name: str) -> None:
    assert client.get(f"/api/{sent}/things").json() == {"username": name}


def test_a_slash_that_is_not_encoded_parts_the_path(client: TestClient) -> None:
    for path in ("/api/a/b/things", "/api/a/things/", "/api/a/things/things", "/api/a%2Fthings"):
        assert client.get(path).status_code == 404, path


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/mia/things?truoble=1", "truoble"),
        ("/api/mia/things?trouble=1&trouble=2", "trouble"),
        ("/api/mia/things?username=lea", "username"),
        ("/api/%00/things", "username"),
        ("/api/%FF/things", "username"),
        ("/api/mia/things?trouble=%FF", "query"),
        ("/api/mia/things?trouble=%ED%A0%80", "query"),
        (f"/api/{'a' * 201}/things", "username"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_sentence(
    client: TestClient, path: str, field: str
) -> None:
    refused = client.get(path)
    assert refused.status_code == 422
    assert re.fullmatch(rf"{field}: expected .+, got .+; .+", refused.json()["error"])


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"topic_id": 5}', "application/json", 201),
        (b'{"topic_id": 5}', "application/json; charset=utf-8", 201),
        (b'{"topic_id": 5}', "application/x-www-form-urlencoded", 415),
        (b'{"topic_id": 5}', "", 415),
        (b"", "application/json", 400),
        (b'{"topic_id": 5', "application/json", 400),
        (b'{"topic_id": NaN}', "application/json", 400),
        (b'{"topic_id": 5}\xff', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'[{"topic_id": 5}]', "application/json", 422),
        (b'"topic_id"', "application/json", 422),
        (b"null", "application/json", 422),
        (b"{}", "application/json", 422),
        (b'{"topic_id": -5}', "application/json", 422),
        (b'{"topic_id": 1e400}', "application/json", 400),
        (b'{"topic_id": 5, "score": 1}', "application/json", 422),
    ],
)
def test_a_body_is_one_json_object_of_the_fields_declared(
    client: TestClient, content: bytes, kind: str, status: int
) -> None:
    given = client.post("/api/mia/things", content=content, headers={"Content-Type": kind})
    assert given.status_code == status, given.text
    if status != 201:
        assert re.fullmatch(r"[\w.-]+: expected .+, got .+; .+", given.json()["error"])


def test_a_body_of_many_wrong_fields_is_refused_in_few_words(client: TestClient) -> None:
    given = client.post("/api/mia/things", json={f"field{n}": n for n in range(1_000)})
    assert given.status_code == 422
    assert given.json()["error"].endswith("991 more faults; correct these first")
    assert len(given.text) < 2_000


def test_what_is_not_served_is_said_with_the_way_on(client: TestClient) -> None:
    nowhere, wrong = client.get("/nowhere"), client.delete("/api/mia/things")
    assert (nowhere.status_code, wrong.status_code) == (404, 405)
    assert "see /docs" in nowhere.json()["error"]
    assert "see /docs" in wrong.json()["error"]
    assert wrong.headers["allow"] == "GET, HEAD, POST"


def test_the_same_id_with_other_content_is_a_conflict(client: TestClient) -> None:
    answered = client.get("/api/mia/things?trouble=conflict")
    assert (answered.status_code, "same content" in answered.text) == (409, True)


def test_without_the_log_the_caller_is_asked_to_repeat_and_reads_none_of_our_places(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answered = client.get("/api/mia/things?trouble=storage")
    assert (answered.status_code, answered.headers["retry-after"]) == (503, "1")
    assert "secret" not in answered.text
    assert "secret" in caplog.text


def test_a_fault_of_ours_is_logged_and_its_inside_is_not_shown(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answered = client.get("/api/mia/things?trouble=bug")
    assert answered.status_code == 500
    assert set(answered.json()) == {"error"}
    assert "secret" not in answered.text
    assert "ZeroDivisionError" in caplog.text
    assert "mia" not in caplog.text  # the template, not the path


def test_the_declaration_is_found_from_the_scope() -> None:
    seen: list[Any] = []

    class Watch:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)
            if scope["type"] == "http":
                seen.append(scope["endpoint"].path)

    declared = Endpoint("GET", "/api/{username}/things", look, "Look", query=Asked)
    TestClient(Watch(application(declared))).get("/api/mia/things")
    assert seen == ["/api/{username}/things"]
