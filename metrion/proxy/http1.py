"""HTTP/1.1 as bytes, without I/O: heads are parsed whole and strictly, bodies are cut out of their framing.

Our own, because the two borders of a proxy are where requests are smuggled: what a lenient parser lets pass here, the
next one reads differently. A head is accepted as the grammar describes it or refused; nothing is repaired. RFC 9112.

    head = parse_request(block)            # block: without the closing empty line
    length = declared_length(…)            # None: none is declared
    body = reader(length)
    piece, rest = body.feed(data)          # payload bytes, and what lies behind the body's end once body.done
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TEXT = rb"[^\x00-\x08\x0a-\x1f\x7f]"
_METHOD = re.compile(_TOKEN + rb"{1,32}+")
_VERSIONS = {b"HTTP/1.1": False, b"HTTP/1.0": True}
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: (" + _TEXT + rb"*+))?")
_NAME = re.compile(_TOKEN + rb"{1,256}+")
_TRAILER = re.compile(_TOKEN + rb"++:" + _TEXT + rb"*+\r\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15}+)[ \t]*+(?:;" + _TEXT + rb"*+)?\r\n")
LENGTH_DIGITS = 18
_CONTROLS = bytes(c for c in range(256) if (c < 32 and c != ord("\t")) or c == 127)
CHUNKED = -1  # the length of a body that comes in chunks
UNTIL_CLOSE = -2  # of one that ends with its connection
NO_BODY = -3  # of an answer that has none by rule, whatever its head declares
_CHUNK_LINE_LIMIT = 4096
_TRAILER_LIMIT = 16384
_USUAL_SIZE_LINE = 10  # bytes: a size without extension


class BadMessage(Exception):
    """The bytes are not the HTTP/1.1 we accept; the text says why, without quoting them."""


class TooManyHeaders(BadMessage):
    """A head has more headers than we read."""


class RequestHead(NamedTuple):
    method: bytes
    target: bytes
    http10: bool
    lines: list[bytes]  # header lines as they came, without CRLF; checked where they are told apart (`headers`)


class StatusLine(NamedTuple):
    status: int
    http10: bool
    ours: bytes  # as we pass it on: our version, the same status and reason


def check_text(line: bytes) -> None:
    """Raise BadMessage where a control character other than a tab is in `line`: a bare line end is one, too."""
    # Nearly every line is printable, and to ask that costs half of what the question itself does.
    if not line.decode("latin-1").isprintable() and len(line.translate(None, _CONTROLS)) != len(line):
        raise BadMessage("a control character in the head")


def parse_request(head: bytes, max_headers: int = 200) -> RequestHead:
    """Read a request's head, given without its closing empty line; raises BadMessage, or TooManyHeaders."""
    start, *lines = head.split(b"\r\n")
    if len(lines) > max_headers:
        raise TooManyHeaders(f"more than {max_headers} headers")
    check_text(start)
    parts = start.split(b" ")
    if (
        len(parts) != 3
        or not parts[1]
        or b"\t" in parts[1]
        or not parts[1].isascii()
        or not _METHOD.fullmatch(parts[0])
        or parts[2] not in _VERSIONS
    ):
        raise BadMessage("the request line is malformed")
    return RequestHead(parts[0], parts[1], _VERSIONS[parts[2]], lines)


def parse_response(head: bytes, max_headers: int = 1000) -> tuple[StatusLine, list[bytes]]:
    """Read an answer's head, given without its closing empty line: its start, its header lines; raises BadMessage."""
    start, *lines = head.split(b"\r\n")
    if len(lines) > max_headers:
        raise BadMessage(f"more than {max_headers} headers")
    return _status_line(start), lines


@lru_cache(256)
def _status_line(line: bytes) -> StatusLine:
    """Read a status line; few are in use, over and over. Raises BadMessage."""
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise BadMessage("the status line is malformed")
    minor, status, reason = found.groups()
    return StatusLine(int(status), minor == b"0", b"HTTP/1.1 %b %b" % (status, reason or b""))


def check_name(name: bytes) -> None:
    """Raise BadMessage unless `name` is a header name: this also finds folded lines and a space before the colon."""
    if not _NAME.fullmatch(name):
        raise BadMessage("a header line is malformed")


