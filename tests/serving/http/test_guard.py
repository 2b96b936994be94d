"""Guard around every request, tested over HTTP on the application itself."""

import asyncio
import gc
import json
import logging
import re
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from io import StringIO
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette

from sensei.access import key_store
from sensei.events.log import Log
from serving.app import application
from serving.http.access_log import AccessLog
from serving.http.auth import Access
from serving.http.guard import MAX_HEADERS, Limits
from serving.http.rate_limit import RateLimiter
from serving.observability import JsonLines, exposition

PATH = "/api/user/mia/recommendations"
Ask = Callable[..., httpx.Response]


class Answers:
    """Stands in for the engine: an answer that does not depend on a model."""

    async def context_for(self, user_id: str) -> None:
        """Return no context: the answer needs none."""

    def recommend(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"recommendations": []}

    recommend_next_topics = recommend

    def describe(self) -> list[tuple[str, str]]:
        return []


@pytest.fixture
def app() -> Starlette:
    guarded = application()
    guarded.state.engine = Answers()
    guarded.state.limits = Limits(body_bytes=1000)

    async def fails(*_: Any) -> None:
        raise ZeroDivisionError("mia's score is 0.85")

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    guarded.mount("/fails", fails)
    guarded.mount("/reads", reads)
    return guarded


def conversation(app: Starlette, talk: Callable[[httpx.AsyncClient], Awaitable[Any]], host: str):
    async def run() -> Any:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await talk(client)

    return asyncio.run(run())


@pytest.fixture
def ask(app: Starlette) -> Ask:
    def send(path: str, method: str = "GET", host: str = "127.0.0.1", **options: Any) -> Any:
        app.state.rates = RateLimiter()  # a bucket is of one event loop
        return conversation(app, lambda client: client.request(method, path, **options), host)

    return send


@pytest.fixture
def keyed(app: Starlette, log: Log) -> dict[str, str]:
    """The application with a key of each role: role -> key."""
    keys = {role: key_store.create(log.engine, role)[1] for role in ("platform", "operator")}
    app.state.access = Access(lambda: key_store.read(log.engine))
    return keys


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_key_is_taken_from_either_header(ask: Ask, keyed: dict[str, str]) -> None:
    key = keyed["platform"]
    assert ask(PATH, headers=bearer(key)).status_code == 200
    assert ask(PATH, headers={"Authorization": f"bearer  {key} "}).status_code == 200
    assert ask(PATH, headers={"X-API-Key": key}).status_code == 200
    assert ask(PATH, host="192.0.2.7", headers={"X-API-Key": key}).status_code == 200
    assert ask(f"{PATH}?key={key}").status_code == 401
    assert ask(PATH, headers={"Authorization": f"Basic {key}"}).status_code == 401


def test_a_caller_without_a_key_learns_nothing_about_the_paths(
    ask: Ask, keyed: dict[str, str]
) -> None:
    texts = {ask(path).text for path in (PATH, "/metrics", "/nothing", "/fails/x", "/docs/x")}
    assert len(texts) == 1
    assert json.loads(texts.pop())["error"].startswith("key: expected one, got none")
    answer = ask(PATH)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert ask(PATH, "DELETE").status_code == ask(PATH, "OPTIONS").status_code == 401


def test_pages_and_what_they_load_are_open(ask: Ask, keyed: dict[str, str]) -> None:
    assert ask("/docs/assets/swagger-ui.css", "PUT").headers["allow"] == "GET, HEAD"
    for path in ("/", "/docs", "/openapi.json", "/docs/assets/swagger-ui.css"):
        assert ask(path).status_code == 200, path


def test_a_proxy_on_this_machine_opens_nothing_to_its_callers(ask: Ask) -> None:
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "CF-Connecting-IP"):
        assert ask(PATH, headers={header: "192.0.2.7"}).status_code == 401, header
    assert ask(PATH).status_code == 200


def test_the_platforms_key_opens_no_route_of_operators(ask: Ask, keyed: dict[str, str]) -> None:
    response = ask("/metrics", headers=bearer(keyed["platform"]))
    assert response.status_code == 403
    assert response.json()["error"].startswith("key: expected one of role operator, got platform")
    assert ask("/metrics", headers=bearer(keyed["operator"])).status_code == 200
    assert ask(PATH, headers=bearer(keyed["operator"])).status_code == 200


