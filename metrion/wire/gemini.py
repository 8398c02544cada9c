"""Gemini's native API: generateContent and its streams, embeddings, interactions; and its OpenAI-compatible form.

Sources: google-genai 3.4, types.py (`GenerateContentResponseUsageMetadata`, `MediaModality`) and
_gaos/types/interactions/usage.py; https://ai.google.dev/api/generate-content#UsageMetadata;
https://ai.google.dev/gemini-api/docs/google-search#pricing.
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
from metrion.wire.format import Format, is_object, is_there, replace_usage, usage_mark
from metrion.wire.openai_chat import text
from metrion.wire.usage import Usage

_MODALITIES = ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT")  # by their numbers in the enum
_IMAGES = ("IMAGE", "DOCUMENT")  # pages of a document are counted, and billed, as images
_GENERATION = re.compile(r"(?:models/)?gemini-(\d+)")
_FIRST_BILLED_BY_QUERY = 3  # Gemini 3 and later bill each search query, models before it each grounded prompt
_FINISHED = {"interaction.completed", "interaction.failed", "interaction.cancelled", "interaction.complete"}
_STATUS_UPDATE = "interaction.status_update"
_ENDED = {"completed", "failed", "cancelled", "incomplete", "budget_exceeded"}
# Vertex's names of tiers, where an answer has none of Gemini's own: google-genai 3.4, types.py, `TrafficType`.
_TRAFFIC = {"ON_DEMAND": "", "ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}
_KNOWN: Known = dict.fromkeys(
    (
        "promptTokenCount",
        "promptTokensDetails",
        "toolUsePromptTokenCount",
        "toolUsePromptTokensDetails",
        "cachedContentTokenCount",
        "cacheTokensDetails",
        "candidatesTokenCount",
        "candidatesTokensDetails",
        "responseTokenCount",
        "responseTokensDetails",
        "thoughtsTokenCount",
        "totalTokenCount",
        "initialPromptTokenCount",  # part of promptTokenCount
    )
)
_KNOWN_OF_INTERACTIONS: Known = dict.fromkeys(
    (
        "total_input_tokens",
        "input_tokens_by_modality",
        "total_tool_use_tokens",
        "tool_use_tokens_by_modality",
        "total_cached_tokens",
        "cached_tokens_by_modality",
        "total_output_tokens",
        "output_tokens_by_modality",
        "total_thought_tokens",
        "total_tokens",
        "initial_input_tokens",  # part of total_input_tokens
        "grounding_tool_count",
    )
)


class _Grounding(msgspec.Struct, rename="camel"):
    web_search_queries: list[str] | None = None
    image_search_queries: list[str] | None = None
    grounding_chunks: list[dict[str, Raw]] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    finish_reason: str | int | None = None
    grounding_metadata: _Grounding | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | int | None = None


class _Answer(msgspec.Struct, rename="camel"):
    """An answer, whole or one piece of a stream; or the embeddings of a text."""

    response_id: str | None = None
    model_version: str | None = None
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: Raw = Raw()
    error: Raw = Raw()


_decode = msgspec.json.Decoder(_Answer).decode


def _read(document: bytes, reading: Reading) -> None:
    answer = _decode(document)
    reading.model = answer.model_version or reading.model
    reading.response_id = answer.response_id or reading.response_id
    replace_usage(reading, answer.usage_metadata)
    for candidate in answer.candidates or ():
        if candidate.finish_reason:
            reading.done = True
        if candidate.grounding_metadata:
            _read_grounding(candidate.grounding_metadata, reading)
    if answer.prompt_feedback and answer.prompt_feedback.block_reason:
        reading.done = True
    if is_there(answer.error):
        reading.error = message(document)


def _read_grounding(grounding: _Grounding, reading: Reading) -> None:
    """Count the search queries (empty ones are free), and note a use of Maps; pieces of a stream repeat themselves."""
    asked = (*(grounding.web_search_queries or ()), *(grounding.image_search_queries or ()))
    queries = len(list(filter(None, asked)))
    if queries:
        reading.tools["google_search"] = max(queries, reading.tools.get("google_search", 0))
    if any("maps" in chunk for chunk in grounding.grounding_chunks or ()):
        reading.tools["google_maps"] = 1


class _Interaction(msgspec.Struct):
    """An interaction, whole; or an event that carries one under `interaction`."""

    event_type: str | None = None
    interaction: Raw = Raw()
    interaction_id: str | None = None
    status: str | None = None
    id: str | None = None
    model: str | None = None
    agent: str | None = None  # in place of a model
    service_tier: str | None = None
    usage: Raw = Raw()
    error: Raw = Raw()


_decode_interaction = msgspec.json.Decoder(_Interaction).decode


def _read_interaction(document: bytes, reading: Reading) -> None:
    answer = _decode_interaction(document)
    if is_there(answer.error):
        reading.error = message(bytes(answer.error))
    if answer.event_type in _FINISHED:
        reading.done = True
    if is_object(answer.interaction):
        answer = _decode_interaction(answer.interaction)
    elif answer.event_type == _STATUS_UPDATE:
        reading.done = reading.done or answer.status in _ENDED
        answer.id = answer.interaction_id
    elif answer.event_type is not None:
        return  # what other events are called is not the answer's name
    reading.model = answer.model or answer.agent or reading.model
    reading.response_id = answer.id or reading.response_id
    reading.service_tier = answer.service_tier or reading.service_tier
    replace_usage(reading, answer.usage)


GENERATE = Format(usage_mark("usageMetadata"), _read)
INTERACTIONS = Format(usage_mark("usage"), _read_interaction)


def understand(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of an answer: what tools read is input, thoughts are output."""
    counts = Counts(usage)
    prompt, tools = _modalities(counts, "promptTokensDetails"), _modalities(counts, "toolUsePromptTokensDetails")
    cached = _modalities(counts, "cacheTokensDetails")
    output = _modalities(counts, "candidatesTokensDetails") or _modalities(counts, "responseTokensDetails")
    own = Usage(
        input_tokens=counts.take("promptTokenCount") + counts.take("toolUsePromptTokenCount"),
        cached_input_tokens=counts.take("cachedContentTokenCount"),
        output_tokens=counts.take("candidatesTokenCount") or counts.take("responseTokenCount"),
        audio_input_tokens=prompt.get("AUDIO", 0) + tools.get("AUDIO", 0),
        cached_audio_tokens=cached.get("AUDIO", 0),
        audio_output_tokens=output.get("AUDIO", 0),
        image_input_tokens=sum(part.get(kind, 0) for part in (prompt, tools) for kind in _IMAGES),
        image_output_tokens=sum(output.get(kind, 0) for kind in _IMAGES),
        video_input_tokens=prompt.get("VIDEO", 0) + tools.get("VIDEO", 0),
        video_output_tokens=output.get("VIDEO", 0),
        service_tier=_tier(usage),
        tool_calls=_billable(reading.tools, reading.model),
    )
    if traffic := text(usage.get("trafficType")):
        own.facts["traffic_type"] = traffic
    if queries := reading.tools.get("google_search"):
        own.facts["google_search_queries"] = str(queries)
    total = counts.take("totalTokenCount")
    _add_thoughts(own, counts.take("thoughtsTokenCount"), total)
    return counts.check(own, total, known=_KNOWN)