class Length:
    """A body of a known number of bytes."""

    __slots__ = ("done", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        size = len(data)
        if size < self.left:
            self.left -= size
            return data, b""
        left, self.left, self.done = self.left, 0, True
        if size == left:
            return data, b""
        return data[:left], data[left:]


class UntilClose:
    """A body that ends with its connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""


class Chunked:
    """A chunked body; extensions and trailers are read and dropped, and bounded. `feed` raises BadMessage."""

    __slots__ = ("_between", "_held", "_left", "_trailer", "done")

    def __init__(self) -> None:
        self.done = False
        self._between = True  # the next byte begins a chunk
        self._left = 0  # bytes of the current chunk still to come, its closing CRLF included
        self._held = b""  # an unfinished size or trailer line
        self._trailer = -1  # bytes of trailer read; -1: not there yet

    def whole(self, data: bytes) -> bytes:
        """The payload where `data` is one chunk, whole and plain, that may be passed on as it is; else b"".

        The usual case of a stream: one event, one chunk, one piece. Nothing is taken of any other: `feed` it.
        """
        if self._between:
            start = data.find(b"\r\n", 0, _USUAL_SIZE_LINE)
            if start > 0 and len(data) == start + _size(data[:start]) + 4 and data.endswith(b"\r\n"):
                return data[start + 2 : -2]
        return b""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        if self._held:
            data = self._held + data
            self._held = b""
        at, size = 0, len(data)
        pieces: list[bytes] = []
        rest = b""
        while at < size:
            if self._left:
                at = self._chunk(data, at, pieces)
                continue
            if self._trailer >= 0:
                rest = self._end(data, at)
                break
            line = _CHUNK_SIZE.match(data, at)
            if line is None:
                self._hold(data, at, _CHUNK_LINE_LIMIT)
                break
            if line.end() - at > _CHUNK_LINE_LIMIT:
                raise BadMessage("a chunk size line is too long")
            at = line.end()
            length = int(line[1], 16)
            if length:
                self._left = length + 2
            else:
                self._trailer = 0
        self._between = not self._left and not self._held and self._trailer < 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), rest

    def _chunk(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take what there is of the current chunk; returns where reading goes on."""
        end = at + self._left
        if self._left > 2:
            piece = data[at : end - 2]
            pieces.append(piece)
            self._left -= len(piece)
            at += len(piece)
        if self._left <= 2:
            close = data[at:end]
            if close != b"\r\n"[2 - self._left :][: len(close)]:
                raise BadMessage("a chunk does not end where its size says")
            self._left -= len(close)
            at += len(close)
        return at

    def _hold(self, data: bytes, at: int, limit: int) -> None:
        """Keep an unfinished line for the next bytes, unless it is already wrong."""
        if len(data) - at > limit or b"\n" in data[at:]:
            raise BadMessage("a chunk size line is malformed")
        self._held = data[at:]

    def _end(self, data: bytes, at: int) -> bytes:
        """Read trailers up to the empty line; returns what lies behind it."""
        while True:
            if data.startswith(b"\r\n", at):
                self.done = True
                return data[at + 2 :]
            line = _TRAILER.match(data, at)
            if line is None:
                if self._trailer + len(data) - at > _TRAILER_LIMIT or b"\n" in data[at:]:
                    raise BadMessage("a trailer is malformed or too large")
                self._held = data[at:]
                return b""
            self._trailer += line.end() - at
            if self._trailer > _TRAILER_LIMIT:
                raise BadMessage("a trailer is malformed or too large")
            at = line.end()


@lru_cache(4096)
def _size(digits: bytes) -> int:
    """A plain chunk size; 0 for anything else, which is then read with care."""
    return int(digits, 16) if digits.isalnum() and _CHUNK_SIZE.fullmatch(digits + b"\r\n") else 0


BodyReader = Length | Chunked | UntilClose


def reader(length: int) -> BodyReader:
    """Who reads a body of this length."""
    if length == CHUNKED:
        return Chunked()
    return UntilClose() if length == UNTIL_CLOSE else Length(max(length, 0))


def declared_length(lengths: Sequence[bytes], encodings: Sequence[bytes], http10: bool) -> int | None:
    """The length, or `CHUNKED`, of the body that a head declares by Content-Length and Transfer-Encoding; None where it
    declares none. Raises BadMessage.

    Both at once, a repeated length, any coding but `chunked` and chunked in HTTP/1.0 are refused: two readers could
    differ on them.
    """
    if encodings:
        if lengths:
            raise BadMessage("both Content-Length and Transfer-Encoding")
        if http10:
            raise BadMessage("Transfer-Encoding in HTTP/1.0")
        if len(encodings) != 1 or encodings[0].strip().lower() != b"chunked":
            raise BadMessage("a Transfer-Encoding other than chunked")
        return CHUNKED
    if lengths:
        value = lengths[0]
        if len(lengths) != 1 or not value.isdigit() or len(value) > LENGTH_DIGITS:
            raise BadMessage("a malformed or repeated Content-Length")
        return int(value)
    return None


def chunk(data: bytes) -> bytes:
    """`data` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
