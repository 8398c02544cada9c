"""Anthropic's messages, its batches' results and its legacy completions.

Sources: anthropic-python 2.11, types/usage.py, types/message_delta_usage.py, types/beta/beta_*usage*.py;
https://platform.claude.com/docs/en/build-with-claude/streaming (usage of `message_delta` is cumulative), …/compaction,
…/refusals-and-fallback, …/prompt-caching, …/tool-use/web-search-tool.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire.batch import Item, keep_item
from metrion.wire.counts import Counts
from metrion.wire.error_body import message
from metrion.wire.format import Format, is_object, is_there, keep_usage, usage_mark
from metrion.wire.openai_chat import text
from metrion.wire.usage import Part, Usage, total


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    """A message, whole; or one of a stream's events."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: Raw = Raw()
    message: Raw = Raw()  # of `message_start`
    delta: _Delta | None = None
    error: Raw = Raw()


_decode = msgspec.json.Decoder(_Message).decode


def _read(document: bytes, reading: Reading) -> None:
    event = _decode(document)
    if event.type == "message_stop":
        reading.done = True
    if is_object(event.message):
        event = _decode(event.message)
    reading.model = event.model or reading.model
    reading.response_id = event.id or reading.response_id
    keep_usage(reading, event.usage)
    stop_reason = event.stop_reason or (event.delta.stop_reason if event.delta else None)
    if stop_reason == "refusal":  # the one that changes what is billed
        reading.facts["stop_reason"] = stop_reason
    if is_there(event.error):
        reading.error = message(document)


class _Completion(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    error: Raw = Raw()


_decode_completion = msgspec.json.Decoder(_Completion).decode


def _read_completion(document: bytes, reading: Reading) -> None:
    """A completion, whole or a piece of one; the API sends no usage."""
    completion = _decode_completion(document)
    reading.model = completion.model or reading.model
    reading.response_id = completion.id or reading.response_id
    reading.done = reading.done or completion.stop_reason is not None
    if is_there(completion.error):
        reading.error = message(document)


class _Result(msgspec.Struct):
    message: _Message | None = None


class _Line(msgspec.Struct):
    result: _Result | None = None


_decode_line = msgspec.json.Decoder(_Line).decode


def _read_result(document: bytes, reading: Reading) -> None:
    """One line of a batch's results; expired, cancelled and failed requests have no message and cost nothing."""
    line = _decode_line(document)
    if line.result and line.result.message:
        answered = line.result.message
        keep_item(reading, Item(answered.id or "", answered.model or "", answered.usage))


MESSAGES = Format(usage_mark("usage"), _read, b"message_stop")
COMPLETE = Format(re.compile(rb'"stop_reason"\s*:\s*"'), _read_completion)
BATCH_RESULTS = Format(usage_mark("usage"), _read_result)


def merge(usages: list[dict[str, Any]]) -> dict[str, Any]:
    """The usage of `message_start`, overwritten key by key by each cumulative `message_delta`."""
    merged: dict[str, Any] = {}
    for usage in usages:
        merged.update({key: value for key, value in usage.items() if value is not None})
    return merged


def understand(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of a message, with the iterations that its top level leaves out.

    `compaction` iterations are tokens of the same model. An `advisor_message` is another model's, and so is an attempt
    that a fallback replaced, which is billed where it had begun to answer: both become parts of their own.
    """
    counts = Counts(usage)
    own = _count(counts, usage)
    own.reasoning_tokens = counts.take("output_tokens_details", "thinking_tokens")
    own.service_tier = text(usage.get("service_tier"))
    own.facts = {name: usage[name] for name in ("inference_geo", "speed") if isinstance(usage.get(name), str)}
    if searches := counts.take("server_tool_use", "web_search_requests"):  # fetching has no fee beyond its tokens
        own.tool_calls = {"web_search": searches}
    parts = [Part(reading.model, own)]
    iterations = _iterations(usage)
    serving = _serving(iterations, reading)
    for iteration in iterations:
        spent = _count(counts, iteration)
        if iteration.get("type") == "compaction":
            _add_tokens(own, spent)
        elif _is_apart(iteration, serving, spent):
            parts.append(Part(text(iteration.get("model")), spent))
    counts.check(own)
    if len(parts) > 1:
        return total(parts)
    if reading.facts.get("stop_reason") == "refusal" and not own.output_tokens:
        own.reported_cost_nano = 0  # "not billed for a request refused before any output": …/refusals-and-fallback
    return own


def _iterations(usage: dict[str, Any]) -> list[dict[str, Any]]:
    iterations = usage.get("iterations")
    return [one for one in iterations if isinstance(one, dict)] if isinstance(iterations, list) else []


def _serving(iterations: list[dict[str, Any]], reading: Reading) -> str:
    """The model that answered, where another one was tried; "" where none was. Every model may have refused in turn."""
    for iteration in iterations:
        if iteration.get("type") == "fallback_message":
            return text(iteration.get("model"))
    return reading.model if reading.facts.get("stop_reason") == "refusal" else ""


def _is_apart(iteration: dict[str, Any], serving: str, spent: Usage) -> bool:
    """Whether an iteration is billed beside the top level: an advisor's, or a replaced attempt's that had output."""
    if iteration.get("type") == "advisor_message":
        return True
    model = iteration.get("model")
    replaced = iteration.get("type") == "message" and bool(serving and model) and model != serving
    return replaced and spent.output_tokens > 0


def _add_tokens(own: Usage, spent: Usage) -> None:
    own.input_tokens += spent.input_tokens
    own.cached_input_tokens += spent.cached_input_tokens
    own.cache_write_5m_tokens += spent.cache_write_5m_tokens
    own.cache_write_1h_tokens += spent.cache_write_1h_tokens
    own.output_tokens += spent.output_tokens


def _count(counts: Counts, usage: dict[str, Any]) -> Usage:
    """The token classes of a usage or of one iteration; `input_tokens` there leaves out what was cached."""
    fresh = counts.count(usage.get("input_tokens"), "input_tokens")
    cached = counts.count(usage.get("cache_read_input_tokens"), "cache_read_input_tokens")
    written = counts.count(usage.get("cache_creation_input_tokens"), "cache_creation_input_tokens")
    by_life = Counts(usage.get("cache_creation") or {})
    short, long = by_life.take("ephemeral_5m_input_tokens"), by_life.take("ephemeral_1h_input_tokens")
    if by_life.problem:
        counts.note(by_life.problem)
    if short + long > written:
        counts.note(f"cache writes: {short} and {long} above {written}")
    elif long and not short:
        long = written  # a `message_delta` has the sum alone: what came after the start is of the kind seen there
    else:
        short = written - long  # five minutes is the default
    return Usage(
        input_tokens=fresh + cached + max(written, short + long),
        cached_input_tokens=cached,
        cache_write_5m_tokens=short,
        cache_write_1h_tokens=long,
        output_tokens=counts.count(usage.get("output_tokens"), "output_tokens"),
    )
