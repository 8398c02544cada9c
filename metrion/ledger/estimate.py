"""Estimates: what a streamed chat used, where its answer does not say, by a local tokenizer from the texts held of it.

Only where the tokens can be known: OpenAI's models with a published vocabulary that answered in text. Reasoning is
billed and not shown, images and sound are no text, and what a provider found by searching is not in the request: such
calls have no estimate. How far off the others are: docs/costs.md.

Source of the recipe: https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Call
from metrion.kit.held import REQUEST_BYTES, Held, Shelf
from metrion.ledger.tokens import Tokenizer, tokenizer
from metrion.wire.sse import data_of
from metrion.wire.usage import Usage

# Which model has which vocabulary: https://github.com/openai/tiktoken, tiktoken/model.py
_O200K = re.compile(r"(?:ft:)?(?:chatgpt-4o|gpt-4o|gpt-4\.[15]|gpt-5(?:\.\d+)?)(?:[-:]|$)")
_CL100K = re.compile(r"(?:ft:)?(?:gpt-4|gpt-3\.5-turbo|davinci-002|babbage-002)(?:[-:]|$)")
_OTHER_KINDS = re.compile(r"audio|realtime|search|image|transcribe|tts|codex|pro\b")
_REASONS = re.compile(r"(?:ft:)?gpt-5(?!-chat)")

_PER_MESSAGE = 3
_PER_NAME = 1
_PER_REPLY = 3  # "every reply is primed with <|start|>assistant<|message|>"
_PER_FUNCTION = {"o200k_base": 7, "cl100k_base": 10}
_PER_PROPERTIES = 3
_PER_PROPERTY = 3
_PER_ENUM = -3
_PER_ENUM_ITEM = 3
_PER_FUNCTIONS = 12
_PER_TOOL_CALL = 7  # not in the recipe: what recorded answers count above name and arguments


class UncountableError(Exception):
    """A request or answer holds more than text."""


class _Function(msgspec.Struct):
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    arguments: str = ""


class _Tool(msgspec.Struct):
    """A tool on offer, a call of one, or a piece of such a call."""

    type: str | None = None
    function: _Function | None = None


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    refusal: str = ""


class _Message(msgspec.Struct):
    """A message of a request, or what a chunk adds to one of an answer."""

    role: str | None = None
    name: str | None = None
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Tool] | None = None
    function_call: _Function | None = None
    audio: Raw = Raw()


class _ResponseFormat(msgspec.Struct):
    json_schema: dict[str, Any] | None = None


class _Request(msgspec.Struct):
    messages: list[_Message] | None = None
    prompt: str | list[str] | None = None
    suffix: str | None = None
    tools: list[_Tool] | None = None
    functions: list[_Function] | None = None
    response_format: _ResponseFormat | None = None
    reasoning_effort: str | None = None
    modalities: list[str] | None = None
    best_of: int | None = None
    echo: bool | None = None
    prediction: Raw = Raw()
    web_search_options: Raw = Raw()


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Message | None = None
    text: str = ""


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []


_decode_request = msgspec.json.Decoder(_Request).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def vocabulary_of(model: str) -> str:
    """The vocabulary of a model that answers in text, "" where none is known."""
    if _OTHER_KINDS.search(model):
        return ""
    if _O200K.match(model):
        return "o200k_base"
    return "cl100k_base" if _CL100K.match(model) else ""


def hold(shelf: Shelf, call: Call, request: bytes) -> Held | None:
    """Hold a streamed call's request, where an estimate may be made of it."""
    if call.provider != "openai" or call.format not in ("openai_chat", "openai_completions"):
        return None
    if len(request) > REQUEST_BYTES or not vocabulary_of(call.requested_model):
        return None
    return Held(shelf, request)


def estimate(call: Call) -> Usage | None:
    """What `call` used, as far as its answer came; None where that cannot be told from what is held of it."""
    held, reading = call.held, call.reading
    if held is None or reading is None or not held.request or not held.pieces or reading.error or call.status != 200:
        return None
    name = vocabulary_of(reading.model) or vocabulary_of(call.requested_model)
    if not name:
        return None
    try:
        request = _decode_request(held.request)
        _refuse_uncountable(request, reading.model or call.requested_model)
        text = tokenizer(name)
        prompt = _count_messages(text, request.messages) if request.messages else _count_prompt(text, request)
        tools = _count_tools(text, request, _PER_FUNCTION[name])
        output = _count_answer(text, b"".join(held.pieces))
    except (msgspec.DecodeError, UnicodeDecodeError, UncountableError):
        return None
    return Usage(
        input_tokens=prompt + tools,
        output_tokens=output,
        service_tier=reading.service_tier,
        facts={"tokenizer": name},
    )


