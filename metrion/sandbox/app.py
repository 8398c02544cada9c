"""The sandbox as a web application: one per provider, at the provider's own paths.

OpenAI, Mistral and xAI share their paths, so each provider gets its own origin. A request may ask for a failure with
the header `x-sandbox-error: <status>`; others fail by chance, as often as `error_rate` says.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from random import Random, SystemRandom
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from metrion.sandbox import chat, gemini, messages, responses
from metrion.sandbox.draft import Asked, Reply, token_hex
from metrion.sandbox.failures import failure, statuses
from metrion.sandbox.models import is_known

PROVIDERS = ("anthropic", "openai", "gemini", "mistral", "grok")
GZIP_LEAST = 512  # bytes; a short body is not worth it

Answer = Callable[[Asked], Reply]

CHAT_POSTS: dict[str, Answer] = {"/chat/completions": chat.chat_completions, "/embeddings": chat.embeddings}
POSTS: dict[str, dict[str, Answer]] = {
    "anthropic": {"/v1/messages": messages.messages, "/v1/messages/count_tokens": messages.count},
    "openai": {f"/v1{path}": answer for path, answer in CHAT_POSTS.items()}
    | {
        "/v1/completions": chat.completions,
        "/v1/responses": responses.responses,
        "/v1/responses/input_tokens": responses.input_tokens,
    },
    "gemini": {f"/v1beta/openai{path}": answer for path, answer in CHAT_POSTS.items()},
    "mistral": {f"/v1{path}": answer for path, answer in CHAT_POSTS.items()}
    | {"/v1/fim/completions": chat.fim_completions},
    "grok": {"/v1/chat/completions": chat.chat_completions, "/v1/responses": responses.responses},
}
LISTS: dict[str, dict[str, Answer]] = {
    "anthropic": {"/v1/models": messages.models},
    "openai": {"/v1/models": chat.models},
    "gemini": {"/v1beta/openai/models": chat.models, "/v1beta/models": gemini.models, "/v1/models": gemini.models},
    "mistral": {"/v1/models": chat.models},
    "grok": {"/v1/models": chat.models},
}
VERBS: dict[str, Answer] = {  # `models/X:verb` of Gemini's own API
    "generateContent": gemini.generate_content,
    "embedContent": gemini.embed_content,
    "batchEmbedContents": gemini.batch_embed_contents,
    "countTokens": gemini.count,
}


def create_app(provider: str, *, seed: int | None = None, error_rate: float = 0.0, pace: float = 0.02) -> Starlette:
    """The sandbox of one provider; with a seed the n-th request is always answered alike.

    `error_rate` is the share of requests that fail without being asked to; `pace` is the mean time between two events
    of a stream in seconds, and the time before an answer is about ten times that (0: at once).
    """
    sandbox = Sandbox(provider, seed, error_rate, pace)
    routes = [Route(path, partial(sandbox.post, answer), methods=["POST"]) for path, answer in POSTS[provider].items()]
    routes += [Route(path, partial(sandbox.get, answer)) for path, answer in LISTS[provider].items()]
    if provider == "gemini":
        routes += [Route(f"/{v}/models/{{call}}", sandbox.call_gemini, methods=["POST"]) for v in ("v1", "v1beta")]
    return Starlette(routes=routes, exception_handlers={404: sandbox.lost, 405: sandbox.lost})


class Sandbox:
    """One provider's endpoints and the count of requests they saw."""

    def __init__(self, provider: str, seed: int | None, error_rate: float, pace: float) -> None:
        self.provider = provider
        self.seed = SystemRandom().getrandbits(64) if seed is None else seed
        self.error_rate = error_rate
        self.pace = pace
        self.count = 0

    async def post(self, answer: Answer, request: Request) -> Response:
        body = await _json(request)
        model = body.get("model") if isinstance(body, dict) else None
        return await self._respond(request, answer, body, model)

    async def get(self, answer: Answer, request: Request) -> Response:
        return await self._respond(request, answer, {}, None)

    async def call_gemini(self, request: Request) -> Response:
        model, _, verb = request.path_params["call"].rpartition(":")
        answer = VERBS.get(verb)
        if verb == "streamGenerateContent":
            answer = partial(gemini.stream_generate_content, sse=request.query_params.get("alt") == "sse")
        if answer is None:
            return await self.lost(request, None)
        return await self._respond(request, answer, await _json(request), model)

    async def lost(self, request: Request, _: Exception | None) -> Response:
        """Whatever path the provider does not have."""
        rng = self._draw()
        return self._send(request, self._fail(request, 404, rng), rng)

    async def _respond(self, request: Request, answer: Answer, body: Any, model: object) -> Response:
        rng = self._draw()
        if self.pace:
            await asyncio.sleep(self.pace * 10 * rng.uniform(0.5, 1.5))
        status = self._refusal(request, body, model, rng)
        if status:
            return self._send(request, self._fail(request, status, rng), rng)
        asked = Asked(
            provider=self.provider,
            model=str(model or "").removeprefix("models/"),
            body=body,
            rng=rng,
            created=int(time.time()),
            number=self.count,
        )
        return self._send(request, answer(asked), rng)

    def _draw(self) -> Random:
        self.count += 1
        return Random(f"{self.provider} {self.seed} {self.count}")  # noqa: S311 (sample data)

    def _refusal(self, request: Request, body: Any, model: object, rng: Random) -> int:
        """The status to fail with, 0 for none."""
        wanted = request.headers.get("x-sandbox-error", "")
        if wanted.isdecimal() and 400 <= int(wanted) <= 599:
            return int(wanted)
        if not self._has_key(request):
            return 401
        if not isinstance(body, dict):
            return 400
        if request.method == "POST" and not is_known(self.provider, str(model or "").removeprefix("models/")):
            return 404
        return rng.choice(statuses(self.provider)) if rng.random() < self.error_rate else 0

    def _has_key(self, request: Request) -> bool:
        """Whether a key came where the provider documents it; any value will do."""
        headers, bearer = request.headers, request.headers.get("authorization", "").startswith("Bearer ")
        if self.provider == "anthropic":
            return bool(headers.get("x-api-key")) or bearer
        if self.provider == "gemini" and not _is_compatible(request):
            return bool(headers.get("x-goog-api-key")) or "key" in request.query_params
        return bearer

    def _fail(self, request: Request, status: int, rng: Random) -> Reply:
        native = self.provider == "gemini" and not _is_compatible(request)
        return failure(self.provider, status, native=native, request_id="req_" + token_hex(rng, 24))

    def _send(self, request: Request, reply: Reply, rng: Random) -> Response:
        headers = _headers(self.provider, rng, self.count) | dict(reply.headers or {})
        if reply.events:
            stream = _paced(reply.events, self.pace, rng)
            return StreamingResponse(stream, headers=headers | {"content-type": reply.media_type})
        content = orjson.dumps(reply.body)
        if len(content) >= GZIP_LEAST and "gzip" in request.headers.get("accept-encoding", ""):
            content = gzip.compress(content, 6, mtime=0)
            headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
        return Response(content, reply.status, headers | {"content-type": reply.media_type})


