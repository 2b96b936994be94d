"""Answers of the fast path: the same as those of Starlette's layers."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from sensei.errors import InvalidInput, StorageUnavailable
from serving.api.request_schemas import Query, Username
from serving.http.endpoints import ERROR_HANDLERS, Endpoint, answer, route
from serving.http.fast_path import FastPath


class Named(Query):
    username: Username
    count: int = 3


async def show(request: Request, asked: Named) -> Any:
    if asked.count == 400:
        raise InvalidInput("count: expected another, got 400; send it")
    if asked.count == 503:
        raise StorageUnavailable("gone")
    if asked.count == 500:
        raise ZeroDivisionError
    assert request.app.state.here
    return answer({"username": asked.username, "count": asked.count})


async def rest(request: Request, asked: Named) -> Any:
    return answer({"all of": asked.username})


DECLARED = (
    Endpoint("GET", "/u/{username}/list", show, "A list", query=Named),
    Endpoint("POST", "/u/{username}/list", rest, "A change", query=Named),
    Endpoint("GET", "/u/{username}", rest, "All", query=Named),
)


def served(*, direct: bool) -> Starlette:
    made = Starlette(routes=[route(each) for each in DECLARED], exception_handlers=ERROR_HANDLERS)
    made.state.here = True
    if direct:
        made.add_middleware(FastPath, endpoints=DECLARED)
    return made


def asked(app: Starlette, method: str, path: str) -> tuple[int, bytes, str | None]:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path)

    found = asyncio.run(ask())
    return found.status_code, found.content, found.headers.get("content-type")


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/u/mia/list",
        "/u/mia/list?count=7",
        "/u/a%2Fb/list?count=7",
        "/u/m%20i%2Fa/list",
        "/u/mia",
        "/u/mia/list/",
        "/u/mia/list?count=x",
        "/u/mia/list?count=1&count=2",
        "/u/mia/list?username=b",
        "/u/mia/list?count=400",
        "/u/mia/list?count=503",
        "/u/mia/list?count=500",
        "/u/mia/list?count=%C3%A9&x=%00",
        "/elsewhere",
    ],
)
def test_both_ways_answer_alike(method: str, path: str) -> None:
    short, long = (asked(served(direct=direct), method, path) for direct in (True, False))
    assert short == long


def test_the_short_way_is_taken() -> None:
    app = served(direct=True)
    app.router.routes.clear()
    assert asked(app, "GET", "/u/mia/list")[0] == 200
    assert asked(app, "POST", "/u/mia/list")[0] == 404
