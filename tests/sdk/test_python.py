"""The real Python SDKs as clients: what they say was used is what the row says, and errors are their own typed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai.errors import ClientError
from google.genai.types import GenerateContentResponseUsageMetadata, HttpOptions
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from openai.types import CompletionUsage

from metrion.sandbox.server import serve_sandboxes
from tests.sdk.backends import serve_aimock
from tests.support import PROVIDERS, Metrion

TALK: Any = [{"role": "user", "content": "hello"}]
WRONG = "sk-metrion-" + "0" * 32


@dataclass(frozen=True, slots=True)
class Told:
    """What an SDK said: the text, and its usage by the names of the row's columns."""

    text: str
    usage: dict[str, int]


Way = Callable[[Metrion, str, str, bool], Told]  # Metrion, key, requester, stream


def openai_client(metrion: Metrion, path: str, key: str, requester: str) -> openai.OpenAI:
    headers = {"x-metrion-user": requester}
    return openai.OpenAI(
        api_key=key, base_url=f"{metrion.origin}/api/proxy{path}", max_retries=0, default_headers=headers
    )


def chat(path: str, model: str, read: Callable[[CompletionUsage], dict[str, int]]) -> Way:
    def way(metrion: Metrion, key: str, requester: str, stream: bool) -> Told:
        client = openai_client(metrion, path, key, requester)
        if not stream:
            answer = client.chat.completions.create(model=model, messages=TALK)
            assert answer.usage is not None
            return Told(answer.choices[0].message.content or "", read(answer.usage))
        text, usage = "", None
        options: Any = {"include_usage": True}
        for chunk in client.chat.completions.create(model=model, messages=TALK, stream=True, stream_options=options):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            usage = chunk.usage or usage
        assert usage is not None
        return Told(text, read(usage))

    return way


def plain_usage(usage: CompletionUsage) -> dict[str, int]:
    return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}


def full_usage(usage: CompletionUsage) -> dict[str, int]:
    read = plain_usage(usage) | {"total_tokens": usage.total_tokens}
    if usage.prompt_tokens_details is not None:
        read["cached_input_tokens"] = usage.prompt_tokens_details.cached_tokens or 0
    if usage.completion_tokens_details is not None:
        read["reasoning_tokens"] = usage.completion_tokens_details.reasoning_tokens or 0
    return read


def total_usage(usage: CompletionUsage) -> dict[str, int]:
    """Gemini's thoughts and xAI's reasoning stand outside `completion_tokens`, but in the total."""
    return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.total_tokens - usage.prompt_tokens}


def responses(metrion: Metrion, key: str, requester: str, stream: bool) -> Told:
    client = openai_client(metrion, "/openai/v1", key, requester)
    if stream:
        with client.responses.stream(model="gpt-5", input="hello") as events:
            events.until_done()
            answer: Any = events.get_final_response()
    else:
        answer = client.responses.create(model="gpt-5", input="hello")
    usage = {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens}
    return Told(answer.output_text, usage)


def embeddings(metrion: Metrion, key: str, requester: str, stream: bool) -> Told:
    client = openai_client(metrion, "/openai/v1", key, requester)
    answer = client.embeddings.create(model="text-embedding-3-small", input="hello", encoding_format="float")
    return Told(str(answer.data[0].embedding[0]), {"input_tokens": answer.usage.prompt_tokens, "output_tokens": 0})


def messages(metrion: Metrion, key: str, requester: str, stream: bool) -> Told:
    headers = {"x-metrion-user": requester}
    client = anthropic.Anthropic(
        api_key=key, base_url=f"{metrion.origin}/api/proxy", max_retries=0, default_headers=headers
    )
    system: Any = [{"type": "text", "text": "rule " * 2000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    ask: Any = {"model": "claude-haiku-4-5", "max_tokens": 1000, "messages": TALK, "system": system}
    if stream:
        with client.messages.stream(**ask) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**ask)
    read, written = answer.usage.cache_read_input_tokens or 0, answer.usage.cache_creation_input_tokens or 0
    usage = {"input_tokens": answer.usage.input_tokens + read + written, "output_tokens": answer.usage.output_tokens}
    usage |= {"cached_input_tokens": read, "cache_write_1h_tokens": written, "cache_write_5m_tokens": 0}
    return Told(answer.content[0].text, usage)  # type: ignore[union-attr]


def gemini(version: str) -> Way:
    def way(metrion: Metrion, key: str, requester: str, stream: bool) -> Told:
        headers = {"x-metrion-user": requester}
        base = f"{metrion.origin}/api/proxy/gemini"
        options = HttpOptions(base_url=base, headers=headers, api_version=version or None)
        client = genai.Client(api_key=key, http_options=options)
        if not stream:
            answer = client.models.generate_content(model="gemini-2.5-flash", contents="hello")
            assert answer.usage_metadata is not None
            return Told(answer.text or "", gemini_usage(answer.usage_metadata))
        text, usage = "", None
        for chunk in client.models.generate_content_stream(model="gemini-2.5-flash", contents="hello"):
            text += chunk.text or ""
            usage = chunk.usage_metadata or usage
        assert usage is not None
        return Told(text, gemini_usage(usage))

    return way


def gemini_usage(usage: GenerateContentResponseUsageMetadata) -> dict[str, int]:
    thoughts = usage.thoughts_token_count or 0
    return {
        "input_tokens": usage.prompt_token_count or 0,
        "output_tokens": (usage.candidates_token_count or 0) + thoughts,
        "reasoning_tokens": thoughts,
        "cached_input_tokens": usage.cached_content_token_count or 0,
    }


def mistral(metrion: Metrion, key: str, requester: str, stream: bool) -> Told:
    headers = {"x-metrion-user": requester}
    with Mistral(api_key=key, server_url=f"{metrion.origin}/api/proxy/mistral") as client:
        ask: Any = {"model": "mistral-small-latest", "messages": TALK, "http_headers": headers}
        if not stream:
            answer = client.chat.complete(**ask)
            return Told(str(answer.choices[0].message.content), _mistral_usage(answer.usage))
        text, usage = "", None
        for event in client.chat.stream(**ask):
            text += str(event.data.choices[0].delta.content or "")
            usage = event.data.usage or usage
        return Told(text, _mistral_usage(usage))


def _mistral_usage(usage: Any) -> dict[str, int]:
    return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}


