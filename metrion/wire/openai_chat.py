"""OpenAI's chat completions, completions and embeddings, and the four other providers' renderings of them.

Sources: openai-python 3.52, types/completion_usage.py and types/create_embedding_response.py;
https://platform.openai.com/docs/api-reference/chat/streaming. What other providers do differently is in their files.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire.counts import Count, Counts, Known, plain
from metrion.wire.error_body import message
from metrion.wire.format import Format, is_there, replace_usage, usage_mark
from metrion.wire.usage import Plain, Usage


class _PromptDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    text_tokens: Count = 0
    audio_tokens: Count = 0
    image_tokens: Count = 0


class _CompletionDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    reasoning_tokens: Count = 0
    text_tokens: Count = 0
    audio_tokens: Count = 0
    accepted_prediction_tokens: Count = 0
    rejected_prediction_tokens: Count = 0


class _Usage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A usage as it is documented, nothing missing and nothing beside."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    total_tokens: Count = 0
    prompt_tokens_details: _PromptDetails = _PromptDetails()
    completion_tokens_details: _CompletionDetails = _CompletionDetails()


_SEARCHES = "-search-"  # in the name of a model that searches
_decode_usage = msgspec.json.Decoder(_Usage).decode
KNOWN: Known = {
    **dict.fromkeys(_Usage.__struct_fields__),
    "prompt_tokens_details": frozenset(_PromptDetails.__struct_fields__),
    "completion_tokens_details": frozenset(_CompletionDetails.__struct_fields__),
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
    if answer.model:
        reading.model = answer.model
    if answer.id:
        reading.response_id = answer.id
    if answer.service_tier:
        reading.service_tier = answer.service_tier
    replace_usage(reading, answer.usage)
    if answer.error and is_there(answer.error):
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
    return _with_search(counts.check(base(counts, reading), counts.take("total_tokens"), known=KNOWN), reading)


def count_plain(usage: bytes, model: str) -> Plain | None:
    """What `understand` says, in a fifth of its time, of a documented usage of text alone; None of any other."""
    try:
        told = _decode_usage(usage)
    except ValueError:  # msgspec's errors are
        return None
    prompt, completion = told.prompt_tokens_details, told.completion_tokens_details
    if (
        prompt.cache_write_tokens
        or prompt.audio_tokens
        or prompt.image_tokens
        or completion.audio_tokens
        or _SEARCHES in model
    ):
        return None
    return plain(
        told.prompt_tokens, prompt.cached_tokens, told.completion_tokens, completion.reasoning_tokens, told.total_tokens
    )


def _with_search(own: Usage, reading: Reading) -> Usage:
    if _SEARCHES in reading.model and own.output_tokens:
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
