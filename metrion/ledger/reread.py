"""A row that was written, turned into its call again, so that it can be priced as if it had just ended."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
from msgspec import Raw

from metrion.call import Call, Reading
from metrion.wire.understand import understand
from metrion.wire.usage import Usage

ESTIMATED = "estimated"
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


def is_guessed(row: Any) -> bool:
    """Whether a row's counts came from its texts: these are gone, and no usage object is there to be read again."""
    return row.usage_raw is None and bool(row.input_tokens or row.output_tokens)


def usage_of(row: Any) -> Usage | None:
    """What a row used: its usage read again, or as it counts where it was guessed."""
    if is_guessed(row):
        return _counted(row)
    call = call_of(row)
    return None if call.reading is None else understand(call.provider, call.format, call.reading)[0]


def _counted(row: Any) -> Usage:
    rare = orjson.loads(row.rare) if row.rare else {}
    return Usage(
        input_tokens=row.input_tokens,
        cached_input_tokens=row.cached_input_tokens,
        cache_write_5m_tokens=row.cache_write_5m_tokens,
        cache_write_1h_tokens=row.cache_write_1h_tokens,
        output_tokens=row.output_tokens,
        reasoning_tokens=row.reasoning_tokens,
        tool_calls=rare.get("tool_calls", {}),
        service_tier=rare.get("service_tier", ""),
        facts=rare.get("facts", {}),
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
