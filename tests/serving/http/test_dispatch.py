"""Dispatch of a request to the declaration that its method and path name."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from serving.api.request_schemas import Query, Username
from serving.http.auth import ROLE
from serving.http.dispatch import Dispatcher
from serving.http.endpoints import ERROR_HANDLERS, Endpoint, answer

CALLER = "X-Role"


class Named(Query):
    username: Username
    count: int = 3


class Sent(Query):
    count: int


async def show(request: Request, query: Named) -> Response:
    assert request.app.state.here
    return answer({"username": query.username, "count": query.count})


async def tell(request: Request, query: Named, body: Sent) -> Response:
    return answer({"username": query.username, "sent": body.count}, 201)


async def rest(request: Request, query: Named) -> Response:
    return answer({"all of": query.username})


async def broken(request: Request, query: Query) -> Response:
    Sent.model_validate({"count": "mia's secret"})
    return answer({})


ENDPOINTS = (
    Endpoint("GET", "/u/{username}/list", show, "A list", query=Named),
    Endpoint("POST", "/u/{username}/list", tell, "A change", query=Named, body=Sent),
    Endpoint("GET", "/u/{username}", rest, "All", query=Named),
    Endpoint("DELETE", "/u/{username}", rest, "Erase", query=Named, scope="operator"),
    Endpoint("PUT", "/u/{username}", rest, "R", query=Named, scope="operator", platform_if="may"),
    Endpoint("GET", "/broken", broken, "A handler with a bug"),
)


class AsRole:
    """Stands in for the guard: the caller's role comes from a header."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        role = dict(scope.get("headers", ())).get(CALLER.lower().encode(), b"platform")
        await self._app(scope | {ROLE: role.decode()}, receive, send)


@pytest.fixture
def app() -> Starlette:
    app = Starlette(exception_handlers=ERROR_HANDLERS)
    app.router.redirect_slashes = False
    app.state.here = True
    app.add_middleware(Dispatcher, endpoints=ENDPOINTS)
    app.add_middleware(AsRole)
    return app


@pytest.fixture
def client(app: Starlette) -> TestClient:
    return TestClient(app)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/u/mia/list?count=7", "mia"),
        ("/u/a%2Fb/list?count=7", "a/b"),
        ("/u/m%20i%2Fa/list?count=7", "m i/a"),
        ("/u/list/list?count=7", "list"),
    ],
)
def test_a_path_is_matched_as_sent(client: TestClient, path: str, name: str) -> None:
    assert client.get(path).json() == {"username": name, "count": 7}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/u/mia/list/", 404),
        ("GET", "/u/mia/list/more", 404),
        ("GET", "/elsewhere", 404),
        ("DELETE", "/u/mia/list", 405),
        ("OPTIONS", "/u/mia", 405),
        ("GET", "/u/mia/list?count=x", 422),
        ("GET", "/u/mia/list?count=1&count=2", 422),
        ("GET", "/u/mia/list?username=b", 422),
        ("POST", "/u/mia/list", 415),
    ],
)
def test_what_no_declaration_allows_is_refused(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)
    assert (response.status_code, set(response.json())) == (status, {"error"})


def test_the_head_of_a_get_is_answered(client: TestClient) -> None:
    assert client.head("/u/mia/list").status_code == 200
    assert client.delete("/u/mia/list").headers["allow"] == "GET, HEAD, POST"


def test_a_body_is_validated_for_the_method_that_takes_one(client: TestClient) -> None:
    created = client.post("/u/mia/list", json={"count": 5})
    assert (created.status_code, created.json()) == (201, {"username": "mia", "sent": 5})
    assert client.post("/u/mia/list", json={"count": 5, "more": 1}).status_code == 422


def test_a_route_of_operators_is_for_them_before_anything_is_read(
    client: TestClient, app: Starlette
) -> None:
    path = "/u/mia?count=x"
    assert client.delete(path).status_code == 403
    assert client.delete(path, headers={CALLER: "operator"}).status_code == 422
    assert client.delete("/u/mia", headers={CALLER: "operator"}).status_code == 200
    assert client.put("/u/mia").status_code == 403
    app.state.may = True
    assert client.put("/u/mia").status_code == 200
    assert client.delete("/u/mia").status_code == 403


def test_an_invalid_value_inside_a_handler_is_an_internal_error(client: TestClient) -> None:
    failed = client.get("/broken")
    assert failed.status_code == 500
    assert "mia" not in failed.text
