"""Draft: what a model would have said to a request, and what that counts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

PHRASES = (
    "the invoice was matched against two orders",
    "one of them had been paid in part",
    "a short note went to the customer who asked for a copy",
    "the agent looked up the contract and found the notice period",
    "the summary has three open points that somebody should read before Friday",
    "prices change then and the old terms end",
    "nothing else was left to do",
)
CACHE_BLOCK = 128  # tokens; OpenAI caches prompts of 1,024 tokens and more in steps of this
CACHE_LEAST = 1024
MARKUP = frozenset(("type", "role", "cache_control"))  # keys whose texts no model reads


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the sandbox understood it; `number` counts the requests of one sandbox."""

    provider: str
    model: str
    body: Mapping[str, Any]
    rng: Random
    created: int  # Unix seconds
    number: int

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))


@dataclass(frozen=True, slots=True)
class Draft:
    """Text in pieces as a stream would bring them, and token counts; `cut` says that the limit ended it."""

    pieces: tuple[str, ...]
    input_tokens: int
    cached_tokens: int
    text_tokens: int
    reasoning_tokens: int
    cut: bool

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def output_tokens(self) -> int:
        return self.text_tokens + self.reasoning_tokens


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send: `body` as JSON, or `events` one by one as `media_type`."""

    status: int = 200
    body: Any = None
    events: tuple[bytes, ...] = ()
    media_type: str = "application/json"
    headers: Mapping[str, str] | None = None


def count_tokens(value: object) -> int:
    """Four characters are a token: counts every text inside a request's messages, at least 1."""
    return max(1, _characters(value) // 4)


def _characters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_characters(v) for k, v in value.items() if k not in MARKUP)
    if isinstance(value, list):
        return sum(_characters(v) for v in value)
    return 0


def write_draft(asked: Asked, prompt: object, limit: object, *, reasons: bool) -> Draft:
    """Draws an answer to `prompt` of at most `limit` tokens, thoughts included; none where it is no positive number."""
    rng = asked.rng
    most = limit if isinstance(limit, int) and limit > 0 else sys.maxsize
    text = _text(rng, rng.randint(1, 12))
    cut = len(text) > 4 * most
    text = text[: 4 * most]
    input_tokens = count_tokens(prompt)
    cached = 0
    if input_tokens >= CACHE_LEAST and rng.random() < 0.7:
        cached = rng.randint(CACHE_LEAST // CACHE_BLOCK, input_tokens // CACHE_BLOCK) * CACHE_BLOCK
    pieces, text_tokens = _pieces(rng, text), count_tokens(text)
    thoughts = rng.randint(1, 12) * 64 if reasons else 0
    return Draft(
        pieces=pieces,
        input_tokens=input_tokens,
        cached_tokens=cached,
        text_tokens=text_tokens,
        reasoning_tokens=min(thoughts, most - text_tokens),
        cut=cut,
    )


def _text(rng: Random, phrases: int) -> str:
    start = rng.randrange(len(PHRASES))
    text = "; ".join(PHRASES[(start + i) % len(PHRASES)] for i in range(phrases))
    return f"{text[0].upper()}{text[1:]}."


def _pieces(rng: Random, text: str) -> tuple[str, ...]:
    pieces, at = [], 0
    while at < len(text):
        step = rng.randint(3, 24)
        pieces.append(text[at : at + step])
        at += step
    return tuple(pieces)


def vector(rng: Random, size: object) -> list[float]:
    """An embedding of `size` numbers (256 where the request names none), each within ±0.1."""
    length = size if isinstance(size, int) and 0 < size <= 4096 else 256
    return [round(rng.uniform(-0.1, 0.1), 8) for _ in range(length)]


def token_hex(rng: Random, digits: int) -> str:
    """Random hex digits for ids, drawn from the seed so that a run can be repeated."""
    return f"{rng.getrandbits(4 * digits):0{digits}x}"
