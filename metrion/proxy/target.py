"""Where a path under /api/proxy leads: provider, endpoint and upstream path. Spec §2.1.

The upstream path is made of the provider's fixed prefix and the client's remainder, which is refused unless it is
plain: so no client can leave the provider's root, whatever a provider's own server makes of dots, slashes and their
encodings.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from metrion.providers import PROVIDERS
from metrion.providers.provider import Api, Endpoint, Family, Provider
from metrion.proxy.headers import Named

ROOT = b"/api/proxy"
_PLAIN = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@%]+)+/?")
_TRICK = re.compile(r"/\.{1,2}(?:[/;]|$)|%(?:2[ef5]|5c|[01][0-9a-f]|7f)|%(?![0-9a-f]{2})", re.IGNORECASE)
_KEY_PARAMETER = re.compile(rb"(?:^|&)key=([^&]*)")
_REMEMBERED_PATHS = 4096
_REMEMBERED_BYTES = 512  # of one path: anybody may send long ones
_NATIVE_ROOTS = ("/v1beta/", "/v1alpha/", "/upload/", "/download/")


class Target(NamedTuple):
    """Where one request goes."""

    provider: Provider
    api: Api
    endpoint: Endpoint
    path: bytes  # upstream, without the query
    model: str  # where the path names one


class Router:
    """Resolves paths; remembers what it resolved, since a program calls few of them again and again."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bool], Target | None] = {}

    def find(self, method: bytes, path: bytes, query: bytes, named: Named) -> Target | None:
        """The target of `path` (from `ROOT` on); None where there is no such route."""
        native_hint = b"x-goog-api-key" in named or b"x-goog-api-client" in named or query_key(query) is not None
        question = (method, path, native_hint)
        try:
            return self._known[question]
        except KeyError:
            target = _resolve(method.decode("ascii"), path.decode("latin-1"), native_hint)
            if len(path) > _REMEMBERED_BYTES:
                return target
            if len(self._known) >= _REMEMBERED_PATHS:  # paths hold ids: begin again rather than keep the first for ever
                self._known.clear()
            self._known[question] = target
            return target


def query_key(query: bytes) -> bytes | None:
    """The value of `key=` in a query: a credential on Gemini's own API."""
    found = _KEY_PARAMETER.search(query) if query else None
    return found[1] if found else None


def without_key(query: bytes) -> bytes:
    """`query` less its `key=`; the rest byte for byte."""
    return b"&".join(part for part in query.split(b"&") if not part.startswith(b"key="))


def family_of(path: bytes) -> Family:
    """The error shape a client of `path` expects, also where the path leads nowhere."""
    rest = path.removeprefix(ROOT)
    if rest.startswith((b"/gemini/v1beta/", b"/gemini/upload/", b"/gemini/download/", b"/gemini/v1alpha/")):
        return Family.GEMINI
    if rest.startswith((b"/v1/", b"/messages", b"/anthropic/")):
        return Family.ANTHROPIC
    return Family.OPENAI


def _resolve(method: str, path: str, native_hint: bool) -> Target | None:
    rest = path[len(ROOT) :]
    if not _PLAIN.fullmatch(rest) or _TRICK.search(rest):
        return None
    if rest == "/messages" or rest.startswith("/v1/"):
        return _target(method, PROVIDERS["anthropic"], "/v1" + rest.removeprefix("/v1"))
    _, name, below = rest.split("/", 2) if rest.count("/") > 1 else ("", "", "")
    provider = PROVIDERS.get(name)
    if provider is None or not below:
        return None
    below = "/" + below
    if provider.native and (
        below.startswith(_NATIVE_ROOTS) or ((native_hint or ":" in below) and below.startswith("/v1/"))
    ):
        return _native(method, provider, below)
    remainder = below[1:].removeprefix("v1/")
    return _target(method, provider, provider.api.prefix + remainder) if remainder not in ("", "v1") else None


def _target(method: str, provider: Provider, path: str) -> Target:
    endpoint, model = provider.api.endpoint(method, path)
    return Target(provider, provider.api, endpoint, path.encode("latin-1"), model)


def _native(method: str, provider: Provider, path: str) -> Target:
    api = provider.native
    assert api is not None  # the caller looked
    if path.startswith("/v1beta/openai/"):  # the provider's own spelling of its OpenAI-compatible API
        return _target(method, provider, path)
    endpoint, model = api.endpoint(method, path)
    return Target(provider, api, endpoint, path.encode("latin-1"), model)
