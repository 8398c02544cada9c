"""What Mistral does its own way: cached tokens under several names, sound by the second, connectors, OCR by the page.

Sources: mistralai 3.7, models/usageinfo.py, conversationusageinfo.py, ocrusageinfo.py, ocrresponse.py;
https://docs.mistral.ai/api.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire import openai_chat
from metrion.wire.counts import Counts
from metrion.wire.error_body import message
from metrion.wire.format import Format, is_there, replace_usage, usage_mark
from metrion.wire.usage import Usage


class _Pages(msgspec.Struct):
    model: str | None = None
    usage_info: Raw = Raw()
    document_annotation: Raw = Raw()
    error: Raw = Raw()


_decode = msgspec.json.Decoder(_Pages).decode


def _read_pages(document: bytes, reading: Reading) -> None:
    answer = _decode(document)
    reading.model = answer.model or reading.model
    replace_usage(reading, answer.usage_info)
    if is_there(answer.document_annotation):
        reading.facts["annotated"] = "true"
    if is_there(answer.error):
        reading.error = message(document)


OCR = Format(usage_mark("usage_info"), _read_pages)


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
    return counts.check(own, counts.take("total_tokens"))


def understand_pages(usage: dict[str, Any], reading: Reading) -> Usage:
    """The pages that were read; those of an annotated document are billed for that as well."""
    counts = Counts(usage)
    pages = counts.take("pages_processed")
    own = Usage(quantities={"pages": pages} if pages else {})
    if pages and "annotated" in reading.facts:
        own.quantities["annotated_pages"] = pages
    return counts.check(own)
