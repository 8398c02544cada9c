"""What Mistral does its own way: cached tokens by several names, sound by the second, conversations, OCR by the page.

Sources: mistralai 3.7, models/usageinfo.py, conversationusageinfo.py, conversationresponse.py, conversationevents.py,
ocrusageinfo.py, ocrresponse.py; https://docs.mistral.ai/api.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire import openai_chat
from metrion.wire.counts import Counts, Known
from metrion.wire.error_body import message
from metrion.wire.format import Format, is_there, replace_usage, usage_mark
from metrion.wire.usage import Usage

_CACHED = frozenset({"cached_tokens"})
_KNOWN: Known = openai_chat.KNOWN | {
    "prompt_token_details": _CACHED,
    "num_cached_tokens": None,
    "prompt_audio_seconds": None,
    "connector_tokens": None,
    "connectors": None,
    "request_count": None,  # of texts in one request for embeddings
}
_KNOWN_OF_PAGES: Known = {"pages_processed": None, "doc_size_bytes": None}
_ANNOTATED = re.compile(rb'"(?:document|image)_annotation"\s*:\s*"')


class _Pages(msgspec.Struct):
    model: str | None = None
    usage_info: Raw = Raw()
    error: Raw = Raw()


_decode = msgspec.json.Decoder(_Pages).decode


def _read_pages(document: bytes, reading: Reading) -> None:
    answer = _decode(document)
    reading.model = answer.model or reading.model
    replace_usage(reading, answer.usage_info)
    if _ANNOTATED.search(document):  # the document as a whole, or an image in it
        reading.facts["annotated"] = "true"
    if is_there(answer.error):
        reading.error = message(document)


class _Entry(msgspec.Struct):
    """What a conversation put out; the model stands here alone."""

    model: str | None = None


class _Conversation(msgspec.Struct):
    """An answer of a conversation, whole; or one of its events."""

    type: str | None = None
    model: str | None = None
    outputs: list[_Entry] | None = None
    usage: Raw = Raw()


_decode_conversation = msgspec.json.Decoder(_Conversation).decode


def _read_conversation(document: bytes, reading: Reading) -> None:
    answer = _decode_conversation(document)
    for entry in (answer, *(answer.outputs or ())):
        reading.model = entry.model or reading.model
    replace_usage(reading, answer.usage)
    if answer.type == "conversation.response.done":
        reading.done = True
    elif answer.type == "conversation.response.error":
        reading.error = message(document)


OCR = Format(usage_mark("usage_info"), _read_pages)
CONVERSATIONS = Format(re.compile(rb'"usage"\s*:\s*\{|"conversation\.response\.error"'), _read_conversation)


def understand(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of a completion, of embeddings, of a transcription or of a conversation."""
    counts = Counts(usage)
    own = openai_chat.base(counts, reading)
    own.input_tokens += counts.take("connector_tokens")  # what connectors brought in; part of the total
    own.cached_input_tokens = (
        own.cached_input_tokens
        or counts.take("prompt_token_details", "cached_tokens")
        or counts.take("num_cached_tokens")
    )
    if counts.has("prompt_audio_seconds"):
        own.quantities["audio_ms"] = counts.milliseconds(usage["prompt_audio_seconds"], "prompt_audio_seconds")
    connectors = usage.get("connectors")
    for name, calls in connectors.items() if isinstance(connectors, dict) else ():
        own.tool_calls[name] = counts.count(calls, f"connectors.{name}")
    return counts.check(own, counts.take("total_tokens"), known=_KNOWN)


def understand_pages(usage: dict[str, Any], reading: Reading) -> Usage:
    """The pages that were read; those of an annotated document are billed for that as well."""
    counts = Counts(usage)
    pages = counts.take("pages_processed")
    own = Usage(quantities={"pages": pages} if pages else {})
    if pages and "annotated" in reading.facts:
        own.quantities["annotated_pages"] = pages
    return counts.check(own, known=_KNOWN_OF_PAGES)
