"""Comparison of two OpenAPI documents: operations, parameters, fields and statuses.

Usage: python -m tools.compare_openapi BEFORE.json AFTER.json

It prints one line per difference and exits with 1 if there is any. Names of schemas, descriptions
and examples are not compared: no client depends on them.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]


def contract(document: Document) -> set[str]:
    """Return one line per fact that a client depends on."""
    return set(_facts(document))


def _facts(document: Document) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            yield name
            for parameter in operation.get("parameters", ()):
                need = "required" if parameter.get("required") else "optional"
                yield f"{name}: {need} {parameter['in']} parameter {parameter['name']}"
            for body in _schemas(operation.get("requestBody", {})):
                yield from (f"{name}: body {field}" for field in _fields(document, body))
            for status, response in operation["responses"].items():
                yield f"{name}: status {status}"
                for body in _schemas(response):
                    fields = _fields(document, body)
                    yield from (f"{name}: response {status} {field}" for field in fields)


def _schemas(content: Document) -> list[Document]:
    """Return the schemas of a request body or a response, one per media type."""
    return [media.get("schema", {}) for media in content.get("content", {}).values()]


def _fields(
    document: Document, schema: Document, place: str = "", seen: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield each field below a schema with its path, for example `optional field levels.easy`."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        if name not in seen:  # a schema may hold itself
            found = document["components"]["schemas"][name]
            yield from _fields(document, found, place, (*seen, name))
    for name, field in schema.get("properties", {}).items():
        inner = f"{place}.{name}" if place else name
        need = "required" if name in schema.get("required", ()) else "optional"
        yield f"{need} field {inner}"
        yield from _fields(document, field, inner, seen)
    variants = (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ()))
    for variant in (*variants, *schema.get("prefixItems", ())):
        yield from _fields(document, variant, place, seen)
    if isinstance(items := schema.get("items"), dict):
        yield from _fields(document, items, f"{place}[]", seen)


def main(arguments: list[str]) -> int:
    """Print the differences of two documents; return 1 if there are any."""
    before, after = (contract(json.loads(Path(file).read_text())) for file in arguments)
    for fact in sorted(before | after):
        if (fact in before) != (fact in after):
            print(("- " if fact in before else "+ ") + fact)
    return int(before != after)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
