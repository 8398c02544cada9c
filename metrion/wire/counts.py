"""Counts: whole numbers out of a provider's usage object, and what is wrong with them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from metrion.wire.usage import Plain, Usage

Known = dict[str, frozenset[str] | None]  # the members of a usage that are read, those in them where they are read too
_UNKNOWN = frozenset({""})
MOST = 2**53  # tokens; beyond this a figure is nonsense, and JSON numbers are no longer exact
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


class Counts:
    """Reads counts by their keys; a figure that is no count reads as 0 and is noted in `problem`."""

    def __init__(self, usage: dict[str, Any]) -> None:
        self.usage = usage
        self.problem = ""

    def take(self, key: str, inner: str = "") -> int:
        """The count under `key` (and `inner` in there), or 0 where it is absent or null."""
        value = self.usage.get(key)
        if inner:
            value = value.get(inner) if isinstance(value, dict) else None
        if value is None:
            return 0
        if type(value) is int and 0 <= value <= MOST:  # the common case; a bool is not of this type
            return value
        return self.count(value, f"{key}.{inner}" if inner else key)

    def count(self, value: Any, name: str) -> int:
        """`value` as a count. Numbers may come as text, as in protobuf's JSON, or with a point and a nought."""
        if value is None:
            return 0
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:20])
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
            self.note(f"{name} is {value!r:.40}")
            return 0
        return value

    def milliseconds(self, value: Any, name: str) -> int:
        """Seconds, which may be a fraction, as milliseconds."""
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MOST / 1000:
            return round(value * 1000)
        return self.count(value, name) * 1000

    def note(self, problem: str) -> None:
        """Say what is wrong; the first word stands."""
        self.problem = self.problem or problem

    def within(self, part: int, whole: int, names: str) -> None:
        """Note a part that is larger than its whole."""
        if part > whole:
            self.note(f"{names}: {part} above {whole}")

    def has(self, *keys: str) -> bool:
        """Whether any of `keys` is there, and not null."""
        return any(self.usage.get(key) is not None for key in keys)

    def check(self, usage: Usage, total: int = 0, *, known: Known, cached_within: bool = True) -> Usage:
        """Note what does not hold between the figures of `usage`, and hand it back with what was noted.

        `total` is the provider's own sum, 0 where it gives none; `cached_within`: it counts cached tokens as input.
        What counts something and is not `known` may be billed, so it is noted too.
        """
        cached = cached_tokens(usage) if cached_within else 0
        if contradicts_itself(usage, total, cached):
            self._name_contradiction(usage, total, cached)
        self._note_unknown(known)
        usage.problem = self.problem
        return usage

    def _note_unknown(self, known: Known) -> None:
        for name, value in self.usage.items():
            inner = known.get(name, _UNKNOWN)
            if inner is None or value is None:
                continue
            if inner is _UNKNOWN:
                if counts_something(value):
                    self.note(f"{name} is not known")
            elif isinstance(value, dict) and not value.keys() <= inner:
                for unknown in sorted(value.keys() - inner):
                    if counts_something(value[unknown]):
                        self.note(f"{name}.{unknown} is not known")

    def _name_contradiction(self, usage: Usage, total: int, cached: int) -> None:
        self.within(cached, usage.input_tokens, "cached input within input")
        self.within(usage.reasoning_tokens, usage.output_tokens, "reasoning within output")
        self.within(usage.audio_input_tokens, usage.input_tokens, "audio input within input")
        self.within(usage.audio_output_tokens, usage.output_tokens, "audio output within output")
        self.within(usage.image_input_tokens, usage.input_tokens, "image input within input")
        self.within(usage.image_output_tokens, usage.output_tokens, "image output within output")
        self.within(usage.video_input_tokens, usage.input_tokens, "video input within input")
        self.within(usage.video_output_tokens, usage.output_tokens, "video output within output")
        if total:
            self.within(usage.total_tokens, total, "input and output within the total")


def cached_tokens(usage: Usage) -> int:
    """The part of the input that was read from a cache or written to one."""
    return usage.cached_input_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens


def contradicts_itself(usage: Usage, total: int, cached: int) -> bool:
    """Whether a part is larger than its whole; `total` and `cached` are 0 where they say nothing.

    All at once, for nearly every call passes.
    """
    input_tokens, output_tokens = usage.input_tokens, usage.output_tokens
    return (
        cached > input_tokens
        or usage.reasoning_tokens > output_tokens
        or usage.audio_input_tokens > input_tokens
        or usage.audio_output_tokens > output_tokens
        or usage.image_input_tokens > input_tokens
        or usage.image_output_tokens > output_tokens
        or usage.video_input_tokens > input_tokens
        or usage.video_output_tokens > output_tokens
        or 0 < total < input_tokens + output_tokens
    )


def plain(input_tokens: int, cached: int, output_tokens: int, reasoning: int, total: int) -> Plain | None:
    """Counts as a plain usage, unless they contradict each other; `total` is 0 where it says nothing."""
    if cached > input_tokens or reasoning > output_tokens or 0 < total < input_tokens + output_tokens:
        return None
    return input_tokens, cached, output_tokens, reasoning


def counts_something(value: Any) -> bool:
    """Whether a value is a number above nought, or holds one."""
    if isinstance(value, dict):
        return any(map(counts_something, value.values()))
    if isinstance(value, list):
        return any(map(counts_something, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