def _refuse_uncountable(request: _Request, model: str) -> None:
    reasons = _REASONS.match(model) and request.reasoning_effort != "none"
    unseen = (request.best_of or 1) > 1 or request.echo or bytes(request.prediction) not in (b"", b"null")
    searches = bytes(request.web_search_options) not in (b"", b"null")
    if reasons or unseen or searches or set(request.modalities or ()) - {"text"}:
        raise UncountableError


def _count_messages(text: Tokenizer, messages: list[_Message]) -> int:
    count = _PER_REPLY
    for message in messages:
        count += _PER_MESSAGE + text.count(message.role or "") + _count_said(text, message)
        if message.name:
            count += _PER_NAME + text.count(message.name)
    return count


def _count_said(text: Tokenizer, message: _Message) -> int:
    """The tokens of what a message says, and of the tool calls it makes."""
    if bytes(message.audio) not in (b"", b"null"):
        raise UncountableError
    content = message.content or ""
    if isinstance(content, list):
        if any(part.type not in ("text", "refusal") for part in content):
            raise UncountableError
        content = "".join(part.text or part.refusal for part in content)
    count = text.count(content) + text.count(message.refusal or "")
    calls = [tool.function for tool in message.tool_calls or () if tool.function]
    if message.function_call:
        calls.append(message.function_call)
    return count + sum(_PER_TOOL_CALL + text.count(call.name) + text.count(call.arguments) for call in calls)


def _count_prompt(text: Tokenizer, request: _Request) -> int:
    """The tokens of a completion's prompt, which has no messages."""
    if request.prompt is None:
        raise UncountableError
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    return sum(map(text.count, prompts)) + text.count(request.suffix or "")


def _count_tools(text: Tokenizer, request: _Request, per_function: int) -> int:
    """The tokens of the functions on offer, and of the schema of the answer, which goes the same way."""
    if any(tool.function is None for tool in request.tools or ()):
        raise UncountableError
    offered = [tool.function for tool in request.tools or () if tool.function] + (request.functions or [])
    schema = request.response_format.json_schema if request.response_format else None
    count = text.count(msgspec.json.encode(schema).decode()) if schema else 0
    if not offered:
        return count
    for function in offered:
        count += per_function + text.count(f"{function.name}:{_sentence(function.description)}")
        count += _count_properties(text, function.parameters or {})
    return count + _PER_FUNCTIONS


def _count_properties(text: Tokenizer, schema: dict[str, Any]) -> int:
    """The tokens of an object's properties; the recipe knows flat ones, those within count the same."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return 0
    count = _PER_PROPERTIES
    for name, given in properties.items():
        told = given if isinstance(given, dict) else {}
        count += _PER_PROPERTY + text.count(f"{name}:{told.get('type', '')}:{_sentence(told.get('description'))}")
        if isinstance(told.get("enum"), list):
            count += _PER_ENUM + sum(_PER_ENUM_ITEM + text.count(str(item)) for item in told["enum"])
        items = told.get("items")
        count += _count_properties(text, told) + _count_properties(text, items if isinstance(items, dict) else {})
    return count


def _sentence(description: Any) -> str:
    return description.removesuffix(".") if isinstance(description, str) else ""


def _count_answer(text: Tokenizer, events: bytes) -> int:
    """The tokens of every choice; its pieces are put together first, since tokens do not end where chunks do."""
    choices: dict[int, dict[str, list[str]]] = {}
    calls = 0
    whole = events[: max(events.rfind(b"\n"), events.rfind(b"\r")) + 1]  # the last one may be cut off
    for line in whole.splitlines():
        document = data_of(line)
        if not document.startswith(b"{"):  # [DONE]
            continue
        for choice in _decode_chunk(document).choices:
            said = choices.setdefault(choice.index, {"text": [], "calls": []})
            said["text"].append(choice.text)
            if choice.delta:
                calls += _collect(said, choice.delta)
    if not choices:
        raise UncountableError
    said_in_all = sum(text.count("".join(pieces)) for said in choices.values() for pieces in said.values())
    return said_in_all + calls * _PER_TOOL_CALL


def _collect(said: dict[str, list[str]], delta: _Message) -> int:
    """Add what a chunk brings; returns how many tool calls begin in it."""
    if isinstance(delta.content, list) or bytes(delta.audio) not in (b"", b"null"):
        raise UncountableError
    said["text"] += [delta.content or "", delta.refusal or ""]
    calls = [tool.function for tool in delta.tool_calls or () if tool.function]
    for function in (*calls, delta.function_call):
        if function:
            said["calls"] += [function.name, function.arguments]
    return sum(1 for function in (*calls, delta.function_call) if function and function.name)
