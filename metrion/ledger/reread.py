"""A row that was written, turned into its call again, so that it can be priced as if it had just ended."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
from msgspec import Raw

from metrion.call import Call, Reading

_split = msgspec.json.Decoder(list[Raw]).decode


def call_of(row: Any) -> Call:
    """The call a row was written from; `row` has the columns of `calls` as attributes.

    `price` makes the same row of it again, less what only the ended call itself could tell (held text for estimates).
    """
    rare = orjson.loads(row.rare) if row.rare else {}
    seen = rare.get("seen", {})
    return Call(
        id=row.request_id,
        account_id=row.account_id,
        started_ms=row.started_ms,
        provider=row.provider,
        endpoint=row.endpoint,
        format=row.format,
        mode=row.mode,
        requester=row.requester,
        requested_model=row.requested_model,
        stream=bool(row.stream),
        request_bytes=row.request_bytes,
        status=row.status,
        outcome=row.outcome,
        error_code=row.error_code or "",
        error_message=row.error_message or "",
        latency_us=row.latency_us,
        ttft_us=row.ttft_us,
        provider_us=row.provider_us,
        response_bytes=row.response_bytes,
        upstream_request_id=row.upstream_request_id or "",
        reading=Reading(
            model=row.model,
            service_tier=rare.get("service_tier", ""),
            usage=_objects(row.usage_raw),
            tools=seen.get("tools", rare.get("tool_calls", {})),
            facts=seen.get("facts", {}),
            done=seen.get("done", False),
        ),
    )


def _objects(raw: str | None) -> list[Raw]:
    """The usage objects of a row: one, or a list of them; text that is neither stays whole, as it was understood."""
    if raw is None:
        return []
    text = raw.encode()
    if not text.startswith(b"["):
        return [Raw(text)]
    try:
        return _split(text)
    except msgspec.DecodeError:
        return [Raw(text)]
