"""Sample traffic: varied calls through Metrion on all five providers, by several requesters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx2
import structlog

REQUESTERS = ("invoice-bot", "support-agent", "search-indexer", "nightly-report", "ana@example.com", "ben@example.com")
QUESTIONS = (
    "Summarise this ticket in two sentences.",
    "Is this invoice a duplicate of an earlier one? Explain.",
    "Draft a friendly answer that says when the refund arrives.",
    "Which of these three suppliers is late most often?",
    "Translate the note into German and keep the figures.",
)
HANDBOOK = (
    "Answer as the support desk would, name your sources, and never promise a date that is not in the order. " * 60
)
MOST_AT_ONCE = 64  # calls under way; a slower Metrion is not buried


@dataclass(frozen=True, slots=True)
class Sample:
    """One call to send: where to, with which credential header, and what."""

    path: str
    header: str
    body: dict[str, Any]


def _chat(rng: Random, root: str, models: tuple[str, ...]) -> Sample:
    body: dict[str, Any] = {"model": rng.choice(models), "messages": _talk(rng)}
    if rng.random() < 0.5:
        body["stream"] = True
        if rng.random() < 0.8 and root != "mistral":  # some forget to ask; Mistral refuses the question
            body["stream_options"] = {"include_usage": True}
    return Sample(f"/{root}/v1/chat/completions", "authorization", body)


def _talk(rng: Random) -> list[dict[str, str]]:
    system = [{"role": "system", "content": HANDBOOK}] if rng.random() < 0.5 else []
    return [*system, {"role": "user", "content": rng.choice(QUESTIONS)}]


def _openai_chat(rng: Random) -> Sample:
    return _chat(rng, "openai", ("gpt-4o-mini", "gpt-4.1", "gpt-5-mini", "gpt-5.4"))


def _openai_responses(rng: Random) -> Sample:
    body: dict[str, Any] = {
        "model": rng.choice(("gpt-5.5", "gpt-5.4-mini", "gpt-6-luna")),
        "input": rng.choice(QUESTIONS),
    }
    body |= {"stream": rng.random() < 0.6}
    body |= {"tools": [{"type": "web_search"}]} if rng.random() < 0.2 else {}
    body |= {"service_tier": "flex"} if rng.random() < 0.1 else {}
    return Sample("/openai/v1/responses", "authorization", body)


def _openai_embeddings(rng: Random) -> Sample:
    texts = [rng.choice(QUESTIONS) for _ in range(rng.randint(1, 12))]
    return Sample("/openai/v1/embeddings", "authorization", {"model": "text-embedding-3-small", "input": texts})


def _anthropic(rng: Random) -> Sample:
    model = rng.choice(("claude-haiku-4-5", "claude-sonnet-4-6", "claude-sonnet-5-5", "claude-opus-4-8"))
    talk = [{"role": "user", "content": rng.choice(QUESTIONS)}]
    body: dict[str, Any] = {"model": model, "max_tokens": 2048, "messages": talk, "stream": rng.random() < 0.7}
    if rng.random() < 0.6:
        control = {"type": "ephemeral", "ttl": rng.choice(("5m", "5m", "1h"))}
        body["system"] = [{"type": "text", "text": HANDBOOK, "cache_control": control}]
    if rng.random() < 0.2:
        body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    return Sample("/v1/messages", "x-api-key", body)


def _gemini(rng: Random) -> Sample:
    model = rng.choice(("gemini-2.5-flash", "gemini-3.5-flash", "gemini-3.1-pro-preview"))
    verb = rng.choice(("generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"))
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": rng.choice(QUESTIONS)}]}]}
    if rng.random() < 0.4:
        body["systemInstruction"] = {"parts": [{"text": HANDBOOK}]}
    return Sample(f"/gemini/v1beta/models/{model}:{verb}", "x-goog-api-key", body)


def _gemini_compatible(rng: Random) -> Sample:
    return _chat(rng, "gemini", ("gemini-2.5-flash", "gemini-3.5-flash-lite"))


def _mistral(rng: Random) -> Sample:
    return _chat(rng, "mistral", ("mistral-small-latest", "mistral-large-4", "codestral-2508"))


def _grok(rng: Random) -> Sample:
    return _chat(rng, "grok", ("grok-4-fast-reasoning", "grok-4.7", "grok-code-fast-1"))


def _mistake(rng: Random) -> Sample:
    """A model that does not exist: somebody always tries."""
    body = {"model": "no-such-model", "messages": _talk(rng)}
    return Sample("/openai/v1/chat/completions", "authorization", body)


KINDS: tuple[tuple[Callable[[Random], Sample], int], ...] = (  # with how often each comes
    (_openai_chat, 28),
    (_openai_responses, 14),
    (_openai_embeddings, 8),
    (_anthropic, 26),
    (_gemini, 10),
    (_gemini_compatible, 4),
    (_mistral, 6),
    (_grok, 6),
    (_mistake, 1),
)


def draw_sample(rng: Random) -> Sample:
    makers, weights = zip(*KINDS, strict=True)
    make: Callable[[Random], Sample] = rng.choices(makers, weights)[0]
    return make(rng)


async def send_traffic(base_url: str, token: str, *, seconds: float, rate: float, seed: int) -> None:
    """Sends about `rate` calls a second for `seconds` to the Metrion at `base_url` (its origin), whatever they come to.

    The calls, their order and their spacing depend on the seed alone. Failed calls are counted and logged at the end.
    """
    rng = Random(seed)  # noqa: S311 (sample data)
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(MOST_AT_ONCE)
    failed: list[str] = []
    limits = httpx2.Limits(max_connections=MOST_AT_ONCE)
    at = loop.time()
    end = at + seconds
    async with (
        httpx2.AsyncClient(base_url=base_url, timeout=60, limits=limits, trust_env=False) as client,
        asyncio.TaskGroup() as group,
    ):
        while at < end and loop.time() < end:
            sample, requester = draw_sample(rng), rng.choice(REQUESTERS)
            await places.acquire()
            task = group.create_task(_send(client, token, sample, requester, failed))
            task.add_done_callback(lambda _: places.release())
            at += rng.expovariate(rate)
            await asyncio.sleep(min(at, end) - loop.time())
    if failed:
        structlog.get_logger(__name__).warning(
            "sample traffic met transport errors", count=len(failed), last=failed[-1]
        )


async def _send(client: httpx2.AsyncClient, token: str, sample: Sample, requester: str, failed: list[str]) -> None:
    credential = f"Bearer {token}" if sample.header == "authorization" else token
    headers = {sample.header: credential, "x-metrion-user": requester}
    try:
        async with client.stream("POST", f"/api/proxy{sample.path}", json=sample.body, headers=headers) as response:
            async for _ in response.aiter_raw():
                pass
    except httpx2.HTTPError as error:
        failed.append(type(error).__name__)
