"""OpenAI's Responses API, `responses/compact` included, and xAI's rendering of it.

Sources: openai-python 3.52, types/responses/response.py, response_usage.py and response_*_event.py; what tools cost:
https://platform.openai.com/docs/pricing#built-in-tools.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire.counts import Count, Counts, Known, counts_something, plain
from metrion.wire.error_body import message
from metrion.wire.format import Format, is_object, is_there, replace_usage, usage_mark
from metrion.wire.openai_chat import text
from metrion.wire.usage import CACHED_BY_KIND, Part, Plain, Usage, total

_TERMINAL = {"response.completed", "response.failed", "response.incomplete", "response.cancelled"}
_CACHED = "cached_tokens_details"
_WRITES = "cache_write_tokens_details"
_LIVES = {"ttl_30m_tokens", "ttl_12h_tokens"}
_PREVIEW = "web_search_preview"  # the older tool, with a price of its own; its type may end in a date
_IMAGE_MODEL = "gpt-image-2.6-sunburst"  # openai-python 3.52, types/responses/tool.py: where the tool names no other
_SMALLEST = "1g"  # of the containers code runs in
# Calls that cost the tokens only, or run at the client; what else is called may have a fee.
_FREE_CALLS = {
    "function_call",
    "custom_tool_call",
    "mcp_call",
    "computer_call",
    "local_shell_call",
    "apply_patch_call",
    "tool_search_call",
}
KNOWN: Known = {
    "input_tokens": None,
    "input_tokens_details": frozenset(
        {"cached_tokens", "cache_write_tokens", _WRITES, "text_tokens", "audio_tokens", "image_tokens"}
    ),
    "output_tokens": None,
    "output_tokens_details": frozenset({"reasoning_tokens", "text_tokens", "audio_tokens", "image_tokens"}),
    "total_tokens": None,
}
_KNOWN_OF_IMAGES: Known = {
    "input_tokens": None,
    "input_tokens_details": frozenset({"cached_tokens", "text_tokens", "image_tokens"}),
    "cached_tokens": None,
    _CACHED: frozenset({"cached_image_tokens", "cached_text_tokens"}),
    "output_tokens": None,
    "output_tokens_details": frozenset({"text_tokens", "image_tokens"}),
    "reasoning_tokens": None,
    "total_tokens": None,
}


class _InputDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    text_tokens: Count = 0


class _OutputDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    reasoning_tokens: Count = 0
    text_tokens: Count = 0


class _Usage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A usage as it is documented, of text alone."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    total_tokens: Count = 0
    input_tokens_details: _InputDetails = _InputDetails()
    output_tokens_details: _OutputDetails = _OutputDetails()


class _Action(msgspec.Struct):
    type: str | None = None


class _Environment(msgspec.Struct):
    """Where a shell runs, or a container: its `memory_limit` where it is asked for, its id where it was used."""

    container_id: str | None = None
    memory_limit: str | None = None


class Item(msgspec.Struct):
    """One item of `output`."""

    type: str | None = None
    status: str | None = None
    action: Raw = Raw()
    container_id: str | None = None
    environment: _Environment | None = None
    svg_usage: Raw = Raw()


class _Tool(msgspec.Struct):
    type: str | None = None
    model: str | None = None
    container: Raw = Raw()  # an id, or an object
    environment: _Environment | None = None


class _WebSearches(msgspec.Struct):
    num_requests: int | None = None


class _Sum(msgspec.Struct):
    total_tokens: int | None = None


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
_decode_usage = msgspec.json.Decoder(_Usage).decode
_decode_items = msgspec.json.Decoder(list[Item]).decode
_decode_action = msgspec.json.Decoder(_Action).decode
_decode_environment = msgspec.json.Decoder(_Environment).decode
_decode_sum = msgspec.json.Decoder(_Sum).decode
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
        try:
            _read_tools(answer, reading)
        except ValueError:  # not as documented: what they cost is not known then
            reading.tools = {"unreadable": 1}


def _read_tools(answer: _Answer, reading: Reading) -> None:
    """Count what the tools did: by what OpenAI says is billable where it says so, else by the items of the output."""
    items = _decode_items(answer.output) if is_there(answer.output) else []
    offered = _decode_tools(answer.tools) if is_there(answer.tools) else []
    tools = billable_tools(items, offered)
    if is_object(answer.tool_usage):
        said = _decode_tool_usage(answer.tool_usage)
        if said.web_search and said.web_search.num_requests is not None:
            tools["web_search"] = said.web_search.num_requests
        if is_object(said.image_gen) and _decode_sum(said.image_gen).total_tokens:
            reading.facts["image_usage"] = bytes(said.image_gen).decode()
            reading.facts["image_model"] = _image_model(offered)
            tools.pop("image_generation", None)  # billed by these tokens
    written = [bytes(item.svg_usage) for item in items if is_object(item.svg_usage)]
    if written:
        reading.facts["svg_usage"] = (b"[" + b",".join(written) + b"]").decode()
    if "web_search" in tools and any((tool.type or "").startswith(_PREVIEW) for tool in offered):
        tools[_PREVIEW] = tools.pop("web_search")
    reading.tools = {name: count for name, count in tools.items() if count}


def _image_model(tools: list[_Tool]) -> str:
    return next((tool.model for tool in tools if tool.type == "image_generation" and tool.model), _IMAGE_MODEL)


def billable_tools(items: list[Item], offered: list[_Tool]) -> dict[str, int]:
    """The tool calls of an output that carry a fee of their own, and those of a kind that is not known.

    A web search is billed by search, not by page opened; code runs in containers, and those are billed, not the calls
    in them. Failed calls are not counted. Images are billed as tokens of their model, which `tool_usage` tells.
    """
    counts: dict[str, int] = {}
    containers: dict[str | None, str] = {}  # by id: the tool that opened it
    for item in items:
        kind = item.type or ""
        if item.status == "failed" or not kind.endswith("_call") or kind in _FREE_CALLS:
            continue
        if kind == "code_interpreter_call":
            containers.setdefault(item.container_id, "code_interpreter")
        elif kind == "shell_call":
            if item.environment and item.environment.container_id:  # else it runs at the client
                containers.setdefault(item.environment.container_id, "shell")
        elif kind != "web_search_call" or _is_search(item):
            name = kind.removesuffix("_call")
            counts[name] = counts.get(name, 0) + 1
    for tool in containers.values():
        name = tool + _size_of(tool, offered)
        counts[name] = counts.get(name, 0) + 1
    return counts


def _is_search(item: Item) -> bool:
    return not is_object(item.action) or _decode_action(item.action).type in (None, "search")


def _size_of(name: str, offered: list[_Tool]) -> str:
    """The memory of a tool's containers as the end of its name, "" for the smallest, which is the default."""
    for tool in offered:
        asked = _decode_environment(tool.container) if is_object(tool.container) else tool.environment
        if tool.type == name and asked and asked.memory_limit not in (None, _SMALLEST):
            return f"_{asked.memory_limit}"
    return ""


