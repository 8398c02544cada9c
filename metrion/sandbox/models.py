"""Which models the sandbox knows, under which name each answers, and which of them think first."""

from __future__ import annotations

from typing import NamedTuple

FAMILIES: dict[str, tuple[str, ...]] = {
    "anthropic": ("claude-",),
    "openai": ("gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-", "davinci-", "babbage-", "codex-", "ft:"),
    "gemini": ("gemini-", "gemma-", "text-embedding-"),
    "mistral": ("mistral-", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-", "voxtral-", "open-"),
    "grok": ("grok-",),
}

# Asked for by an alias, a model answers under its dated id. Gemini, Mistral and xAI echo the name that was asked for.
DATED: dict[str, str] = {
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "gpt-5.2": "gpt-5.2-2025-12-11",
    "gpt-5.4": "gpt-5.4-2026-03-05",
    "gpt-5.4-mini": "gpt-5.4-mini-2026-03-17",
    "gpt-5.5": "gpt-5.5-2026-04-23",
    "o4-mini": "o4-mini-2025-04-16",
}

THINKERS: dict[str, tuple[str, ...]] = {
    "anthropic": (),  # only where the request asks for thinking
    "openai": ("o1", "o3", "o4", "gpt-5", "gpt-6"),
    "gemini": ("gemini-2.5-", "gemini-3"),
    "mistral": (),  # Magistral's thinking is part of its text
    "grok": ("grok-3-mini", "grok-4", "grok-code"),
}

LISTED: dict[str, tuple[str, ...]] = {
    "anthropic": ("claude-opus-4-8", "claude-sonnet-5-5", "claude-sonnet-4-6", "claude-haiku-4-5-20251001"),
    "openai": ("gpt-6-luna", "gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-4.1", "gpt-4o-mini", "text-embedding-3-small"),
    "gemini": ("gemini-3.1-pro-preview", "gemini-3.5-flash", "gemini-2.5-flash", "gemini-embedding-001"),
    "mistral": ("mistral-large-4", "mistral-medium-latest", "mistral-small-latest", "codestral-2508", "mistral-embed"),
    "grok": ("grok-4.7", "grok-4.6", "grok-4-fast-reasoning", "grok-code-fast-1", "grok-3-mini"),
}


class Ticks(NamedTuple):
    """Unit prices per token in xAI's ticks (10,000,000,000 ticks are a dollar)."""

    fresh: int
    cached: int
    output: int


# xAI reports what a call cost. Prices: https://docs.x.ai/docs/models, as in genai-prices 0.2.3; others go without.
GROK_TICKS: dict[str, Ticks] = {
    "grok-3-mini": Ticks(3_000, 750, 5_000),
    "grok-4-fast-reasoning": Ticks(2_000, 500, 5_000),
    "grok-4-fast-non-reasoning": Ticks(2_000, 500, 5_000),
    "grok-4.6": Ticks(20_000, 5_000, 60_000),
    "grok-4.7": Ticks(20_000, 5_000, 60_000),
    "grok-code-fast-1": Ticks(2_000, 200, 15_000),
}
GROK_LONG = 128_000  # input tokens: from about here on some models cost more, which the table does not know


def is_known(provider: str, model: str) -> bool:
    return model.startswith(FAMILIES[provider])


def answered_as(model: str) -> str:
    """The id that stands in the answer."""
    return DATED.get(model, model)


def thinks(provider: str, model: str) -> bool:
    return model.startswith(THINKERS[provider]) and "non-reasoning" not in model
