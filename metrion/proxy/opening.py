"""What a request's head decides: where it goes, who asks, and the head the provider gets.

A program's requests on one connection mostly repeat their head but for the body's length. An opening is therefore kept
and taken over by the next request whose head is the same otherwise, as long as no account has changed: reading, sorting
and authenticating a head is a third of a call's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from metrion.accounts.registry import Account
from metrion.call import Call
from metrion.kit.ids import id_ms
from metrion.proxy import headers, http1
from metrion.proxy.authenticate import Identity, authenticate, known_account
from metrion.proxy.http1 import CHUNKED, LENGTH_DIGITS, BadMessage, RequestHead
from metrion.proxy.refusal import Refusal
from metrion.proxy.target import ROOT, Target, without_key

if TYPE_CHECKING:
    from metrion.proxy.proxy import Proxy

_PLAIN = [b"identity"]
_JSON = [b"application/json"]
_NO_ROUTE = Refusal(
    404,
    "no_route",
    "no such provider or route. Base URLs: /api/proxy (Anthropic), /api/proxy/openai/v1, /api/proxy/gemini/v1,"
    " /api/proxy/mistral/v1, /api/proxy/grok/v1.",
)


class Opening:
    """A request's head, read and decided. `forward_head` lacks only the body's framing."""

    __slots__ = (
        "_after",
        "_before",
        "_call_parts",
        "_version",
        "account",
        "closes",
        "credential",
        "expects",
        "forward_head",
        "http10",
        "identity",
        "lines",
        "method",
        "named",
        "path",
        "proxied",
        "query",
        "reads_whole",
        "refusal",
        "target",
    )

    def __init__(self, head: RequestHead) -> None:
        """Read the head; raises BadMessage for one that is not HTTP/1.1 as we accept it."""
        self.method = head.method
        self.http10 = head.http10
        self.path, _, self.query = head.target.partition(b"?")
        self.lines, self.named = headers.REQUEST.sort(head.lines)
        hosts = self.named.get(b"host", ())
        if len(hosts) > 1 or (not hosts and not self.http10):
            raise BadMessage("it needs exactly one Host header")
        self.proxied = self.path.startswith(ROOT) and self.path[len(ROOT) : len(ROOT) + 1] in (b"/", b"")
        self.expects = b"expect" in self.named and not self.http10
        options = headers.connection_options(self.named)
        self.closes = b"close" in options
        if options:
            self.lines = headers.without_nominated(self.lines, options)
        self.target: Target | None = None
        self.identity: Identity | None = None
        self.account: Account | None = None
        self.refusal: Refusal | None = None
        self.credential = b""
        self.forward_head = b""
        self._call_parts = ("", "", "", "", "", "")
        self.reads_whole = False
        self._before = self._after = b""
        self._version = -1

    def length(self) -> int:
        """The length of the request's body as the head declares it, 0 where there is none; raises BadMessage."""
        lengths, encodings = self.named.get(b"content-length", ()), self.named.get(b"transfer-encoding", ())
        return http1.declared_length(lengths, encodings, self.http10) or 0

    def decide(self, proxy: Proxy) -> None:
        """Route and authenticate; sets `refusal` where either fails."""
        named = self.named
        target = self.target = proxy.router.find(self.method, self.path, self.query, named)
        if target is None:
            self.account = known_account(proxy.accounts, named)
            self.refusal = _NO_ROUTE
            return
        identity = authenticate(proxy.accounts, target, named, self.query)
        if not isinstance(identity, Identity):
            self.refusal, self.account = identity
            return
        self.identity = identity
        self.account = identity.account
        self.credential = identity.credential
        if b"upgrade" in named and b"websocket" in named[b"upgrade"][0].lower():
            self.refusal = Refusal(
                400, "upgrade", "WebSocket connections are not supported. Use the provider's HTTP API."
            )
        self.reads_whole = (
            target.endpoint.reads_body
            and b"multipart/" not in named.get(b"content-type", _JSON)[0].lower()
            and named.get(b"content-encoding", _PLAIN)[0].lower() == b"identity"
        )
        self.forward_head = self._forward(proxy, target)
        endpoint = target.endpoint
        self._call_parts = (
            target.provider.name,
            endpoint.name,
            endpoint.format,
            identity.mode,
            identity.requester,
            target.model,
        )

    def new_call(self, request_id: bytes, account: Account) -> Call:
        """The record of an authenticated request."""
        return Call(request_id, account.id, id_ms(request_id), *self._call_parts)

    def _forward(self, proxy: Proxy, target: Target) -> bytes:
        """The head as the provider gets it: the client's lines, less what is not its own, with one credential."""
        query = without_key(self.query) if target.api is target.provider.native else self.query
        lines = self.lines
        if target.provider.name == "anthropic":
            lines = proxy.versions.apply(lines, self.named.get(b"anthropic-version"))
        return b"\r\n".join(
            [
                b"%b %b HTTP/1.1" % (self.method, target.path + b"?" + query if query else target.path),
                b"host: " + proxy.origins[target.provider.name].authority,
                *lines,
                self.credential,
                b"",
            ]
        )

    def remember(self, head: bytes, version: int) -> None:
        """Let the next request take this over: `head` is this one's bytes, `version` that of the accounts."""
        self._version = version
        head += b"\r\n\r\n"
        self._before, self._after = head, b""
        length = self.named.get(b"content-length")
        if length:
            start = head.lower().index(b"\r\ncontent-length:") + len(b"\r\ncontent-length:")
            start = head.index(length[0], start)
            self._before, self._after = head[:start], head[start + len(length[0]) :]

    def taken_over(self, data: bytes, version: int) -> tuple[int, int] | None:
        """Where the body begins and how long it is, where `data` begins with this same head; else None."""
        before, after = self._before, self._after
        if version != self._version or not data.startswith(before):
            return None
        at = len(before)
        if not after:
            return at, CHUNKED if b"transfer-encoding" in self.named else 0
        end = data.find(after, at, at + LENGTH_DIGITS + len(after))
        length = data[at:end]
        return (end + len(after), int(length)) if end > 0 and length.isdigit() else None