def test_without_keys_only_loopback_is_answered(ask: Ask) -> None:
    assert ask(PATH).status_code == ask("/metrics").status_code == 200
    assert ask(PATH, host="192.0.2.7").status_code == 401


@pytest.mark.parametrize("sent", ["r-1", "A.b_9-" * 10])
def test_a_request_id_comes_back(ask: Ask, sent: str) -> None:
    assert ask(PATH, headers={"X-Request-ID": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, '{"a":1}', "a\tb", "é".encode()])
def test_any_other_request_id_is_replaced(ask: Ask, sent: str) -> None:
    request_ids = [
        ask(PATH, headers={"X-Request-ID": sent}).headers["x-request-id"] for _ in range(2)
    ]
    assert all(re.fullmatch("[0-9a-f]{16}", request_id) for request_id in request_ids)
    assert request_ids[0] != request_ids[1]


def test_every_answer_bears_the_headers_refusals_too(ask: Ask, keyed: dict[str, str]) -> None:
    for answer in (ask(PATH), ask(PATH, headers=bearer(keyed["platform"])), ask("/")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-request-id"]
    assert ask(PATH, headers=bearer(keyed["platform"])).headers["cache-control"] == "no-store"


def test_no_other_site_may_read_an_answer(ask: Ask) -> None:
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        answer = ask(PATH, method, headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.status_code == 403
    response = ask(PATH, "OPTIONS")
    assert response.status_code == 405
    assert "GET" in response.headers["allow"]
    assert ask(PATH, "HEAD").status_code == 200


def test_a_body_may_be_as_long_as_the_limit_and_no_longer(ask: Ask) -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 100

    assert ask("/reads/x", "POST", content=b"x" * 1000).text == "x" * 1000
    assert ask("/reads/x", "POST", content=chunks(10)).text == "x" * 1000
    for content in (b"x" * 1001, chunks(11)):
        answer = ask("/reads/x", "POST", content=content)
        assert answer.status_code == 413
        assert answer.json()["error"].startswith("body: expected at most 1000 bytes")
        assert answer.headers["connection"] == "close"


def test_a_key_over_its_rate_limit_is_refused_until_it_waits_and_others_are_not(
    app: Starlette, keyed: dict[str, str]
) -> None:
    app.state.rates = RateLimiter(per_second=3)

    async def talk(client: httpx.AsyncClient) -> None:
        async def ask(role: str) -> httpx.Response:
            return await client.get(PATH, headers=bearer(keyed[role]))

        while (response := await ask("platform")).status_code == 200:
            pass
        assert response.status_code == 429
        assert response.headers["retry-after"] == "1"
        assert response.json()["error"].startswith("requests: expected at most 3 a second")
        assert (await ask("operator")).status_code == 200
        assert (await client.get("/")).status_code == 200
        while (await ask("platform")).status_code == 429:
            await asyncio.sleep(0.05)

    conversation(app, talk, "127.0.0.1")


def test_a_long_path_and_many_headers_are_refused(ask: Ask) -> None:
    assert ask(f"/{'x' * 9000}").status_code == 414
    assert ask(f"{PATH}?count={'1' * 9000}").status_code == 414
    assert ask(PATH, headers={"x": "y" * 20_000}).status_code == 431
    assert ask(PATH, headers={f"x-{i}": "" for i in range(MAX_HEADERS)}).status_code == 431


@pytest.mark.parametrize(
    "header", ["Host", "Authorization", "X-API-Key", "Origin", "Sec-Fetch-Site"]
)
def test_a_header_that_identifies_the_caller_may_come_once(ask: Ask, header: str) -> None:
    repeated = [(header, "127.0.0.1"), (header.lower(), "127.0.0.1")]
    for path in (PATH, "/", "/livez"):
        answer = ask(path, headers=repeated)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(f"{header.title()}: expected one")
    assert ask(PATH, headers=[("Accept", "a/b"), ("Accept", "c/d")]).status_code == 200


AMBIGUOUS_PATHS = [
    "/api/user/mia/../lea", "/api/user/..", "/api/user/.", "/./api/user/mia", "/api/user//mia",
    "//api/user/mia", "/api/user/%2e%2e/mia", "/api/user/.%2E/mia", "/api/user/a%2F..%2Fmia",
    "/api/user/a%2f%2e%2e%2fmia", "/api/user/%252e%252e%252fmia", "/api/user/a\\..\\mia",
    "/api/user\\mia", "/api/user/a%5C..%5Cmia", "/api/user/..;/mia", "/api/user/..;x=1/mia",
    "/api/user/..%00/mia", "/api/user/..%20/mia", "/docs/assets/../x", "/docs/assets/%2e%2e/x",
    "/livez/.", "/nothing/..", "/%2e%2e/%2e%2e/etc/passwd",
]  # fmt: skip


async def status_of_raw_request(app: Starlette, path: str, method: str) -> int:
    """The status of a path that clients would tidy up."""
    status = 0

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {"type": "http", "method": method, "path": unquote(path), "raw_path": path.encode()}
    await app(scope | {"query_string": b"", "headers": []}, receive, send)
    return status


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_a_path_that_others_may_read_as_another_one_is_refused(app: Starlette, method: str) -> None:
    statuses = {
        path: asyncio.run(status_of_raw_request(app, path, method)) for path in AMBIGUOUS_PATHS
    }
    assert statuses == dict.fromkeys(AMBIGUOUS_PATHS, 400)


def test_a_name_with_dots_and_encoded_slashes_is_a_name(app: Starlette) -> None:
    names = ["a.b", "..a", "a..", "...", "mia@example.org", "a%2Fb", "a%2F%2Fb", "CORP%5Cmia"]
    for name in names:
        path = f"/api/user/{name}/recommendations"
        assert asyncio.run(status_of_raw_request(app, path, "GET")) == 200, name


def test_an_internal_error_is_500_and_its_message_is_not_logged(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "serving"):
        answer = ask("/fails/x", headers={"X-Request-ID": "broken"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "broken")
    assert answer.json()["error"].startswith("service: expected to answer")
    lines = [JsonLines().format(record) for record in caplog.records]
    assert "ZeroDivisionError" in "".join(lines)
    assert not [line for line in lines if "mia" in line or "0.85" in line]


def test_a_line_is_logged_for_each_request_without_the_learner(
    ask: Ask, keyed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, request_log, stream = keyed["platform"], AccessLog(), StringIO()
    monkeypatch.setattr("serving.http.guard.request_lines", request_log)
    ask(PATH, headers=bearer(key))  # not wanted yet
    request_log.wanted = True
    ask(f"{PATH}?count=7", headers=bearer(key))
    ask("/nothing/mia", headers=bearer(key))
    request_log.flush(stream)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["logger"] for line in lines} == {"serving.requests"}
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/api/user/{username}/recommendations", 200),
        ("not served", 404),
    ]
    assert {line["key"] for line in lines} == {key.split("_")[1]}
    assert all(line["ms"] >= 0 and line["method"] == "GET" for line in lines)
    text = json.dumps(lines)
    assert "mia" not in text
    assert key.split("_", 2)[2] not in text


def test_ten_thousand_learners_leave_the_metrics_small_and_the_memory_flat(app: Starlette) -> None:
    async def get(path: str, method: str = "GET") -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(_: Any) -> None:
            pass

        raw = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
        await app(raw, receive, send)

    async def ask_all() -> list[int]:
        sizes = []
        for learner in range(10_000):
            if learner % 2_500 == 2_499:
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
            await get(f"/api/user/l{learner}/recommendations")
            if learner % 10 == 0:
                await get(f"/elsewhere/{learner}")
                await get("/", f"M{learner}")
        return sizes

    tracemalloc.start()
    sizes = asyncio.run(ask_all())
    tracemalloc.stop()
    metrics = exposition().decode()
    assert len(metrics) < 100_000
    assert "l9999" not in metrics
    assert "elsewhere" not in metrics
    assert sizes[3] - sizes[1] < 250_000, sizes  # one text kept of each learner would be 500 kB
    count_match = re.search(
        r'requests_total{method="GET",route="/api/user/{username}/recommendations",status="200"} '
        r"([\d.]+)",
        metrics,
    )
    assert count_match
    assert float(count_match[1]) >= 10_000