WAYS: dict[str, Way] = {
    "openai chat": chat("/openai/v1", "gpt-4o-mini", full_usage),
    "openai responses": responses,
    "openai embeddings": embeddings,
    "openai for gemini": chat("/gemini/v1", "gemini-2.5-flash", total_usage),
    "openai for mistral": chat("/mistral/v1", "mistral-small-latest", plain_usage),
    "openai for grok": chat("/grok/v1", "grok-4-fast-reasoning", total_usage),
    "anthropic": messages,
    "google-genai": gemini(""),
    "google-genai v1beta": gemini("v1beta"),
    "mistralai": mistral,
}
CALLS = [("sandbox", name, stream) for name in WAYS for stream in (False, True)]
CALLS.remove(("sandbox", "openai embeddings", True))  # nobody streams them
# aimock knows neither Gemini's compatible door nor its /v1, and streams no usage unasked, as Mistral does.
AIMOCK = ("openai chat", "openai responses", "openai for grok", "google-genai v1beta")
CALLS += [("aimock", name, stream) for name in AIMOCK for stream in (False, True)]
CALLS += [("aimock", "mistralai", False)]


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Metrion]]:
    """A Metrion before each backend, started when it is first asked for: aimock needs Node."""
    with ExitStack() as held:
        running: dict[str, Metrion] = {}

        def get(backend: str) -> Metrion:
            if backend not in running:
                origins = (
                    held.enter_context(serve_sandboxes(seed=2, pace=0))
                    if backend == "sandbox"
                    else dict.fromkeys(PROVIDERS, held.enter_context(serve_aimock()))
                )
                metrion = Metrion(tmp_path_factory.mktemp(backend) / "data", origins)
                metrion.token = metrion.create_account()
                metrion.start()
                held.callback(metrion.stop)
                running[backend] = metrion
            return running[backend]

        yield get


@pytest.mark.parametrize(("backend", "name", "stream"), CALLS)
def test_the_sdks_own_usage_is_the_rows(
    backend: str, name: str, stream: bool, backends: Callable[[str], Metrion], mark: str
) -> None:
    metrion = backends(backend)
    told = WAYS[name](metrion, metrion.token, mark, stream)
    (row,) = metrion.rows(1, requester=mark)
    assert told.text
    assert (row["status"], row["outcome"], row["stream"]) == (200, "ok", stream)
    assert {column: row[column] for column in told.usage} == told.usage
    assert row["input_tokens"] > 0
    assert row["cost_source"] in ("computed", "provider")


def test_pass_through_works_with_one_more_header(backends: Callable[[str], Metrion], mark: str) -> None:
    metrion = backends("sandbox")
    client = openai.OpenAI(
        api_key="sk-own",
        base_url=f"{metrion.origin}/api/proxy/openai/v1",
        default_headers={"x-metrion-token": metrion.token, "x-metrion-user": mark},
    )
    client.chat.completions.create(model="gpt-4o-mini", messages=TALK)
    (row,) = metrion.rows(1, requester=mark)
    assert row["mode"] == "pass_through"


ERRORS: dict[str, type[Exception]] = {
    "openai chat": openai.AuthenticationError,
    "openai responses": openai.AuthenticationError,
    "openai for gemini": openai.AuthenticationError,
    "openai for grok": openai.AuthenticationError,
    "anthropic": anthropic.AuthenticationError,
    "google-genai": ClientError,
    "mistralai": SDKError,
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_metrions_own_errors_are_the_sdks_typed_ones(
    name: str, stream: bool, backends: Callable[[str], Metrion], mark: str
) -> None:
    with pytest.raises(ERRORS[name], match="Metrion"):
        WAYS[name](backends("sandbox"), WRONG, mark, stream)


def test_a_providers_errors_are_the_sdks_typed_ones(backends: Callable[[str], Metrion], mark: str) -> None:
    metrion = backends("sandbox")
    client = openai_client(metrion, "/openai/v1", metrion.token, mark)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="gpt-4o", messages=TALK, extra_headers={"x-sandbox-error": "429"})
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=TALK)
    claude = anthropic.Anthropic(api_key=metrion.token, base_url=f"{metrion.origin}/api/proxy", max_retries=0)
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask: Any = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": TALK}
        claude.messages.create(**ask, extra_headers={"x-sandbox-error": "529", "x-metrion-user": mark})
    assert caught.value.status_code == 529
    rows = metrion.rows(3, requester=mark)
    assert [(row["status"], row["outcome"]) for row in rows] == [
        (429, "provider_error"),
        (404, "provider_error"),
        (529, "provider_error"),
    ]
