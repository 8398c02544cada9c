"""Provider: where a provider's API is, how it wants its key, and what its paths mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """The shape of an API's errors."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GEMINI = "gemini"


class Credential(StrEnum):
    """How a provider documents that its key is sent: the header's name."""

    BEARER = "authorization"
    X_API_KEY = "x-api-key"
    X_GOOG_API_KEY = "x-goog-api-key"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one path of a provider's API does.

    `format` names the wire format that reads its answers ("" where none carries usage). `reads_body`: its JSON body
    names the model and is read whole before the call is dialled. `checks_body`: one that is not JSON, or lacks a key
    of `required`, is refused. `speaks`: its `input` is text to be spoken, billed by its length.
    """

    name: str
    format: str = ""
    reads_body: bool = False
    checks_body: bool = False
    required: tuple[str, ...] = ()
    speaks: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """`method` and the whole upstream path (a regular expression) that lead to `endpoint`; `(?P<model>…)` names a
    model.
    """

    method: str
    path: re.Pattern[str]
    endpoint: Endpoint


def rule(
    method: str,
    path: str,
    name: str,
    format: str = "",
    *,
    body: bool = False,
    required: tuple[str, ...] | None = None,
    speaks: bool = False,
) -> Rule:
    """A rule. `body`: the endpoint takes a JSON body that names the model; `required`: and must have these keys."""
    checks = required is not None
    whole = body or checks or speaks
    return Rule(method, re.compile(path), Endpoint(name, format, whole, checks, required or (), speaks))


_FIRST_SEGMENT = re.compile(r"/(?:upload/)?(?:v1(?:alpha|beta)?/)?(?:openai/)?([^/:]*).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Api:
    """One of a provider's APIs: the upstream prefix its paths live under, how it is spoken to, and its rules."""

    prefix: str  # "/v1/"
    family: Family
    credential: Credential
    rules: tuple[Rule, ...]

    def endpoint(self, method: str, path: str) -> tuple[Endpoint, str]:
        """(endpoint, model named by the path or ""); an unlisted path is named by its first segment, never refused."""
        for one in self.rules:
            if one.method == method and (found := one.path.fullmatch(path)):
                return one.endpoint, found.groupdict().get("model") or ""
        return Endpoint(_FIRST_SEGMENT.sub(r"\1", path)[:64]), ""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider: its name in every row, its origin, its API (and, for Gemini, its native one)."""

    name: str
    label: str
    origin: str
    api: Api
    native: Api | None = None
