"""The message of an error, from whatever shape a provider gives it."""

from __future__ import annotations

from typing import Any

import orjson

from metrion.kit.secrets import mask_credentials
from metrion.wire.sse import data_of

LENGTH = 2_000  # characters
_DEPTH = 6  # of the shapes below inside each other
# Where the text stands: Anthropic, OpenAI and Gemini under `error.message`, xAI as a plain `error`, Mistral as
# `message` or, for what its validation refuses, as a list under `detail` with `msg` in each.
_KEYS = ("error", "message", "detail", "msg")


def message(body: bytes) -> str:
    """The error's message in at most `LENGTH` characters, credentials masked; else the text itself."""
    text = body.strip()
    if text.startswith((b"data:", b"event:")):  # an error that answers a request for a stream
        text = data_of(text.replace(b"\r\n", b"\n")) or text
    try:
        found = _find(orjson.loads(text), _DEPTH)
    except ValueError:
        found = ""
    return shown(found or text.decode(errors="replace"))


def shown(text: str) -> str:
    """`text` as it may be stored and shown: masked first, so that no half of a credential is left at the cut."""
    return mask_credentials(text[: 2 * LENGTH])[:LENGTH]


def _find(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth == 0:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_find(item, depth - 1) for item in value[:8])))
    if isinstance(value, dict):
        for key in _KEYS:
            if found := _find(value.get(key), depth - 1):
                return found
    return ""
