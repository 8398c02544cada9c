"""Making answers and reading them the way the proxy does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from metrion.call import Reading
from metrion.wire.tap import open_tap
from metrion.wire.understand import understand
from metrion.wire.usage import Usage

Json = dict[str, Any]


def document(answer: Json | list[Json]) -> bytes:
    return json.dumps(answer).encode()


def events(*answers: Json | str, end: str = "\n", names: bool = False) -> bytes:
    """A stream of events, with lines ended as told; `names` adds `event:` lines after each answer's type."""
    lines = []
    for answer in answers:
        if names and isinstance(answer, dict):
            lines.append(f"event: {answer.get('type', 'message')}{end}")
        lines.append(f"data: {answer if isinstance(answer, str) else json.dumps(answer)}{end}{end}")
    return "".join(lines).encode()


def read(format: str, body: bytes, *, status: int = 200, encoding: str = "", cuts: Iterable[int] = ()) -> Reading:
    """Feed `body` through a tap, cut at the given places."""
    tap = open_tap(format, status, "", encoding)
    assert tap is not None
    start = 0
    for cut in [*sorted(cuts), len(body)]:
        tap.feed(body[start:cut])
        start = cut
    return tap.finish()


def understood(provider: str, format: str, body: bytes) -> Usage:
    usage, raw = understand(provider, format, read(format, body))
    assert usage is not None
    assert raw is not None
    return usage


def counts(usage: Usage) -> Json:
    """The counts of a usage that are not 0."""
    return {
        name: count for name in usage.__struct_fields__ if name.endswith("_tokens") and (count := getattr(usage, name))
    }