async def _json(request: Request) -> Any:
    """The body, or None where it is not JSON."""
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        return None


def _is_compatible(request: Request) -> bool:
    """Whether a Gemini request came through the OpenAI-compatible door."""
    return request.url.path.startswith("/v1beta/openai/")


async def _paced(events: tuple[bytes, ...], pace: float, rng: Random) -> AsyncIterator[bytes]:
    for event in events:
        yield event
        if pace:
            await asyncio.sleep(pace * rng.uniform(0.2, 1.8))


def _headers(provider: str, rng: Random, count: int) -> dict[str, str]:
    """The request id and the rate limits, named as the provider names them."""
    left = str(max(0, 4000 - count % 4000))
    if provider == "anthropic":
        return {
            "request-id": "req_" + token_hex(rng, 24),
            "anthropic-organization-id": "sandbox",
            "anthropic-ratelimit-requests-limit": "4000",
            "anthropic-ratelimit-requests-remaining": left,
            "anthropic-ratelimit-requests-reset": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
    if provider == "gemini":
        return {"server-timing": f"gfet4t7; dur={rng.randint(80, 900)}", "x-content-type-options": "nosniff"}
    if provider == "mistral":
        return {
            "mistral-correlation-id": token_hex(rng, 32),
            "x-ratelimit-limit-req-minute": "4000",
            "x-ratelimit-remaining-req-minute": left,
        }
    headers = {"x-request-id": "req_" + token_hex(rng, 32), "x-ratelimit-limit-requests": "4000"}
    headers["x-ratelimit-remaining-requests"] = left
    if provider == "openai":
        headers |= {"openai-version": "2020-10-01", "openai-organization": "sandbox"}
        headers |= {"openai-processing-ms": str(rng.randint(80, 900)), "x-ratelimit-reset-requests": "15ms"}
    return headers
