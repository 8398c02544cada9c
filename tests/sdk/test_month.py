"""A month that is used up: the real SDKs, with the retries they come with, ask once and raise typed errors of theirs.

Vercel's AI SDK is not among them: it asks three times after any 429, whatever the answer says (ai 7, November 2026).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai.errors import ClientError
from google.genai.types import HttpOptions
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from metrion.kit.clock import DAY_MS, now_ms
from metrion.kit.months import month_of, month_start_ms
from metrion.sandbox.server import serve_sandboxes
from tests.sdk.backends import NODE_DIR, node
from tests.support import Metrion

TALK: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """A Metrion whose account has used its month: one request."""
    with serve_sandboxes(seed=3, pace=0) as origins:
        metrion = Metrion(tmp_path_factory.mktemp("spent") / "data", origins, {"METRION_FREE_MONTHLY_REQUESTS": "1"})
        metrion.token = metrion.create_account(plan="free")
        metrion.start()
        client = openai.OpenAI(api_key=metrion.token, base_url=f"{metrion.origin}/api/proxy/openai/v1")
        client.chat.completions.create(model="gpt-4o-mini", messages=TALK)
        yield metrion
        metrion.stop()


Ask = Callable[[Metrion, dict[str, str]], object]


def ask_openai(metrion: Metrion, headers: dict[str, str], *, stream: bool = False) -> object:
    base = f"{metrion.origin}/api/proxy/openai/v1"
    client = openai.OpenAI(api_key=metrion.token, base_url=base, default_headers=headers)
    return client.chat.completions.create(model="gpt-4o-mini", messages=TALK, stream=stream)


def ask_responses(metrion: Metrion, headers: dict[str, str]) -> object:
    base = f"{metrion.origin}/api/proxy/openai/v1"
    return openai.OpenAI(api_key=metrion.token, base_url=base, default_headers=headers).responses.create(
        model="gpt-5", input="hello"
    )


def ask_anthropic(metrion: Metrion, headers: dict[str, str]) -> object:
    client = anthropic.Anthropic(api_key=metrion.token, base_url=f"{metrion.origin}/api/proxy", default_headers=headers)
    return client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=TALK)


def ask_gemini(metrion: Metrion, headers: dict[str, str]) -> object:
    options = HttpOptions(base_url=f"{metrion.origin}/api/proxy/gemini", headers=headers)
    client = genai.Client(api_key=metrion.token, http_options=options)
    return client.models.generate_content(model="gemini-2.5-flash", contents="hello")


def ask_mistral(metrion: Metrion, headers: dict[str, str]) -> object:
    with Mistral(api_key=metrion.token, server_url=f"{metrion.origin}/api/proxy/mistral") as client:
        return client.chat.complete(model="mistral-small-latest", messages=TALK, http_headers=headers)


WAYS: dict[str, tuple[Ask, type[Exception]]] = {
    "openai": (ask_openai, openai.RateLimitError),
    "openai stream": (lambda metrion, headers: ask_openai(metrion, headers, stream=True), openai.RateLimitError),
    "openai responses": (ask_responses, openai.RateLimitError),
    "anthropic": (ask_anthropic, anthropic.RateLimitError),
    "google-genai": (ask_gemini, ClientError),
    "mistralai": (ask_mistral, SDKError),
}


def refusals(metrion: Metrion, requester: str) -> int:
    """How many requests arrived, once no more come."""
    metrion.rows(1, requester=requester)
    time.sleep(0.7)  # a first retry comes within half a second of the answer
    return len(metrion.rows(1, requester=requester))


@pytest.mark.parametrize("name", WAYS)
def test_it_is_not_asked_again(spent: Metrion, name: str, mark: str) -> None:
    ask, error = WAYS[name]
    with pytest.raises(error, match="requests of this month are used up"):
        ask(spent, {"x-metrion-user": mark})
    assert refusals(spent, mark) == 1


def test_it_says_until_when_and_what_it_is_in_openais_words(spent: Metrion, mark: str) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask_openai(spent, {"x-metrion-user": mark})
    headers = caught.value.response.headers
    reset = month_start_ms(month_of(now_ms()) + 1)
    assert (caught.value.code, caught.value.type) == ("insufficient_quota", "insufficient_quota")
    assert (headers["x-should-retry"], headers["x-metrion-error"]) == ("false", "month")
    assert abs(int(headers["retry-after"]) - (reset - now_ms()) / 1000) < 5
    assert 0 < int(headers["retry-after"]) * 1000 <= 31 * DAY_MS


NODE_WAYS = ("openai", "@anthropic-ai/sdk", "@google/genai")


@pytest.fixture(scope="module")
def told(spent: Metrion) -> dict[str, dict[str, Any]]:
    """What Node's SDKs said, by name."""
    target = json.dumps({"origin": spent.origin, "token": spent.token})
    done = subprocess.run(
        [node(), "month.mjs", target], cwd=NODE_DIR, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", NODE_WAYS)
def test_nor_by_nodes_sdks(spent: Metrion, told: dict[str, dict[str, Any]], name: str) -> None:
    assert told[name]["status"] == 429
    assert "requests of this month are used up" in told[name]["message"]
    assert refusals(spent, f"month {name}") == 1
