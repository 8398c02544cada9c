"""Which browser origins may call the proxy: an exact list, never `*`, never with cookies. Spec §2.7."""

from __future__ import annotations

from collections.abc import Iterable

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

    def preflight_lines(self, origin: bytes, wanted_headers: bytes) -> list[bytes]:
        """Header lines for the preflight of an allowed `origin`; `wanted_headers` is what it asked to send."""
        return [
            b"access-control-allow-origin: " + origin,
            b"access-control-allow-methods: GET, POST, PUT, PATCH, DELETE",
            b"access-control-allow-headers: " + (wanted_headers or b"authorization, content-type"),
            b"access-control-max-age: %d" % _MAX_AGE,
            b"vary: Origin, Access-Control-Request-Headers",
        ]
