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


async def look(request: Request, query: Asked) -> Response:
    if query.trouble:
        raise TROUBLE[query.trouble]
    return answer({"username": query.username})


async def tell(request: Request, query: Asked, body: Sent) -> Response:
    return answer({"topic_id": body.topic_id}, 201)


def application(*endpoints: Endpoint) -> Starlette:
    """Endpoints behind the dispatcher, with all other paths unknown."""
    app = Starlette(exception_handlers=ERROR_HANDLERS)
    app.router.redirect_slashes = False
    app.add_middleware(Dispatcher, endpoints=endpoints)
    return app


@pytest.fixture
def client() -> TestClient:
    endpoints = [
        Endpoint("GET", "/api/{username}/things", look, "Look", query=Asked),
        Endpoint("POST", "/api/{username}/things", tell, "Tell", query=Asked, body=Sent),
    ]
    return TestClient(application(*endpoints))


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
    response = client.get(path)
    assert response.status_code == 422
    assert re.fullmatch(rf"{field}: expected .+, got .+; .+", response.json()["error"])


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
    response = client.post("/api/mia/things", content=content, headers={"Content-Type": kind})
    assert response.status_code == status, response.text
    if status != 201:
        assert re.fullmatch(r"[\w.-]+: expected .+, got .+; .+", response.json()["error"])


def test_a_body_of_many_wrong_fields_is_refused_in_few_words(client: TestClient) -> None:
    response = client.post("/api/mia/things", json={f"field{n}": n for n in range(1_000)})
    assert response.status_code == 422
    assert response.json()["error"].endswith("991 more faults; correct these first")
    assert len(response.text) < 2_000


def test_an_unknown_path_is_answered_with_the_next_step(client: TestClient) -> None:
    nowhere, not_allowed = client.get("/nowhere"), client.delete("/api/mia/things")
    assert (nowhere.status_code, not_allowed.status_code) == (404, 405)
    assert "see /docs" in nowhere.json()["error"]
    assert "see /docs" in not_allowed.json()["error"]
    assert not_allowed.headers["allow"] == "GET, HEAD, POST"


def test_the_same_id_with_other_content_is_a_conflict(client: TestClient) -> None:
    response = client.get("/api/mia/things?trouble=conflict")
    assert (response.status_code, "same content" in response.text) == (409, True)


def test_without_the_log_the_caller_gets_503_without_paths_or_hosts(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = client.get("/api/mia/things?trouble=storage")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "secret" not in response.text
    assert "secret" in caplog.text


def test_an_internal_error_is_logged_and_its_details_are_not_sent(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = client.get("/api/mia/things?trouble=bug")
    assert response.status_code == 500
    assert set(response.json()) == {"error"}
    assert "secret" not in response.text
    assert "ZeroDivisionError" in caplog.text
    assert "mia" not in caplog.text  # the template, not the path


def test_the_declaration_is_found_from_the_scope() -> None:
    paths: list[Any] = []

    class Watch:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)
            if scope["type"] == "http":
                paths.append(scope["endpoint"].path)

    endpoint = Endpoint("GET", "/api/{username}/things", look, "Look", query=Asked)
    TestClient(Watch(application(endpoint))).get("/api/mia/things")
    assert paths == ["/api/{username}/things"]
