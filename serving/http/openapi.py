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
    bodies = [(endpoint.body, "validation") for endpoint in endpoints if endpoint.body]
    answers = [(endpoint.returns, "serialization") for endpoint in endpoints if endpoint.returns]
    models = list(dict.fromkeys([*bodies, *answers, (ErrorResponse, "serialization")]))
    names, defs = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, names)
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
    operation: dict[str, Any] = {
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
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    if endpoint.scope != "open":
        # The second one: on loopback no key is needed if none was created.
        operation["security"] = [{"key": []}, {}]
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    schema = endpoint.query.model_json_schema()
    required = schema.get("required", [])
    parameters = []
    for name, field in schema.get("properties", {}).items():
        in_path = f"{{{name}}}" in endpoint.path
        parameters.append(
            {
                "name": name,
                "in": "path" if in_path else "query",
                "required": in_path or name in required,
                "description": field.get("description", ""),
                "schema": _in_text(field),
            }
        )
    return parameters


def _in_text(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an optional parameter without null: a query string holds only text."""
    kinds = field.get("type")
    if isinstance(kinds, list):
        without_null = [{"type": next(kind for kind in kinds if kind != "null")}]
    else:
        without_null = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    if len(without_null) != 1:
        return field
    dropped_keys = ("anyOf", "default", *without_null[0])
    return without_null[0] | {key: value for key, value in field.items() if key not in dropped_keys}


def _response(endpoint: Endpoint, status: int, names: Any) -> dict[str, Any]:
    model = endpoint.returns if status == endpoint.status else ErrorResponse
    if model is None:
        return {"description": STATUSES[status]}
    content: dict[str, Any] = {"schema": names[model, "serialization"]}
    if endpoint.example and status == endpoint.status:
        content["example"] = endpoint.example
    return {"description": STATUSES[status], "content": {_JSON: content}}
