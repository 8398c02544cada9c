"""The head of an answer as the client gets it: the provider's lines, our framing, our request id."""

from __future__ import annotations

from binascii import hexlify
from functools import lru_cache

import msgspec

from metrion.proxy.headers import Named
from metrion.proxy.http1 import StatusLine

_REQUEST_IDS = (b"x-request-id", b"request-id", b"x-goog-request-id")
_REQUEST_ID_CHARACTERS = 256


class Answer(msgspec.Struct):
    """A provider's answer head, sorted."""

    start: StatusLine
    lines: list[bytes]  # header lines that pass
    named: Named
    length: int  # of the body, or `http1.CHUNKED`, `UNTIL_CLOSE`, `NO_BODY`


def client_head(answer: Answer, request_id: bytes, extra_lines: list[bytes], chunked: bool, keep_alive: bool) -> bytes:
    """The head for the client."""
    out = [answer.start.ours, *answer.lines]
    length = answer.named.get(b"content-length")
    if length and answer.start.status != 204:
        out.append(b"content-length: " + length[0])
    elif chunked:
        out.append(b"transfer-encoding: chunked")
    out.append(b"x-metrion-request-id: " + hexlify(request_id))
    out += extra_lines
    out.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    return b"\r\n".join(out)


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
