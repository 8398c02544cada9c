"""Usage: what one call consumed, by billable class, in the provider-independent terms of the row."""

from __future__ import annotations

import msgspec

# A usage of text alone: input tokens, those of them read from a cache, output tokens, those of them for reasoning.
Plain = tuple[int, int, int, int]
CACHED_BY_KIND = "cached_by_kind"  # the fact that says that `cached_image_tokens` is what was said, also where it is 0


class Usage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Counts of one call. Tokens unless a name says otherwise.

    `input_tokens` holds all prompt tokens, cached ones and cache writes included; `output_tokens` includes reasoning.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0  # part of input_tokens
    cached_audio_tokens: int = 0  # part of cached_input_tokens and of audio_input_tokens
    audio_output_tokens: int = 0  # part of output_tokens
    image_input_tokens: int = 0  # part of input_tokens
    cached_image_tokens: int = 0  # part of cached_input_tokens and of image_input_tokens
    image_output_tokens: int = 0  # part of output_tokens
    video_input_tokens: int = 0  # part of input_tokens
    video_output_tokens: int = 0  # part of output_tokens
    tool_calls: dict[str, int] = msgspec.field(default_factory=dict)  # "web_search": 2
    quantities: dict[str, int] = msgspec.field(
        default_factory=dict
    )  # what is billed otherwise: "audio_ms", "pages", "characters"
    service_tier: str = ""
    facts: dict[str, str] = msgspec.field(default_factory=dict)  # other price contexts: "inference_geo", "speed"
    parts: list[Part] = msgspec.field(
        default_factory=list
    )  # where models or items are billed apart: all of it, once more
    reported_cost_nano: int | None = None  # what the provider itself says it bills, in nano-dollars
    problem: str = ""  # set where the provider's figures contradict each other

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Part(msgspec.Struct, omit_defaults=True):
    """A share of a call that is billed on its own: another model's (an advisor, a replaced attempt), or a batch's item.

    Where a Usage has parts, its own counts are their sum, and each part is priced at its own model's prices.
    """

    model: str
    usage: Usage
    id: str = ""  # the item's own response id, by which it is metered once


def total(parts: list[Part]) -> Usage:
    """The sum of `parts`, which it keeps; tier, facts and problem are those of the first part that has them.

    It has a reported cost where every part has one.
    """
    whole = Usage(parts=parts)
    for part in parts:
        _add(whole, part.usage)
    reported = [part.usage.reported_cost_nano for part in parts if part.usage.reported_cost_nano is not None]
    whole.reported_cost_nano = sum(reported) if len(reported) == len(parts) else None
    return whole


def _add(whole: Usage, usage: Usage) -> None:
    for name in _COUNTS:
        setattr(whole, name, getattr(whole, name) + getattr(usage, name))
    for counts, more in ((whole.tool_calls, usage.tool_calls), (whole.quantities, usage.quantities)):
        for name, count in more.items():
            counts[name] = counts.get(name, 0) + count
    whole.service_tier = whole.service_tier or usage.service_tier
    whole.problem = whole.problem or usage.problem
    whole.facts = whole.facts or dict(usage.facts)


_COUNTS = tuple(field for field in Usage.__struct_fields__ if field.endswith("_tokens"))
