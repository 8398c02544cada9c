"""The sandbox speaks each provider's own shape, and the usage it reports is true of what it said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from anthropic.types import Message
from google.genai.types import GenerateContentResponse
from mistralai.client.models import ChatCompletionResponse
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response as OpenAIResponse

from metrion.sandbox.app import PROVIDERS, create_app

pytestmark = pytest.mark.anyio

TALK = [{"role": "user", "content": "Say hello to the eight people in this room."}]
LONG = [{"role": "user", "content": "word " * 4000}]
PATHS = {
    "anthropic": "/v1/messages",
    "openai": "/v1/chat/completions",
    "gemini": "/v1beta/openai/chat/completions",
    "mistral": "/v1/chat/completions",
    "grok": "/v1/chat/completions",
}
MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "openai": "gpt-4o-mini",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "grok": "grok-4-fast-reasoning",
}


def client(provider: str, **options: Any) -> httpx2.AsyncClient:
    app = create_app(provider, **({"seed": 1, "pace": 0} | options))
    keys = {"authorization": "Bearer k", "x-goog-api-key": "k"}
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://sandbox", headers=keys)


def body(provider: str, **more: Any) -> dict[str, Any]:
    return {"model": MODELS[provider], "messages": TALK, "max_tokens": 500} | more


def events(text: str) -> list[dict[str, Any]]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def post(provider: str, path: str, document: Any, headers: dict[str, str] | None = None) -> httpx2.Response:
    async with client(provider) as c:
        return await c.post(path, json=document, headers=headers)


async def test_openai_chat_is_what_its_sdk_types_describe() -> None:
    answer = await post("openai", PATHS["openai"], body("openai"))
    chat = ChatCompletion.model_validate(answer.json(), strict=True)
    assert chat.model == "gpt-4o-mini-2024-07-18"
    assert chat.usage is not None
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens
    assert answer.headers["x-request-id"].startswith("req_")


async def test_a_chat_stream_brings_usage_only_when_asked() -> None:
    silent = await post("openai", PATHS["openai"], body("openai", stream=True))
    asked = await post("openai", PATHS["openai"], body("openai", stream=True, stream_options={"include_usage": True}))
    assert all("usage" not in event for event in events(silent.text))
    *before, last = events(asked.text)
    assert all(event["usage"] is None for event in before)
    assert (last["choices"], ChatCompletionChunk.model_validate(last).usage is not None) == ([], True)
    assert asked.text.endswith("data: [DONE]\n\n")


async def test_a_stream_says_what_the_plain_answer_says() -> None:
    plain = (await post("openai", PATHS["openai"], body("openai"))).json()
    stream = events((await post("openai", PATHS["openai"], body("openai", stream=True))).text)
    pieces = [choice["delta"].get("content", "") for event in stream for choice in event["choices"]]
    assert "".join(pieces) == plain["choices"][0]["message"]["content"]


async def test_the_limit_cuts_the_answer() -> None:
    cut = (await post("openai", PATHS["openai"], body("openai", max_tokens=3))).json()
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("limit", [1, 16, 100])
async def test_thoughts_count_against_the_limit(limit: int) -> None:
    asked = {"model": "gpt-6-luna", "input": "hello", "max_output_tokens": limit}
    used = (await post("openai", "/v1/responses", asked)).json()["usage"]
    assert used["output_tokens_details"]["reasoning_tokens"] <= used["output_tokens"] <= limit


async def test_long_prompts_are_cached_in_steps() -> None:
    async with client("openai") as c:
        answers = [(await c.post(PATHS["openai"], json=body("openai", messages=LONG))).json() for _ in range(8)]
    cached = {a["usage"]["prompt_tokens_details"]["cached_tokens"] for a in answers}
    assert len(cached) > 1
    assert all(tokens % 128 == 0 and tokens <= 5000 for tokens in cached)


async def test_responses_end_with_their_usage() -> None:
    ask = {"model": "gpt-5", "input": "hi", "tools": [{"type": "web_search"}]}
    plain = OpenAIResponse.model_validate((await post("openai", "/v1/responses", ask)).json())
    assert plain.usage is not None
    assert plain.usage.output_tokens_details.reasoning_tokens > 0
    assert [item.type for item in plain.output] == ["reasoning", "web_search_call", "message"]
    stream = events((await post("openai", "/v1/responses", ask | {"stream": True})).text)
    assert [event["sequence_number"] for event in stream] == list(range(len(stream)))
    assert stream[-1]["type"] == "response.completed"
    assert stream[-1]["response"]["usage"] == plain.usage.model_dump(exclude_unset=True)


async def test_embeddings_hold_one_vector_per_text() -> None:
    answer = await post("openai", "/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]})
    embeddings = CreateEmbeddingResponse.model_validate(answer.json())
    assert len(embeddings.data) == 2


async def test_anthropic_counts_cache_beside_input() -> None:
    system = [{"type": "text", "text": "rule " * 2000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    async with client("anthropic") as c:
        for _ in range(8):
            message = Message.model_validate(
                (await c.post("/v1/messages", json=body("anthropic", system=system))).json()
            )
            written, read = message.usage.cache_creation_input_tokens, message.usage.cache_read_input_tokens
            assert (written, read) in ((2500, 0), (0, 2500))
            assert message.usage.cache_creation is not None
            assert message.usage.cache_creation.ephemeral_1h_input_tokens == written


async def test_anthropic_streams_cumulative_usage() -> None:
    answer = await post("anthropic", "/v1/messages", body("anthropic", stream=True, thinking={"type": "enabled"}))
    got = events(answer.text)
    assert [event["type"] for event in got][:3] == ["message_start", "content_block_start", "ping"]
    assert got[0]["message"]["usage"]["output_tokens"] == 1
    assert got[-2]["usage"]["output_tokens"] > got[-2]["usage"]["output_tokens_details"]["thinking_tokens"] > 0
    assert got[-1] == {"type": "message_stop"}


async def test_gemini_streams_as_events_or_as_an_array() -> None:
    ask = {"contents": [{"parts": [{"text": "hello"}]}]}
    path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    as_events = events((await post("gemini", path + "?alt=sse", ask)).text)
    as_array = (await post("gemini", path, ask)).json()
    assert as_events == as_array
    last = GenerateContentResponse.model_validate(as_array[-1]).usage_metadata
    assert last is not None
    assert last.prompt_token_count and last.candidates_token_count and last.thoughts_token_count
    whole = last.prompt_token_count + last.candidates_token_count + last.thoughts_token_count
    assert last.total_token_count == whole


async def test_geminis_other_door_hides_thoughts_in_the_total() -> None:
    usage = (await post("gemini", PATHS["gemini"], body("gemini"))).json()["usage"]
    assert usage["total_tokens"] > usage["prompt_tokens"] + usage["completion_tokens"]


async def test_mistral_is_what_its_sdk_types_describe() -> None:
    chat = ChatCompletionResponse.model_validate((await post("mistral", PATHS["mistral"], body("mistral"))).json())
    assert chat.usage.total_tokens == (chat.usage.prompt_tokens or 0) + (chat.usage.completion_tokens or 0)
    stream = events((await post("mistral", PATHS["mistral"], body("mistral", stream=True))).text)
    assert "usage" in stream[-1] and stream[-1]["choices"]


async def test_grok_reports_its_cost_in_ticks() -> None:
    usage = (await post("grok", PATHS["grok"], body("grok"))).json()["usage"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] + reasoning
    # $0.20 and $0.50 a million: 2,000 and 5,000 ticks a token
    assert usage["cost_in_usd_ticks"] == 2000 * usage["prompt_tokens"] + 5000 * (usage["completion_tokens"] + reasoning)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_same_seed_says_the_same(provider: str) -> None:
    answers = []
    for seed in (7, 7, 8):
        async with client(provider, seed=seed) as c:
            answer = (await c.post(PATHS[provider], json=body(provider, messages=LONG))).json()
            answers.append({k: v for k, v in answer.items() if k != "created"})
    assert answers[0] == answers[1] != answers[2]


REFUSALS: dict[str, Callable[[Any], bool]] = {
    "anthropic": lambda b: b["error"]["type"] == "overloaded_error" and b["type"] == "error",
    "openai": lambda b: b["error"]["type"] == "server_error",
    "gemini": lambda b: b[0]["error"]["status"] == "UNAVAILABLE",
    "mistral": lambda b: b["object"] == "error" and b["raw_status_code"] == 503,
    "grok": lambda b: isinstance(b["error"], str) and isinstance(b["code"], str),
}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_failure_asked_for_wears_the_providers_shape(provider: str) -> None:
    status = 529 if provider == "anthropic" else 503
    answer = await post(provider, PATHS[provider], body(provider), {"x-sandbox-error": str(status)})
    assert answer.status_code == status
    assert REFUSALS[provider](answer.json())


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_unknown_models_missing_keys_and_bad_json_are_refused(provider: str) -> None:
    async with client(provider) as c:
        unknown = await c.post(PATHS[provider], json=body(provider, model="no-such-model"))
        garbled = await c.post(PATHS[provider], content=b"{")
        c.headers = httpx2.Headers()
        bare = await c.post(PATHS[provider], json=body(provider))
    assert [unknown.status_code, garbled.status_code, bare.status_code] == [404, 400, 401]


async def test_it_fails_as_often_as_told() -> None:
    async with client("openai", error_rate=0.3) as c:
        statuses = [(await c.post(PATHS["openai"], json=body("openai"))).status_code for _ in range(200)]
    failed = sum(status != 200 for status in statuses)
    assert 35 < failed < 85
    assert set(statuses) == {200, 429, 500, 503}
