"""Server-sent events as the providers write them: one compact JSON document per event."""

from __future__ import annotations

from typing import Any

import orjson

DONE = b"data: [DONE]\n\n"


def data_event(document: Any, *, end: bytes = b"\n\n") -> bytes:
    return b"data: " + orjson.dumps(document) + end


def named_event(document: dict[str, Any]) -> bytes:
    """An event whose name is the document's `type`."""
    name: str = document["type"]
    return b"event: " + name.encode() + b"\n" + data_event(document)
