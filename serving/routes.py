"""The HTTP routes: parse, ask the engine, answer; nothing is decided here.

Starlette rather than FastAPI, because BentoML sends FastAPI routes through a thread pool, which
costs more than half of the requests per second (docs/decisions).
"""

from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.status import HTTP_405_METHOD_NOT_ALLOWED

from sensei.errors import InvalidInput
from serving.schemas import DifficultyQuery, RecommendationsQuery, parse

if TYPE_CHECKING:
    from serving.engine import Engine

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Cyber-Sensei personalisation</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;
color:#1b2430;background:#fbfbfa}}code{{background:#eceff1;padding:.1rem .3rem;border-radius:3px}}
td,th{{text-align:left;padding:.2rem 1.5rem .2rem 0}}</style></head><body>
<h1>Cyber-Sensei personalisation</h1>
<p>What to study next, and how hard the next quiz should be.</p>
<table><tr><th>Serving</th><th></th></tr>{facts}</table>
<h2>Try it</h2>
<ul><li><a href="/api/user/testuser/recommendations?count=5">
<code>/api/user/testuser/recommendations?count=5</code></a></li>
<li><a href="/api/learning/topic/1/difficulty/suggest?username=testuser">
<code>/api/learning/topic/1/difficulty/suggest?username=testuser</code></a></li>
<li><a href="/readyz"><code>/readyz</code></a>, <a href="/livez"><code>/livez</code></a></li></ul>
</body></html>"""


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as a JSON response."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


async def recommendations(request: Request) -> Response:
    """`GET /api/user/{username}/recommendations?count=3`."""
    query = parse(RecommendationsQuery, {**request.query_params, **request.path_params})
    return answer(_engine(request).recommend_next_topics(query.username, query.count))


async def suggest_difficulty(request: Request) -> Response:
    """`GET /api/learning/topic/{topic_id}/difficulty/suggest?username=`."""
    query = parse(DifficultyQuery, {**request.query_params, **request.path_params})
    return answer(_engine(request).suggest_quiz_difficulty(query.username, query.topic_id))


async def page(request: Request) -> Response:
    """What is served here, for a person; it loads nothing from elsewhere."""
    facts = _engine(request).describe()
    rows = (f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in facts)
    return HTMLResponse(PAGE.format(facts="".join(rows)))


async def refused(_: Request, error: Exception) -> Response:
    """422 with the sentence of what was expected, what came, and what to send."""
    return answer({"error": str(error)}, 422)


async def unknown(request: Request, error: Exception) -> Response:
    """404 or 405 in a sentence: what is asked of a path or a method that is not served."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTP_405_METHOD_NOT_ALLOWED:
        said = f"method: expected GET, got {request.method}; send a GET"
    else:
        said = f"path: expected one that is served, got {request.url.path!r:.80}; see / for some"
    return answer({"error": said}, error.status_code, error.headers)


def _engine(request: Request) -> "Engine":
    engine: Engine = request.app.state.engine
    return engine


_GET: tuple[tuple[str, Callable[[Request], Awaitable[Response]]], ...] = (
    ("/", page),
    ("/api/user/{username:path}/recommendations", recommendations),  # a name may hold a slash
    ("/api/learning/topic/{topic_id}/difficulty/suggest", suggest_difficulty),
)

app = Starlette(
    routes=[Route(path, endpoint) for path, endpoint in _GET],
    exception_handlers={InvalidInput: refused, HTTPException: unknown},
)
"""The application that the service mounts; `app.state.engine` is set when the service starts."""
