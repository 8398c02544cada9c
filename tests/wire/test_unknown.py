"""Nothing that may be billed is passed over in silence: what a usage counts and nobody reads is a problem."""

from __future__ import annotations

import pytest

from tests.wire.answers import Json, document, understood

CHAT: Json = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
RESPONSE: Json = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
NATIVE: Json = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
INTERACTION: Json = {"total_input_tokens": 10, "total_output_tokens": 5, "total_tokens": 15}
USAGES = [
    ("anthropic", "anthropic_messages", "usage", {"input_tokens": 10, "output_tokens": 5}),
    ("openai", "openai_chat", "usage", CHAT),
    ("openai", "openai_responses", "usage", RESPONSE),
    ("openai", "openai_images", "usage", RESPONSE),
    ("openai", "openai_audio", "usage", RESPONSE),
    ("gemini", "gemini_generate", "usageMetadata", NATIVE),
    ("gemini", "gemini_interactions", "usage", INTERACTION),
    ("gemini", "openai_chat", "usage", CHAT),
    ("mistral", "openai_chat", "usage", CHAT),
    ("mistral", "mistral_conversations", "usage", CHAT),
    ("mistral", "mistral_ocr", "usage_info", {"pages_processed": 3}),
    ("grok", "openai_chat", "usage", CHAT),
    ("grok", "openai_responses", "usage", RESPONSE),
]


@pytest.mark.parametrize(("provider", "format", "key", "usage"), USAGES)
@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (5, True),
        (0.5, True),
        ({"any": {"deeper": 1}}, True),
        ([{"tokens": 1}], True),
        (0, False),
        (None, False),
        ("eu-west", False),
        (True, False),
        ({"any": 0, "name": "x"}, False),
        ([], False),
    ],
)
def test_a_member_that_counts_something_and_is_not_known(
    provider: str, format: str, key: str, usage: Json, new: object, problem: bool
) -> None:
    told = understood(provider, format, document({"model": "m", key: usage | {"holodeck": new}}))
    assert ("holodeck" in told.problem) == problem
    assert bool(told.problem) == problem
    assert told.input_tokens == (10 if "pages_processed" not in usage else 0)


@pytest.mark.parametrize(
    ("provider", "format", "usage", "problem"),
    [
        (
            "openai",
            "openai_chat",
            CHAT | {"prompt_tokens_details": {"video_tokens": 3}},
            "prompt_tokens_details.video_",
        ),
        ("openai", "openai_chat", CHAT | {"prompt_tokens_details": {"video_tokens": 0}}, ""),
        ("openai", "openai_responses", RESPONSE | {"output_tokens_details": {"tactile_tokens": 3}}, "output_tokens_de"),
        ("grok", "openai_chat", CHAT | {"completion_tokens_details": {"tactile_tokens": 3}}, "completion_tokens_deta"),
        ("mistral", "openai_chat", CHAT | {"prompt_token_details": {"tactile_tokens": 3}}, "prompt_token_details.ta"),
        (
            "anthropic",
            "anthropic_messages",
            {"input_tokens": 1, "cache_creation": {"ephemeral_12h_input_tokens": 7}},
            "cache_creation.ephemeral_12h",
        ),
    ],
)
def test_a_detail_that_is_not_known(provider: str, format: str, usage: Json, problem: str) -> None:
    told = understood(provider, format, document({"model": "m", "usage": usage}))
    assert (problem in told.problem, bool(told.problem)) == (True, bool(problem))


def test_the_providers_own_members_are_known() -> None:
    known: list[tuple[str, str, Json]] = [
        ("anthropic", "anthropic_messages", {"input_tokens": 1, "server_tool_use": {"web_fetch_requests": 1}}),
        ("anthropic", "anthropic_messages", {"input_tokens": 1, "output_tokens_details": {"thinking_tokens": 0}}),
        ("openai", "openai_chat", CHAT | {"completion_tokens_details": {"accepted_prediction_tokens": 2}}),
        ("grok", "openai_chat", CHAT | {"num_sources_used": 1, "cost_in_usd_ticks": 9, "context_details": {"a": 1}}),
        ("mistral", "openai_chat", CHAT | {"num_cached_tokens": 1, "request_count": 1, "prompt_audio_seconds": 2}),
    ]
    for provider, format, usage in known:
        assert understood(provider, format, document({"model": "m", "usage": usage})).problem == ""


@pytest.mark.parametrize("format", ["openai_chat", "openai_responses"])
def test_an_answer_that_could_not_be_read_may_lack_its_tools_and_says_so(format: str) -> None:
    usage = document(CHAT if format == "openai_chat" else RESPONSE)
    told = understood("openai", format, b'{"id":"x","model":"gpt-5","broken": nonsense, "usage":' + usage + b"}")
    assert told.input_tokens == 10
    assert "could not be read" in told.problem
