"""`/docs/api`: the JSON API for people, made of its own OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from starlette.responses import Response

from metrion.web.api.openapi import ID, MONEY, Schema, document
from metrion.web.visit import Visit

_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
_FORMATS = {"date": "day, as 2026-11-21", "date-time": "moment in UTC, as 2026-11-21T10:30:05.000Z"}


_PATTERNS = {ID["pattern"]: "id, 32 digits of 0–9 and a–f", MONEY["pattern"]: "amount, as text"}


class Field(NamedTuple):
    """A parameter, or a field of an answer: `name` leads to it (groups[].key); `kind` and `more` in words."""

    name: str
    kind: str
    more: str


class Endpoint(NamedTuple):
    """An address, what it takes and what it answers. `query`: an example's."""

    path: str
    summary: str
    takes: list[Field]
    tells: list[Field]
    problems: list[tuple[str, str]]
    query: str


_EXAMPLES = {
    "/api/v1/usage": "?range=30d&by=model",
    "/api/v1/latency": "?range=24h&provider=openai",
    "/api/v1/logs": "?status=5xx&limit=10",
}


async def show(visit: Visit) -> Response:
    """The page; whoever is asked to write a program may read it without an account."""
    origin = visit.site.public_url
    return visit.render("reference.html", origin=origin, endpoints=endpoints(document(origin)))


def endpoints(api: Schema) -> list[Endpoint]:
    """What an OpenAPI document describes, in its order."""
    found = []
    for path, methods in api["paths"].items():
        get = methods["get"]
        answers = get["responses"]
        told = answers["200"]["content"]["application/json"]["schema"]
        found.append(
            Endpoint(
                path,
                get["summary"],
                [_field(one["name"], one["schema"], one) for one in get["parameters"]],
                list(_fields("", told, api)),
                [(status, one["description"]) for status, one in answers.items() if status != "200"],
                _EXAMPLES.get(path, ""),
            )
        )
    return found


def _fields(prefix: str, schema: Schema, api: Schema) -> Iterator[Field]:
    """The fields of an answer and of what it holds."""
    schema = _resolved(schema, api)
    for name, one in schema["properties"].items():
        at = f"{prefix}{name}"
        inner = one.get("items", one)
        if one.get("type") == "array" and inner.get("properties"):
            yield from _fields(f"{at}[].", inner, api)
        elif one.get("properties"):
            yield from _fields(f"{at}.", one, api)
        else:
            yield _field(at, one, one)


def _resolved(schema: Schema, api: Schema) -> Schema:
    name = schema.get("$ref", "").rpartition("/")[2]
    return api["components"]["schemas"][name] if name else schema


def _field(name: str, schema: Schema, described: Schema) -> Field:
    inner = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    more = [described.get("description") or inner.get("description", "")]
    if "default" in schema:
        more.append(f"If it is left out: {schema['default']}.")
    if inner is not schema and "null" not in more[0]:
        more.append("Null where it is not known.")
    return Field(name, _kind(inner), " ".join(filter(None, more)))


def _kind(schema: Schema) -> str:
    """The values a schema lets through, in words."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("type") == "object":
        inner: Any = schema.get("additionalProperties")
        return f"{_kind(inner)} by name" if isinstance(inner, dict) else "object"
    if "pattern" in schema:
        return _PATTERNS[schema["pattern"]]
    if "maximum" in schema:
        return f"{_KINDS[schema['type']]}, {schema['minimum']} to {schema['maximum']}"
    return _FORMATS.get(schema.get("format", "")) or _KINDS.get(schema.get("type", ""), "anything")