def _tier(usage: dict[str, Any]) -> str:
    """The service tier, "" for the list price; an unknown kind of traffic is a tier of its name."""
    traffic = text(usage.get("trafficType"))
    return text(usage.get("serviceTier")).lower() or _TRAFFIC.get(traffic, traffic.lower())


def _add_thoughts(usage: Usage, thoughts: int, total: int) -> None:
    """Add thoughts to the output, as the total says they stand to it.

    `total` is documented as the sum of prompt, tool prompt, candidates and thoughts. Where it is that of the others
    alone, the thoughts stand inside the output; where it is more than all, the rest are thoughts that were left out.
    """
    outside = usage.total_tokens + thoughts
    if total > outside:
        thoughts += total - outside
    inside = total and total == usage.total_tokens and thoughts <= usage.output_tokens
    if not inside:
        usage.output_tokens += thoughts
    usage.reasoning_tokens = thoughts


def understand_interaction(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of an interaction, which names them otherwise."""
    counts = Counts(usage)
    read, tools = _modalities(counts, "input_tokens_by_modality"), _modalities(counts, "tool_use_tokens_by_modality")
    cached, output = _modalities(counts, "cached_tokens_by_modality"), _modalities(counts, "output_tokens_by_modality")
    own = Usage(
        input_tokens=counts.take("total_input_tokens") + counts.take("total_tool_use_tokens"),
        cached_input_tokens=counts.take("total_cached_tokens"),
        output_tokens=counts.take("total_output_tokens"),
        audio_input_tokens=read.get("AUDIO", 0) + tools.get("AUDIO", 0),
        cached_audio_tokens=cached.get("AUDIO", 0),
        audio_output_tokens=output.get("AUDIO", 0),
        image_input_tokens=sum(part.get(kind, 0) for part in (read, tools) for kind in _IMAGES),
        image_output_tokens=sum(output.get(kind, 0) for kind in _IMAGES),
        video_input_tokens=read.get("VIDEO", 0) + tools.get("VIDEO", 0),
        video_output_tokens=output.get("VIDEO", 0),
        service_tier=reading.service_tier,
    )
    grounded = {}
    for tool in usage.get("grounding_tool_count") or ():
        if isinstance(tool, dict) and (count := counts.count(tool.get("count"), "grounding_tool_count")):
            grounded[text(tool.get("type"))] = count
    own.tool_calls = _billable(grounded, reading.model)
    total = counts.take("total_tokens")
    _add_thoughts(own, counts.take("total_thought_tokens"), total)
    return counts.check(own, total, known=_KNOWN_OF_INTERACTIONS)


def understand_compatible(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of the OpenAI-compatible form, where thoughts stand in the total alone."""
    counts = Counts(usage)
    own = openai_chat.base(counts, reading)
    total = counts.take("total_tokens")
    _add_thoughts(own, own.reasoning_tokens, total)
    return counts.check(own, total, known=openai_chat.KNOWN)


def _modalities(counts: Counts, key: str) -> dict[str, int]:
    """Tokens by modality; modalities come as names or as their numbers, counts as `tokenCount` or `tokens`."""
    found: dict[str, int] = {}
    for detail in counts.usage.get(key) or ():
        if isinstance(detail, dict):
            kind = detail.get("modality")
            name = _MODALITIES[kind] if isinstance(kind, int) and 0 <= kind < len(_MODALITIES) else text(kind).upper()
            tokens = counts.count(detail.get("tokenCount", detail.get("tokens")), key)
            found[name] = found.get(name, 0) + tokens
            if tokens and name not in _MODALITIES:
                counts.note(f"tokens of the modality {name or kind!r:.40} are not known")
    return found


def _billable(tools: dict[str, int], model: str) -> dict[str, int]:
    """Billable grounding: each query from Gemini 3 on, one for the prompt before it."""
    generation = _GENERATION.match(model)
    if "google_search" in tools and not (generation and int(generation[1]) >= _FIRST_BILLED_BY_QUERY):
        return tools | {"google_search": 1}
    return dict(tools)