RESPONSES = Format(usage_mark("usage"), _read, b"response.completed")


def understand(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of a response; what an image tool drew, or wrote as SVG, are parts of their own models."""
    counts = Counts(usage)
    own = counts.check(base(counts, reading), counts.take("total_tokens"), known=KNOWN)
    parts = [Part(reading.model, own)]
    if images := reading.facts.get("image_usage"):
        parts.append(Part(reading.facts["image_model"], understand_images(msgspec.json.decode(images))))
    if written := reading.facts.get("svg_usage"):
        parts += [understand_svg(one) for one in msgspec.json.decode(written)]
    return total(parts) if len(parts) > 1 else own


def count_plain(usage: bytes, model: str) -> Plain | None:
    """What `understand` says, in a fifth of its time, of a documented usage of text alone; None of any other."""
    try:
        told = _decode_usage(usage)
    except ValueError:  # msgspec's errors are
        return None
    read, written = told.input_tokens_details, told.output_tokens_details
    if read.cache_write_tokens:
        return None
    return plain(told.input_tokens, read.cached_tokens, told.output_tokens, written.reasoning_tokens, told.total_tokens)


def base(counts: Counts, reading: Reading) -> Usage:
    """The counts as the Responses API names them, before any provider's own corrections.

    Cache writes of 12 hours stand where other providers' of an hour do: they are the longer kind, with a price of its
    own.
    """
    long = _long_writes(counts)
    written = counts.take("input_tokens_details", "cache_write_tokens")
    counts.within(long, written, "cache writes of 12 hours within all")
    return Usage(
        input_tokens=counts.take("input_tokens"),
        cached_input_tokens=counts.take("input_tokens_details", "cached_tokens"),
        cache_write_5m_tokens=max(written - long, 0),
        cache_write_1h_tokens=long,
        output_tokens=counts.take("output_tokens"),
        reasoning_tokens=counts.take("output_tokens_details", "reasoning_tokens"),
        service_tier=text(counts.usage.get("service_tier")) or reading.service_tier,
        tool_calls=dict(reading.tools),
    )


def _long_writes(counts: Counts) -> int:
    """Cache writes of 12 hours; those of a life that is not known are noted."""
    details = counts.usage.get("input_tokens_details")
    writes = details.get(_WRITES) if isinstance(details, dict) else None
    if not isinstance(writes, dict):
        return 0
    for life in sorted(writes.keys() - _LIVES):
        if counts_something(writes[life]):
            counts.note(f"{_WRITES}.{life} is not known")
    return counts.count(writes.get("ttl_12h_tokens"), f"{_WRITES}.ttl_12h_tokens")


def understand_images(usage: dict[str, Any]) -> Usage:
    """The counts of an image model: its output is image tokens but for what is said to be text."""
    counts = Counts(usage)
    output = counts.take("output_tokens")
    drawn = Usage(
        input_tokens=counts.take("input_tokens"),
        cached_input_tokens=counts.take("cached_tokens") or counts.take("input_tokens_details", "cached_tokens"),
        output_tokens=output,
        image_input_tokens=counts.take("input_tokens_details", "image_tokens"),
        cached_image_tokens=counts.take(_CACHED, "cached_image_tokens"),
        facts={CACHED_BY_KIND: "true"} if counts.has(_CACHED) else {},
        image_output_tokens=output - min(output, counts.take("output_tokens_details", "text_tokens")),
    )
    return counts.check(drawn, counts.take("total_tokens"), known=_KNOWN_OF_IMAGES)


def understand_svg(usage: dict[str, Any]) -> Part:
    """What a text model used that wrote an image as SVG; the usage names it."""
    counts = Counts(usage)
    written = Usage(
        input_tokens=counts.take("input_tokens"),
        output_tokens=counts.take("output_tokens"),
        reasoning_tokens=counts.take("reasoning_tokens"),
    )
    return Part(text(usage.get("model")), counts.check(written, counts.take("total_tokens"), known=_KNOWN_OF_IMAGES))
