"""Which model an id is priced as: both sides of each border between a version and another model."""

import pytest

from metrion.prices import library, match


@pytest.mark.parametrize(
    ("provider", "model", "priced_as"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),  # a snapshot with a price of its own
        ("openai", "gpt-4o-2031-01-31", "gpt-4o"),  # a date the library has not seen
        ("openai", "gpt-4o-mini", "gpt-4o-mini"),
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai", "gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe"),
        ("openai", "gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-mini-transcribe"),
        ("openai", "gpt-4o-audio-preview-2025-06-03", "gpt-4o-audio-preview"),
        ("openai", "gpt-4o-search-preview", "gpt-4o-search-preview"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-5.2-20251211", "gpt-5.2"),
        ("openai", "o1-2024-12-17", "o1"),
        ("openai", "o1-pro", "o1-pro"),
        ("openai", "o1-pro-2025-03-19", "o1-pro"),
        ("openai", "gpt-3.5-turbo-instruct:20230824-v2", "gpt-3.5-turbo-instruct"),
        ("openai", "ft:gpt-3.5-turbo-0125:acme::abc", "ft:gpt-3.5-turbo-"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc", "ft:gpt-4o-mini"),
        ("anthropic", "claude-opus-4-6", "claude-opus-4-6"),
        ("anthropic", "claude-opus-4-6-20260205", "claude-opus-4-6"),
        ("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("anthropic", "claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        ("gemini", "models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("gemini", "gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
        ("gemini", "gemini-2.5-flash-lite-preview-09-2025", "gemini-2.5-flash-lite"),
        ("gemini", "gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("gemini", "gemini-1.5-flash-002", "gemini-1.5-flash"),
        ("gemini", "gemini-2.5-pro-preview-tts", "gemini-2.5-pro-tts"),
        ("mistral", "magistral-small-2509", "magistral-small"),
        ("grok", "grok-4-1-fast-non-reasoning", "grok-4-1-fast-non-reasoning"),
    ],
)
def test_an_id_is_priced_as_its_model(provider: str, model: str, priced_as: str) -> None:
    found = library.find(provider, match.normal(model))

    assert found is not None
    assert found.id == priced_as


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-turbo"),
        ("openai", "gpt-4o-mini-vision"),
        ("openai", "gpt-4oo"),
        ("openai", "o1-ultra"),
        ("openai", "davinci:2023-07-21-v2"),  # davinci-002 under its internal name; `davinci` cost ten times as much
        ("anthropic", "claude-opus-4-6-fast"),
        ("anthropic", "claude-opus-4-10"),
        ("anthropic", "claude-sonnet-4-5x"),
        ("gemini", "gemini-1.5-flash-8b"),
        ("gemini", "gemini-3.6-flash-lite"),
        ("gemini", "tunedModels/gemini-2.5-pro"),
        ("mistral", "mistral-large-2402"),
        ("mistral", "ministral-3b-latest"),  # in the library this would be the model of 2024; an override knows better
        ("grok", "grok-9"),
        ("openai", ""),
    ],
)
def test_another_model_is_not_swallowed_by_a_prefix(provider: str, model: str) -> None:
    assert library.find(provider, match.normal(model)) is None


def test_only_a_whole_date_is_taken_off() -> None:
    assert match.undated("gpt-4o-2024-08-06") == "gpt-4o"
    assert match.undated("claude-fable-5-20260101") == "claude-fable-5"
    assert match.undated("gpt-4o-2024-13-06") == ""
    assert match.undated("mistral-large-2402") == ""
    assert match.undated("gpt-4o") == ""
