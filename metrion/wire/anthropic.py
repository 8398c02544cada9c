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
from metrion.wire.batch import item_of, keep_item
from metrion.wire.counts import Counts, Known
from metrion.wire.error_body import message
from metrion.wire.format import Format, is_object, is_there, keep_usage, usage_mark
from metrion.wire.openai_chat import text
from metrion.wire.usage import Part, Usage, total

_TURNS = ("message", "fallback_message")  # the iterations that the top level sums up
_SEVERAL = 2
_COUNTED = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)
_KNOWN: Known = {
    "input_tokens": None,
    "cache_creation_input_tokens": None,
    "cache_read_input_tokens": None,
    "cache_creation": frozenset({"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"}),
    "output_tokens": None,
    "output_tokens_details": frozenset({"thinking_tokens"}),
    "server_tool_use": None,
    "iterations": None,
    "fallback_credit": None,
}


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
    message: Raw = Raw()


class _Line(msgspec.Struct):
    result: _Result | None = None


_decode_line = msgspec.json.Decoder(_Line).decode


def _read_result(document: bytes, reading: Reading) -> None:
    """One line of a batch's results; expired, cancelled and failed requests have no message and cost nothing."""
    line = _decode_line(document)
    if line.result and is_object(line.result.message):
        own = Reading()
        _read(bytes(line.result.message), own)
        keep_item(reading, item_of(own))


MESSAGES = Format(usage_mark("usage"), _read, b"message_stop")
COMPLETE = Format(re.compile(rb'"stop_reason"\s*:\s*"'), _read_completion)
BATCH_RESULTS = Format(usage_mark("usage"), _read_result, results=True)


def merge(usages: list[dict[str, Any]]) -> dict[str, Any]:
    """The usage of `message_start`, overwritten key by key by each cumulative `message_delta`."""
    merged: dict[str, Any] = {}
    for usage in usages:
        merged.update({key: value for key, value in usage.items() if value is not None})
    return merged


def understand(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of a message, with the iterations that its top level leaves out.

    Each iteration is a prompt of its own, billed by its own length. `compaction` is one of the same model. An
    `advisor_message` is another model's, and so is an attempt that a fallback replaced, which is billed where it had
    begun to answer. The credit for a retry elsewhere (`fallback_credit`) stands in the counts: …/fallback-credit.
    """
    counts = Counts(usage)
    own = _count(counts, usage)
    own.reasoning_tokens = counts.take("output_tokens_details", "thinking_tokens")
    own.service_tier = text(usage.get("service_tier"))
    own.facts = {name: usage[name] for name in ("inference_geo", "speed") if isinstance(usage.get(name), str)}
    own.tool_calls = _tools(counts)
    iterations = _iterations(usage)
    serving = _serving(iterations, reading)
    parts = [Part(reading.model, turn) for turn in _turns(counts, own, iterations, serving)]
    for iteration in iterations:
        spent = _count(counts, iteration)
        kind = iteration.get("type")
        if kind == "compaction":
            parts.append(Part(reading.model, _under(own, spent)))
        elif _is_apart(iteration, serving, spent):
            parts.append(Part(text(iteration.get("model")), _under(own, spent, speed=False)))
        elif kind not in _TURNS:
            counts.note(f"an iteration of the type {kind!r:.40} is not known")
    counts.check(own, known=_KNOWN)
    if len(parts) > 1:
        whole = total(parts)
        whole.reasoning_tokens, whole.problem = own.reasoning_tokens, own.problem
        return whole
    if reading.facts.get("stop_reason") == "refusal" and not own.output_tokens:
        own.reported_cost_nano = 0  # "not billed for a request refused before any output": …/refusals-and-fallback
    return own


def _tools(counts: Counts) -> dict[str, int]:
    """Server tools by kind; fetching has no fee beyond its tokens (…/web-fetch-tool)."""
    used = counts.usage.get("server_tool_use")
    if not isinstance(used, dict):
        return {}
    calls = {name.removesuffix("_requests"): counts.count(number, name) for name, number in used.items()}
    return {name: number for name, number in calls.items() if number and name != "web_fetch"}


def _turns(counts: Counts, own: Usage, iterations: list[dict[str, Any]], serving: str) -> list[Usage]:
    """The samplings that the top level sums up, where it says so of several; else the top level itself."""
    spent = [_count(counts, one) for one in iterations if one.get("type") in _TURNS and _is_serving(one, serving)]
    if len(spent) < _SEVERAL or any(
        sum(getattr(one, name) for one in spent) != getattr(own, name) for name in _COUNTED
    ):
        return [own]
    turns = [_under(own, one) for one in spent]
    turns[0].tool_calls = own.tool_calls
    return turns


def _is_serving(iteration: dict[str, Any], serving: str) -> bool:
    return not serving or iteration.get("model") in (None, serving)


def _under(own: Usage, spent: Usage, *, speed: bool = True) -> Usage:
    """`spent` under the conditions of the call; the fast mode is that of its own model alone."""
    spent.service_tier = own.service_tier
    spent.facts = {name: fact for name, fact in own.facts.items() if speed or name != "speed"}
    return spent


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
