"""What a request's JSON body asks for: read without building it. Spec §2.6, row 400."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from metrion.proxy.refusal import Refusal

# A body above this is looked through by byte searches: skipping 1 MiB of JSON takes about a millisecond of every other
# call's time.
_SKIM_BYTES = 1024 * 1024
_WINDOW = 64 * 1024
_MODEL_CHARACTERS = 256
_ABSENT: Any = msgspec.UNSET


class _AnyBody(msgspec.Struct):
    """Any JSON object: whether its values may be what they are is the provider's to judge."""

    model: msgspec.Raw = _ABSENT
    messages: msgspec.Raw = _ABSENT
    max_tokens: msgspec.Raw = _ABSENT
    stream: msgspec.Raw = _ABSENT


class _Speech(msgspec.Struct):
    input: str = ""


class Asked(msgspec.Struct):
    model: str
    stream: bool


_DOCUMENTED: dict[str, Any] = {"model": str, "messages": msgspec.Raw, "max_tokens": msgspec.Raw}
_decode_any = msgspec.json.Decoder(_AnyBody).decode
_decode_speech = msgspec.json.Decoder(_Speech).decode
_MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.){0,1024}")')
_STREAM = re.compile(rb'"stream"\s*:\s*true\b')
FORM_FIELD_BYTES = 1024  # of a body's part that may hold the beginning of the field
_FORM_NAME = b'name="model"\r\n'
_FORM_MODEL = re.compile(rb'name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]{1,256})\r\n')


def read_body(body: bytes, required: tuple[str, ...], provider: str) -> Asked | Refusal:
    """The model and whether a stream is asked for; a refusal where the body is not JSON or lacks a `required` key."""
    if len(body) > _SKIM_BYTES:
        return _skim(body, required, provider)
    try:
        fields = _decoder(required)(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_any(body, required, provider)
    return Asked(fields.model[:_MODEL_CHARACTERS] if fields.model else "", fields.stream)


@lru_cache
def _decoder(required: tuple[str, ...]) -> Callable[[bytes], Any]:
    """Decodes a body as the APIs document it, which nearly every one is, and looks for what is required as it does."""
    needed = [(name, _DOCUMENTED[name]) for name in required]
    others = [(name, kind, _ABSENT) for name, kind in _DOCUMENTED.items() if name not in required]
    return msgspec.json.Decoder(msgspec.defstruct("Body", [*needed, *others, ("stream", bool, False)])).decode


def _read_any(body: bytes, required: tuple[str, ...], provider: str) -> Asked | Refusal:
    try:
        fields = _decode_any(body)
    except RecursionError:  # nested deeper than our decoder goes: the provider's to judge
        return _skim(body, required, provider)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        return _skim(body, required, provider) if _has_half_pair(body) else _not_json(provider, str(problem))
    for name in required:
        if getattr(fields, name) is _ABSENT:
            return _lacks(provider, name)
    model, stream = (b"" if value is _ABSENT else bytes(value) for value in (fields.model, fields.stream))
    return Asked(_text(model), stream == b"true")


def spoken_characters(body: bytes) -> int:
    """How long the text is that a body wants to be spoken; 0 where that cannot be told at once."""
    if len(body) > _SKIM_BYTES:
        return 0
    try:
        return len(_decode_speech(body).input)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def _has_half_pair(body: bytes) -> bool:
    """Whether half a surrogate pair is all that is wrong: RFC 8259 §8.2 allows it, a text cut in an emoji has it."""
    try:
        return b"\\u" in body and json.loads(body) is not None
    except (ValueError, RecursionError):
        return False


def form_model(part: bytes) -> str:
    """The `model` field of a multipart body, where this part of it has it whole, or ""."""
    at = part.find(_FORM_NAME)  # far faster than the pattern, and uploads are long
    found = _FORM_MODEL.search(part, at) if at >= 0 else None
    return found[1].decode("utf-8", "replace") if found else ""


def _skim(body: bytes, required: tuple[str, ...], provider: str) -> Asked | Refusal:
    if body.lstrip()[:1] != b"{" or body.rstrip()[-1:] != b"}":
        return _not_json(provider, "it does not begin with { and end with }")
    for name in required:
        if b'"' + name.encode() + b'"' not in body:
            return _lacks(provider, name)
    # Keys stand at the ends of a large body; what is large is the messages between.
    ends = (body[:_WINDOW], body[-_WINDOW:])
    model = next((found[1] for end in ends if (found := _MODEL.search(end))), b"")
    return Asked(_text(model), any(_STREAM.search(end) for end in ends))


def _text(raw: bytes) -> str:
    """A JSON string's text; "" for anything else."""
    if not raw.startswith(b'"'):
        return ""
    if b"\\" not in raw:
        return raw[1:-1].decode("utf-8", "replace")[:_MODEL_CHARACTERS]
    try:
        return msgspec.json.decode(raw, type=str)[:_MODEL_CHARACTERS]
    except msgspec.DecodeError:
        return ""


def _not_json(provider: str, why: str) -> Refusal:
    return Refusal(
        400, "invalid_json", f"the request body is not a JSON object ({why}). Nothing was sent to {provider}."
    )


def _lacks(provider: str, name: str) -> Refusal:
    return Refusal(400, f"missing_{name}", f"the request body lacks `{name}`. Nothing was sent to {provider}.")
