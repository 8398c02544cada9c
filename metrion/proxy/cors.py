"""Which browser origins may call the proxy: an exact list, never `*`, never with cookies. Spec §2.7."""

from __future__ import annotations

from collections.abc import Iterable

from metrion.proxy.headers import Named

_EXPOSED = b"x-metrion-request-id, x-metrion-error, retry-after, request-id, x-request-id"
_MAX_AGE = 600  # seconds


class Cors:
    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def allows(self, origin: bytes) -> bool:
        return origin in self._origins

    def answer_lines(self, origin: bytes) -> list[bytes]:
        """Header lines for an answer to `origin`; none where it is not allowed."""
        if not self.allows(origin):
            return []
        return [
            b"access-control-allow-origin: " + origin,
            b"access-control-expose-headers: " + _EXPOSED,
            b"vary: Origin",
        ]

    def preflight(self, named: Named) -> bytes | None:
        """The answer to an allowed origin's preflight; None for any other request."""
        origin = named.get(b"origin", [b""])[0]
        if b"access-control-request-method" not in named or not self.allows(origin):
            return None
        wanted = named.get(b"access-control-request-headers", [b""])[0] or b"authorization, content-type"
        lines = [
            b"HTTP/1.1 204 No Content",
            b"access-control-allow-origin: " + origin,
            b"access-control-allow-methods: GET, POST, PUT, PATCH, DELETE",
            b"access-control-allow-headers: " + wanted,
            b"access-control-max-age: %d" % _MAX_AGE,
            b"vary: Origin, Access-Control-Request-Headers",
        ]
        return b"\r\n".join([*lines, b"", b""])
