"""Usage: what one call consumed, by billable class, in the provider-independent terms of the row."""

from __future__ import annotations

import msgspec


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
    image_output_tokens: int = 0  # part of output_tokens
    tool_calls: dict[str, int] = msgspec.field(default_factory=dict)  # "web_search": 2
    quantities: dict[str, int] = msgspec.field(default_factory=dict)  # what is billed otherwise: "audio_ms", "pages", "characters"
    service_tier: str = ""
    facts: dict[str, str] = msgspec.field(default_factory=dict)  # other price contexts: "inference_geo", "speed"
    reported_cost_nano: int | None = None  # what the provider itself says it bills, in nano-dollars
    problem: str = ""  # set where the provider's figures contradict each other

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens
