"""`/api/v1/openapi.json`: what the API takes and answers, as OpenAPI 3.1.

https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from metrion import __version__
from metrion.providers import PROVIDERS
from metrion.storage.dashboard import Basis
from metrion.web.api import logs, usage
from metrion.web.filters import LONGEST_NAME, RANGES, STATUS
from metrion.web.visit import Visit

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
MONEY: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "description": "Dollars, exact."}
ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}


def document(origin: str) -> Schema:
    """The description of the API of the Metrion at `origin`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Metrion",
            "version": __version__,
            "description": "What the pages show, for programs; it only reads. Days are the account's.",
        },
        "servers": [{"url": origin}],
        "security": [{"key": []}, {"session": []}],
        "paths": {
            "/api/v1/usage": _get("What was used, summed", [*_common(), _by()], "Usage"),
            "/api/v1/latency": _get("How long calls took", _common(), "Latency"),
            "/api/v1/logs": _get("Calls, newest first", [*_common(), *_of_logs()], "Calls"),
            "/api/v1/logs/{request_id}": _get(
                "One call, with its usage object",
                [{"name": "request_id", "in": "path", "required": True, "schema": ID}],
                "Call",
                found=False,
            ),
        },
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A Metrion key: sk-metrion-…"},
                "session": {"type": "apiKey", "in": "cookie", "name": "metrion"},
            },
            "schemas": _schemas(),
        },
    }


async def show(visit: Visit) -> Response:
    """The document."""
    return Response(orjson.dumps(document(visit.site.public_url)), media_type="application/json")


def _get(summary: str, parameters: list[Schema], schema: str, *, found: bool = True) -> Schema:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    why = {
        "400": "A parameter is not understood",
        "401": "No key, or one that is not known",
        "403": "This key may not read",
        "429": "Too many requests; Retry-After says when to go on",
        "503": "Busy; Retry-After says when to go on",
    } | ({} if found else {"404": "There is no such call"})
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {
        "get": {
            "summary": summary,
            "operationId": f"get{schema}",
            "parameters": parameters,
            "responses": {
                "200": {"description": summary, "content": content},
                **{status: {"description": words, "content": problem} for status, words in sorted(why.items())},
            },
        }
    }


# ── parameters ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _query(name: str, schema: Schema, description: str = "") -> Schema:
    return {"name": name, "in": "query", "schema": schema} | ({"description": description} if description else {})


def _common() -> list[Schema]:
    day = {"type": "string", "format": "date"}
    models = {"type": "array", "items": _NAME, "maxItems": 50}
    return [
        _query("range", {"enum": list(RANGES), "default": "7d"}),
        _query("from", day, "The first day, in place of range; at most 366 days."),
        _query("to", day, "The last day, included."),
        _query("provider", {"enum": list(PROVIDERS)}),
        _query("model", models, "Once for each of several."),
        _query("requester", _NAME),
        _query("status", {"enum": list(STATUS)}, "A class; none: no answer came."),
    ]


def _by() -> Schema:
    return _query("by", {"enum": list(usage.BY), "default": "day"}, "requester: the 1,000 that cost most.")


def _of_logs() -> list[Schema]:
    return [
        _query("stream", {"enum": ["true", "false"]}),
        _query("q", _NAME, "A part of a name, or an id's beginning."),
        _query("before", ID, "`next` of the page before."),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": logs.MOST, "default": 50}),
    ]


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _object(**properties: Schema) -> Schema:
    """An object that has all of these and nothing else."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _schemas() -> dict[str, Schema]:
    head = {"from": _MOMENT, "to": _MOMENT, "time_zone": _TEXT}
    call, sums, times = _call(), _sums(), _times()
    named = {"name": _TEXT, "provider": _TEXT, "requests": _COUNT}
    group = _object(key=_TEXT, **sums)
    group["properties"]["provider"] = _TEXT | {"description": "Of a model."}
    return {
        "Problem": {
            "type": "object",
            "properties": {"type": _TEXT, "title": _TEXT, "status": _COUNT, "detail": _TEXT},
            "required": ["type", "title", "status"],
        },
        "Usage": _object(
            **head,
            by={"enum": list(usage.BY)},
            basis={
                "enum": [one.value for one in Basis],
                "description": "pairs: without refusals, which no total tells of within these filters.",
            },
            groups=_list(group),
            total=_object(**sums),
        ),
        "Latency": _object(
            **head,
            bucket={"enum": ["hour", "day"]},
            rows=_or_null(_COUNT | {"description": "Of so many calls, the latest; null: of all."}),
            all=_object(requests=_COUNT, **times),
            over_time=_list(_object(start=_MOMENT, **times)),
            models=_list(_object(**named, **times)),
            providers=_list(_object(**named, **times)),
        ),
        "Calls": _object(**head, calls=_list(_object(**call)), next=_or_null(ID)),
        "Call": _object(
            **call,
            usage_raw={"description": "The provider's usage object as it came; null where none did."},
            cost_history=_list({"type": "object"}),
        ),
    }


def _call() -> dict[str, Schema]:
    """A call by the names of spec §3."""
    texts = ("provider", "endpoint", "model", "requested_model", "requester", "service_tier", "problem")
    tokens: tuple[str, ...] = (
        "input",
        "cached_input",
        "cache_write_5m",
        "cache_write_1h",
        "output",
        "reasoning",
        "audio_input",
    )
    tokens += ("audio_output", "image", "total")
    return (
        {"request_id": ID, "started_at": _MOMENT}
        | dict.fromkeys(texts, _TEXT)
        | {"mode": {"enum": ["stored", "pass_through"]}, "stream": {"type": "boolean"}, "status": _COUNT}
        | {"outcome": _TEXT, "error_message": _or_null(_TEXT), "tool_calls": _COUNTS, "quantities": _COUNTS}
        | {f"{name}_tokens": _COUNT for name in tokens}
        | {"cost_usd": _or_null(MONEY), "cost_source": _TEXT, "price_ref": _or_null(_TEXT), "cost_version": _COUNT}
        | dict.fromkeys(("latency_ms", "ttft_ms", "provider_ms"), _NUMBER)
        | {"request_bytes": _COUNT, "response_bytes": _COUNT, "upstream_request_id": _or_null(_TEXT)}
    )


def _sums() -> dict[str, Schema]:
    counts: tuple[str, ...] = (
        "requests",
        "refused",
        "errors",
        "input_tokens",
        "cached_input_tokens",
        "cache_write_5m_tokens",
    )
    counts += ("cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "total_tokens")
    confidence = dict.fromkeys(("provider", "computed", "estimated"), MONEY)
    confidence |= dict.fromkeys(("unpriced_rows", "unknown_rows"), _COUNT)
    return dict.fromkeys(counts, _COUNT) | {"cost_usd": _or_null(MONEY), "confidence": _object(**confidence)}


def _times() -> dict[str, Schema]:
    percentiles = _object(**dict.fromkeys(("p50", "p95", "p99"), _or_null(_NUMBER)))
    names = ("latency_ms", "ttft_ms", "overhead_ms")
    return dict.fromkeys(names, percentiles) | {"tokens_per_second": _or_null(_NUMBER)}
