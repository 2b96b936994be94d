"""HTML pages for people: served models and API documentation, without external resources."""

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from serving.api.request_schemas import Query
from serving.http.endpoints import Endpoint, answer

ASSETS = "/docs/assets/"
"""Path prefix of the files that the pages load."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Cyber-Sensei personalisation</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;
color:#1b2430;background:#fbfbfa}}code{{background:#eceff1;padding:.1rem .3rem;border-radius:3px}}
td,th{{text-align:left;padding:.2rem 1.5rem .2rem 0}}</style></head><body>
<h1>Cyber-Sensei personalisation</h1>
<p>Recommended topics, and the difficulty of the next quiz.</p>
<table><tr><th>Serving</th><th></th></tr>{facts}</table>
<h2>Try it</h2>
<ul><li><a href="/api/user/testuser/recommendations?count=5">
<code>/api/user/testuser/recommendations?count=5</code></a></li>
<li><a href="/api/learning/topic/1/difficulty/suggest?username=testuser">
<code>/api/learning/topic/1/difficulty/suggest?username=testuser</code></a></li>
<li><a href="/docs"><code>/docs</code></a>: every route, to be tried in the browser</li>
<li><a href="/readyz"><code>/readyz</code></a>, <a href="/livez"><code>/livez</code></a></li></ul>
</body></html>"""

DOCS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Cyber-Sensei personalisation: API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"></head><body><div id="ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", deepLinking: true,
validatorUrl: null, docExpansion: "list", persistAuthorization: false})</script></body></html>"""


def assets() -> Mount:
    """Mount Swagger UI (Apache 2.0), which BentoML ships for its own pages."""
    spec = find_spec("bentoml")  # located, not imported: the import takes a second
    folders = spec.submodule_search_locations if spec else None
    folder = Path(folders[0]) / "_internal" / "server" / "static_content" if folders else None
    return Mount(ASSETS.rstrip("/"), StaticFiles(directory=folder), name="docs-assets")


async def page(request: Request, _: Query) -> Response:
    """Return the start page, which lists the served models."""
    facts = request.app.state.engine.describe()
    rows = (f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in facts)
    return HTMLResponse(PAGE.format(facts="".join(rows)))


async def docs(_: Request, __: Query) -> Response:
    """Return the API documentation page."""
    return HTMLResponse(DOCS)


async def openapi_document(request: Request, _: Query) -> Response:
    """Return the OpenAPI document."""
    document: dict[str, Any] = request.app.state.openapi
    return answer(document)


ENDPOINTS = (
    Endpoint("GET", "/", page, "Overview page of the service", scope="open"),
    Endpoint("GET", "/docs", docs, "Interactive documentation of all routes", scope="open"),
    Endpoint("GET", "/openapi.json", openapi_document, "OpenAPI document", scope="open"),
)
