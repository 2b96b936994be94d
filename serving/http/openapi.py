"""OpenAPI document, generated from the endpoint declarations."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.http.endpoints import STATUSES, Endpoint

_REF = "#/components/schemas/{model}"
_JSON = "application/json"


class ErrorResponse(BaseModel):
    """Reason for an error: what was expected, what was received, and what to do."""

    error: str


def openapi(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the service.

    Args:
        endpoints: all declarations.
    """
    bodies = [(each.body, "validation") for each in endpoints if each.body]
    answers = [(each.returns, "serialization") for each in endpoints if each.returns]
    models = list(dict.fromkeys([*bodies, *answers, (ErrorResponse, "serialization")]))
    names, defs = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
    paths: dict[str, Any] = {}
    for each in endpoints:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cyber-Sensei personalisation",
            "version": "1",
            "description": "Recommended topics, and the difficulty of the next quiz. "
            "A slash within a learner's name is sent as `%2F` in a path.",
        },
        "paths": paths,
        "components": {
            "schemas": defs.get("$defs", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, names: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.handle.__name__,
        "tags": [endpoint.scope],
        "parameters": _parameters(endpoint),
        "responses": {
            str(status): _response(endpoint, status, names) for status in endpoint.documented
        },
    }
    if endpoint.body:
        schema = names[endpoint.body, "validation"]
        found["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    if endpoint.scope != "open":
        found["security"] = [{"key": []}, {}]  # on loopback no key is needed if none was created
    return found


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    schema = endpoint.query.model_json_schema()
    required = schema.get("required", [])
    found = []
    for name, field in schema.get("properties", {}).items():
        in_path = f"{{{name}}}" in endpoint.path
        found.append(
            {
                "name": name,
                "in": "path" if in_path else "query",
                "required": in_path or name in required,
                "description": field.get("description", ""),
                "schema": _in_text(field),
            }
        )
    return found


def _in_text(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an optional parameter without null: a query string holds only text."""
    kinds = field.get("type")
    if isinstance(kinds, list):
        some = [{"type": next(each for each in kinds if each != "null")}]
    else:
        some = [each for each in field.get("anyOf", ()) if each != {"type": "null"}]
    if len(some) != 1:
        return field
    dropped = ("anyOf", "default", *some[0])
    return some[0] | {key: value for key, value in field.items() if key not in dropped}


def _response(endpoint: Endpoint, status: int, names: Any) -> dict[str, Any]:
    model = endpoint.returns if status == endpoint.status else ErrorResponse
    if model is None:
        return {"description": STATUSES[status]}
    content: dict[str, Any] = {"schema": names[model, "serialization"]}
    if endpoint.example and status == endpoint.status:
        content["example"] = endpoint.example
    return {"description": STATUSES[status], "content": {_JSON: content}}
