"""OpenAI's Responses API, `responses/compact` included, and xAI's rendering of it.

Sources: openai-python 3.52, types/responses/response.py, response_usage.py and response_*_event.py; what tools cost:
https://platform.openai.com/docs/pricing#built-in-tools.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire.counts import Counts
from metrion.wire.error_body import message
from metrion.wire.format import Format, is_object, is_there, replace_usage, usage_mark
from metrion.wire.openai_chat import text
from metrion.wire.usage import CACHED_BY_KIND, Part, Usage, total

_TERMINAL = {"response.completed", "response.failed", "response.incomplete", "response.cancelled"}
_CACHED = "cached_tokens_details"
_PREVIEW = "web_search_preview"  # the older tool, with a price of its own; its type may end in a date
_IMAGE_MODEL = (
    "gpt-image-1"  # https://platform.openai.com/docs/guides/tools-image-generation: where the tool names no other
)


class _Action(msgspec.Struct):
    type: str | None = None


class _Item(msgspec.Struct):
    """One item of `output`."""

    type: str | None = None
    status: str | None = None
    action: _Action | None = None
    container_id: str | None = None


class _Tool(msgspec.Struct):
    type: str | None = None
    model: str | None = None


class _WebSearches(msgspec.Struct):
    num_requests: int | None = None


class _ToolUsage(msgspec.Struct):
    web_search: _WebSearches | None = None
    image_gen: Raw = Raw()


class _Answer(msgspec.Struct):
    """A response, whole; of an event, what it carries under `response`."""

    type: str | None = None  # of an event
    response: Raw = Raw()
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    output: Raw = Raw()
    tools: Raw = Raw()
    tool_usage: Raw = Raw()
    usage: Raw = Raw()
    error: Raw = Raw()


_decode = msgspec.json.Decoder(_Answer).decode
_decode_items = msgspec.json.Decoder(list[_Item]).decode
_decode_tools = msgspec.json.Decoder(list[_Tool]).decode
_decode_tool_usage = msgspec.json.Decoder(_ToolUsage).decode


def _read(document: bytes, reading: Reading) -> None:
    answer = _decode(document)
    if answer.type is not None and is_object(answer.response):
        reading.done = reading.done or answer.type in _TERMINAL
        document = bytes(answer.response)
        answer = _decode(document)
    elif answer.type == "error":  # OpenAI sends the message on the event itself, others in an object below it
        reading.error = message(document)
        return
    reading.model = answer.model or reading.model
    reading.response_id = answer.id or reading.response_id
    reading.service_tier = answer.service_tier or reading.service_tier
    replace_usage(reading, answer.usage)
    if is_there(answer.error):
        reading.error = message(bytes(answer.error))
    if is_object(answer.usage):
        _read_tools(answer, reading)


def _read_tools(answer: _Answer, reading: Reading) -> None:
    """Count what the tools did: by what OpenAI says is billable where it says so, else by the items of the output."""
    tools = billable_tools(_decode_items(answer.output) if is_there(answer.output) else [])
    if is_object(answer.tool_usage):
        said = _decode_tool_usage(answer.tool_usage)
        if said.web_search and said.web_search.num_requests is not None:
            tools["web_search"] = said.web_search.num_requests
        if is_object(said.image_gen):
            reading.facts["image_usage"] = bytes(said.image_gen).decode()
            reading.facts["image_model"] = _image_model(_offered(answer))
    if "web_search" in tools and any((tool.type or "").startswith(_PREVIEW) for tool in _offered(answer)):
        tools[_PREVIEW] = tools.pop("web_search")
    reading.tools = {name: count for name, count in tools.items() if count}


def _offered(answer: _Answer) -> list[_Tool]:
    return _decode_tools(answer.tools) if is_there(answer.tools) else []


def _image_model(tools: list[_Tool]) -> str:
    return next((tool.model for tool in tools if tool.type == "image_generation" and tool.model), _IMAGE_MODEL)


def billable_tools(items: list[_Item]) -> dict[str, int]:
    """The tool calls of an output that carry a fee of their own.

    A web search is billed by search, not by page opened; code runs in containers, and those are billed, not the calls
    in them. Failed calls are not counted. Images are billed as tokens of their model, MCP and computer use as tokens.
    """
    counts: dict[str, int] = {}
    containers = set()
    for item in items:
        if item.status == "failed":
            continue
        if item.type == "web_search_call" and (item.action is None or item.action.type in (None, "search")):
            counts["web_search"] = counts.get("web_search", 0) + 1
        elif item.type == "file_search_call":
            counts["file_search"] = counts.get("file_search", 0) + 1
        elif item.type == "code_interpreter_call":
            containers.add(item.container_id)
    if containers:
        counts["code_interpreter"] = len(containers)
    return counts


RESPONSES = Format(usage_mark("usage"), _read, b"response.completed")


def understand(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of a response; an image tool's tokens are a part of their own."""
    counts = Counts(usage)
    own = counts.check(base(counts, reading), counts.take("total_tokens"))
    images = reading.facts.get("image_usage")
    if not images:
        return own
    drawn = understand_images(msgspec.json.decode(images))
    if not drawn.total_tokens:
        return own
    return total([Part(reading.model, own), Part(reading.facts["image_model"], drawn)])


def base(counts: Counts, reading: Reading) -> Usage:
    """The counts as the Responses API names them, before any provider's own corrections."""
    return Usage(
        input_tokens=counts.take("input_tokens"),
        cached_input_tokens=counts.take("input_tokens_details", "cached_tokens"),
        cache_write_5m_tokens=counts.take("input_tokens_details", "cache_write_tokens"),
        output_tokens=counts.take("output_tokens"),
        reasoning_tokens=counts.take("output_tokens_details", "reasoning_tokens"),
        service_tier=text(counts.usage.get("service_tier")) or reading.service_tier,
        tool_calls=dict(reading.tools),
    )


def understand_images(usage: dict[str, Any]) -> Usage:
    """The counts of an image model: its output is image tokens but for what is said to be text."""
    counts = Counts(usage)
    output = counts.take("output_tokens")
    drawn = Usage(
        input_tokens=counts.take("input_tokens"),
        cached_input_tokens=counts.take("cached_tokens") or counts.take("input_tokens_details", "cached_tokens"),
        output_tokens=output,
        reasoning_tokens=counts.take("reasoning_tokens"),
        image_input_tokens=counts.take("input_tokens_details", "image_tokens"),
        cached_image_tokens=counts.take(_CACHED, "cached_image_tokens"),
        facts={CACHED_BY_KIND: "true"} if counts.has(_CACHED) else {},
        image_output_tokens=output - min(output, counts.take("output_tokens_details", "text_tokens")),
    )
    return counts.check(drawn, counts.take("total_tokens"))
