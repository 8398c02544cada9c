"""Every way into Metrion that an SDK's base URL opens, with what must come of it. Spec §2.1 and §2.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fake_provider import Script, samples
from tests.support import PROVIDERS

FIGURES = samples.FIGURES
UNCACHED = FIGURES | {"cached_input_tokens": 0}  # Gemini's compatible door does not tell
# Odd white space, a repeated key and characters outside ASCII: whoever parses and writes again is found out.
TALK = '"messages" : [{"role":"user","content":"Gr\\u00fc\u00dfe \U0001f44b"}],  "x":1, "x":1 }\n'


@dataclass(frozen=True, eq=False)
class Api:
    """One API of a provider: where it is upstream, what is asked of it, and what it answers, plain and streamed."""

    provider: str
    endpoint: str
    model: str  # as asked for
    answered: str  # as answered
    paths: tuple[str, ...]  # in Metrion
    upstream: str
    credential: str  # the documented header
    family: str  # whose error shape
    plain: Script
    stream: Script
    figures: dict[str, int]
    names_model: bool = True  # in the body
    stream_path: tuple[str, str] = ("", "")  # where streaming has a path of its own: (part, its replacement)

    def body(self, *, stream: bool) -> bytes:
        if not self.names_model:
            return '{ "contents": [{"parts":[{"text":"Grüße 👋"}]}]}\n'.encode()
        extra = '"max_tokens": 9, ' if self.family == "anthropic" else ""
        flag = '"stream": true, ' if stream else ""
        return f'{{"model":"{self.model}", {extra}{flag}{TALK}'.encode()

    def targets(self, path: str, *, stream: bool) -> tuple[str, str]:
        """(Metrion's path, the provider's)."""
        upstream = self.upstream or path.removeprefix("/api/proxy/gemini")
        part, other = self.stream_path if stream else ("", "")
        return path.replace(part, other), upstream.replace(part, other)


def _compatible(provider: str, model: str, answered: str, prefix: str, figures: dict[str, int]) -> Api:
    root = f"/api/proxy/{provider}"
    return Api(
        provider=provider,
        endpoint="chat.completions",
        model=model,
        answered=answered,
        paths=(f"{root}/v1/chat/completions", f"{root}/chat/completions"),
        upstream=f"{prefix}/chat/completions",
        credential="authorization",
        family="openai",
        plain=samples.chat_body(answered, provider),
        stream=samples.chat_stream(answered, provider),
        figures=figures,
    )


APIS = (
    Api(
        provider="anthropic",
        endpoint="messages",
        model="claude-sonnet-4-5",
        answered="claude-sonnet-4-5-20250929",
        paths=("/api/proxy/v1/messages", "/api/proxy/messages", "/api/proxy/anthropic/v1/messages"),
        upstream="/v1/messages",
        credential="x-api-key",
        family="anthropic",
        plain=samples.anthropic_message(),
        stream=samples.anthropic_stream(),
        figures=FIGURES,
    ),
    _compatible("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "/v1", FIGURES),
    Api(
        provider="openai",
        endpoint="responses",
        model="gpt-5",
        answered="gpt-5-2025-08-07",
        paths=("/api/proxy/openai/v1/responses", "/api/proxy/openai/responses"),
        upstream="/v1/responses",
        credential="authorization",
        family="openai",
        plain=samples.responses_body(),
        stream=samples.responses_stream(),
        figures=FIGURES,
    ),
    _compatible("gemini", "gemini-2.5-flash", "gemini-2.5-flash", "/v1beta/openai", UNCACHED),
    Api(
        provider="gemini",
        endpoint="generateContent",
        model="gemini-2.5-flash",
        answered="gemini-2.5-flash",
        paths=(
            "/api/proxy/gemini/v1beta/models/gemini-2.5-flash:generateContent",
            "/api/proxy/gemini/v1/models/gemini-2.5-flash:generateContent",
        ),
        upstream="",
        credential="x-goog-api-key",
        family="gemini",
        plain=samples.gemini_body(),
        stream=samples.gemini_stream(),
        figures=FIGURES,
        names_model=False,
        stream_path=(":generateContent", ":streamGenerateContent"),
    ),
    _compatible("mistral", "mistral-small-latest", "mistral-small-latest", "/v1", FIGURES),
    _compatible("grok", "grok-4-fast-reasoning", "grok-4-fast-reasoning", "/v1", FIGURES),
)
assert {api.provider for api in APIS} == set(PROVIDERS)


@dataclass(frozen=True, eq=False)
class Case:
    """One call of the matrix."""

    api: Api
    path: str
    mode: str  # "stored" or "pass_through"
    form: str  # how the credential comes: a header's name, or "key" for ?key=
    stream: bool

    def __str__(self) -> str:
        shape = "stream" if self.stream else "plain"
        return f"{self.path.removeprefix('/api/proxy/')} {self.mode} {self.form} {shape}"


def cases() -> Iterator[Case]:
    """Each spelling in each mode, plain and streamed, with the documented credential; and each credential form once."""
    for api in APIS:
        for path in api.paths:
            for mode in ("stored", "pass_through"):
                for stream in (False, True):
                    yield Case(api, path, mode, api.credential, stream)
        native = ("key",) if api.family == "gemini" else ()
        for form in ("authorization", "x-api-key", "x-goog-api-key", *native):
            # x-goog-api-key on Gemini's compatible paths chooses the native API, so there it is no credential form.
            if form != api.credential and not (form == "x-goog-api-key" and api.provider == "gemini"):
                for mode in ("stored", "pass_through"):
                    yield Case(api, api.paths[0], mode, form, False)


def is_shaped(family: str, document: Any, status: int) -> bool:
    """Whether an error body has the family's shape. Spec §2.6."""
    error = document["error"]
    if family == "anthropic":
        return (
            set(document) == {"type", "error", "request_id"}
            and document["type"] == "error"
            and _texts(error, "type", "message")
        )
    if family == "gemini":
        return error["code"] == status and _texts(error, "message", "status")
    return (
        set(error) == {"message", "type", "param", "code"}
        and error["param"] is None
        and _texts(error, "message", "type")
    )


def _texts(document: dict[str, Any], *names: str) -> bool:
    return all(isinstance(document[name], str) and document[name] for name in names)
