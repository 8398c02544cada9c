"""OpenAI's chat completions, completions and embeddings, and the four other providers' renderings of them.

Sources: openai-python 3.52, types/completion_usage.py and types/create_embedding_response.py;
https://platform.openai.com/docs/api-reference/chat/streaming. What other providers do differently is in their files.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire.counts import Counts, Known
from metrion.wire.error_body import message
from metrion.wire.format import Format, is_there, replace_usage, usage_mark
from metrion.wire.usage import Usage

KNOWN: Known = {
    "prompt_tokens": None,
    "completion_tokens": None,
    "total_tokens": None,
    "prompt_tokens_details": frozenset(
        {"cached_tokens", "cache_write_tokens", "text_tokens", "audio_tokens", "image_tokens"}
    ),
    "completion_tokens_details": frozenset(
        {
            "reasoning_tokens",
            "text_tokens",
            "audio_tokens",
            "accepted_prediction_tokens",
            "rejected_prediction_tokens",
        }
    ),
}


class _Answer(msgspec.Struct):
    """A completion, a chunk of one, a list of embeddings, or an error event."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: Raw = Raw()
    error: Raw = Raw()


_decode = msgspec.json.Decoder(_Answer).decode


def _read(document: bytes, reading: Reading) -> None:
    answer = _decode(document)
    reading.model = answer.model or reading.model
    reading.response_id = answer.id or reading.response_id
    reading.service_tier = answer.service_tier or reading.service_tier
    replace_usage(reading, answer.usage)
    if is_there(answer.error):
        reading.error = message(document)


CHAT = Format(usage_mark("usage"), _read, b"[DONE]")


def understand(usage: dict[str, Any], reading: Reading) -> Usage:
    """OpenAI's own meaning: details are parts of the counts they detail.

    Predicted tokens that were rejected stand inside `completion_tokens` already. Cache writes are taken for the short
    kind (30 minutes), for chat does not tell those of 12 hours apart. The search models search once for each request
    without saying so: https://developers.openai.com/api/docs/guides/tools-web-search (their fee:
    prices/overrides/openai.toml).
    """
    counts = Counts(usage)
    own = counts.check(base(counts, reading), counts.take("total_tokens"), known=KNOWN)
    if "-search-" in reading.model and own.output_tokens:
        own.tool_calls["web_search_preview" if "-search-preview" in reading.model else "web_search"] = 1
    return own


def base(counts: Counts, reading: Reading) -> Usage:
    """The counts as OpenAI names them, before any provider's own corrections."""
    prompt, completion = "prompt_tokens_details", "completion_tokens_details"
    return Usage(
        input_tokens=counts.take("prompt_tokens"),
        cached_input_tokens=counts.take(prompt, "cached_tokens"),
        cache_write_5m_tokens=counts.take(prompt, "cache_write_tokens"),
        output_tokens=counts.take("completion_tokens"),
        reasoning_tokens=counts.take(completion, "reasoning_tokens"),
        audio_input_tokens=counts.take(prompt, "audio_tokens"),
        audio_output_tokens=counts.take(completion, "audio_tokens"),
        image_input_tokens=counts.take(prompt, "image_tokens"),
        service_tier=text(counts.usage.get("service_tier")) or reading.service_tier,
        tool_calls=dict(reading.tools),
    )


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""
