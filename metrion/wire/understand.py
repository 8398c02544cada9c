"""A Reading's usage objects, understood: what was counted, in the terms of the row."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from metrion.call import Reading
from metrion.wire import anthropic, batch, gemini, mistral, openai_chat, openai_other, openai_responses, xai
from metrion.wire.format import SALVAGED
from metrion.wire.usage import Plain, Usage

_Raw = dict[str, Any]
_TOLD_BESIDE = {"openai_chat", "openai_responses", "gemini_generate"}  # whose tools or tier stand outside the usage


def understand(provider: str, format: str, reading: Reading) -> tuple[Usage | None, str | None]:
    """Return the usage and its objects verbatim as JSON text (a list where there are several).

    `provider` is one of anthropic, openai, gemini, mistral, grok; `format` is a key of `tap.FORMATS` or "". The usage
    is None where the answer had none. Figures that contradict each other set `Usage.problem`; none is ever negative.
    """
    objects = [bytes(one) for one in reading.usage]
    raw = objects[0] if len(objects) == 1 else b"[%b]" % b",".join(objects)
    try:
        usages = [one for one in map(orjson.loads, objects) if isinstance(one, dict)]
    except orjson.JSONDecodeError:
        usages = []
    usage = _understand(provider, format, usages, reading)
    if usage and usages and provider == "grok" and not usage.parts:
        xai.add_reported_cost(usage, usages[-1])
    if usage and SALVAGED in reading.facts and format in _TOLD_BESIDE:
        usage.problem = usage.problem or "the answer could not be read: its tools, or its tier, may be missing"
    return usage, raw.decode(errors="replace") if objects else None


def understand_plain(provider: str, format: str, reading: Reading) -> tuple[Plain, str] | None:
    """What `understand` returns, where the usage is of the plainest kind, as most are; None for any other."""
    count = _PLAIN.get((provider, format))
    if count is None or len(reading.usage) != 1 or reading.tools or reading.facts:
        return None
    usage = bytes(reading.usage[0])
    counts = count(usage, reading.model)
    return None if counts is None else (counts, usage.decode(errors="replace"))


_PLAIN = {
    ("openai", "openai_chat"): openai_chat.count_plain,
    ("openai", "openai_embeddings"): openai_chat.count_plain,
    ("openai", "openai_responses"): openai_responses.count_plain,
}


def _understand(provider: str, format: str, usages: list[_Raw], reading: Reading) -> Usage | None:
    match format:
        case "openai_images":
            return openai_other.understand_image_answer(usages, reading)
        case "openai_audio":
            return _sound(provider, usages[-1] if usages else None, reading)
        case "" | "count_only" | "anthropic_complete":
            return None
    if not usages:
        return None
    match format:
        case "anthropic_messages":
            return anthropic.understand(anthropic.merge(usages), reading)
        case (
            "anthropic_batch_results"
            | "openai_batch_results"
            | "mistral_batch"
            | "xai_batch_results"
            | "gemini_batch"
            | "gemini_batch_results"
        ):
            return batch.understand(usages, reading, partial(_item, provider))
    return _one(provider, format, usages[-1], reading)


def _item(provider: str, shape: str, usage: _Raw, reading: Reading) -> Usage:
    """Understand the usage of one item of a batch."""
    match provider:
        case "anthropic":
            return anthropic.understand(usage, reading)
        case "gemini":
            return gemini.understand(usage, reading)
    own = _one(provider, shape or _shape(usage), usage, reading)
    if provider == "grok":
        xai.add_reported_cost(own, usage)
    return own


def _sound(provider: str, usage: _Raw | None, reading: Reading) -> Usage | None:
    """Understand what was heard or spoken; Mistral bills speech by its text, whatever tokens it tells."""
    if usage is None or provider != "mistral" or openai_other.CHARACTERS in reading.facts:
        return openai_other.understand_audio(usage if provider != "mistral" else None, reading)
    return mistral.understand(usage, reading)


def _one(provider: str, format: str, usage: _Raw, reading: Reading) -> Usage:
    """Understand one usage object of a format whose later objects hold the earlier ones."""
    match format, provider:
        case "openai_images", _:
            return openai_responses.understand_images(usage)
        case "openai_responses", "grok":
            return xai.understand_response(usage, reading)
        case "openai_responses", _:
            return openai_responses.understand(usage, reading)
        case (("gemini_generate" | "gemini_embed"), _):
            return gemini.understand(usage, reading)
        case "gemini_interactions", _:
            return gemini.understand_interaction(usage, reading)
        case "mistral_ocr", _:
            return mistral.understand_pages(usage, reading)
        case _, "grok":
            return xai.understand(usage, reading)
        case _, "gemini":
            return gemini.understand_compatible(usage, reading)
        case _, "mistral":
            return mistral.understand(usage, reading)
    return openai_chat.understand(usage, reading)


def _shape(usage: _Raw) -> str:
    """Which API answered a batch's item that does not say so: the names of its counts tell."""
    return "openai_responses" if "input_tokens" in usage else "openai_chat"
