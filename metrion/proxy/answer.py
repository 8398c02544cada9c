"""The head of an answer as the client gets it: the provider's lines, our framing, our request id."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from metrion.proxy import http1
from metrion.proxy.headers import Named
from metrion.proxy.http1 import BodyReader

_REQUEST_IDS = (b"x-request-id", b"request-id", b"x-goog-request-id")
_REQUEST_ID_CHARACTERS = 256


class Answer(NamedTuple):
    """A provider's answer head, sorted."""

    status: int
    reason: bytes
    lines: list[bytes]  # header lines that pass
    named: Named
    body: BodyReader | None  # None: no body by rule (HEAD, 204, 304)


class Head(NamedTuple):
    data: bytes
    chunked: bool  # the body goes out in chunks
    keep_alive: bool


def client_head(answer: Answer, request_id: bytes, extra_lines: list[bytes], *, http10: bool, keep_alive: bool) -> Head:
    """The head for the client; a body of unknown length is chunked, or for HTTP/1.0 ends with the connection."""
    status, reason, lines, named, body = answer
    out = [b"HTTP/1.1 %d %b" % (status, reason), *lines]
    chunked = False
    keep_alive = keep_alive and not http10
    length = named.get(b"content-length")
    if length and status != 204:
        out.append(b"content-length: " + length[0])
    elif body is not None and type(body) is not http1.Length:
        if http10:
            keep_alive = False
        else:
            chunked = True
            out.append(b"transfer-encoding: chunked")
    out.append(b"x-metrion-request-id: " + request_id)
    out += extra_lines
    if not keep_alive:
        out.append(b"connection: close")
    out.append(b"\r\n")
    return Head(b"\r\n".join(out), chunked, keep_alive)


def request_id_of(named: Named) -> str:
    """The provider's own id of the request, or ""."""
    for name in _REQUEST_IDS:
        if name in named:
            return named[name][0].decode("latin-1")[:_REQUEST_ID_CHARACTERS]
    return ""


@lru_cache(256)
def text(value: bytes) -> str:
    """A header's value as text; few are in use, over and over."""
    return value.decode("latin-1")
