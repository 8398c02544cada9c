"""Decompressing a copy of a passing body, piece by piece, with a bound against bombs.

Contract: `Inflater.feed` hands decompressed pieces on as soon as they can be had; it raises `UnreadableError` on what
is not of the encoding, and once there is more of it than the compressed bytes account for.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import brotli
import zstandard

_PIECE = 256 * 1024
_FREE = 16 * 1024 * 1024  # decompressed bytes allowed before the ratio counts
_RATIO = 100  # decompressed bytes allowed per compressed byte; JSON and base64 stay far below
_ZSTD_SLICE = 512  # compressed bytes at a time: a block of 128 KiB may take as few as 4
_ZSTD_WINDOW = 8 * 1024 * 1024  # what RFC 8878 §3.1.1.1.2 asks decoders to support, and RFC 9659 allows on the web


class UnreadableError(Exception):
    """The body is not what its content-encoding says, or grows beyond all proportion."""


class _Decoder(Protocol):
    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what can be decompressed so far; raises zlib.error, brotli.error or zstandard.ZstdError."""


class _Zlib:
    """gzip (also several members in a row) by default, or deflate as zlib or raw."""

    def __init__(self, window_bits: int = 31) -> None:
        self._window_bits = window_bits
        self._inflate = zlib.decompressobj(window_bits)

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            yield self._inflate.decompress(data, _PIECE)
            if self._inflate.eof:
                data = self._inflate.unused_data.lstrip(b"\0")  # zeros may pad the end of a member
                self._inflate = zlib.decompressobj(self._window_bits)
            else:
                data = self._inflate.unconsumed_tail


class _Deflate:
    """`deflate` is zlib's format (RFC 9110 §8.4.1.2), but some servers send it raw: the first two bytes tell."""

    def __init__(self) -> None:
        self._start = b""
        self._inner: _Zlib | None = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._inner is None:
            self._start += data
            if len(self._start) < 2:
                return
            header = int.from_bytes(self._start[:2], "big")
            is_zlib = header >> 8 & 0x0F == 8 and header % 31 == 0
            self._inner = _Zlib(15 if is_zlib else -15)
            data, self._start = self._start, b""
        yield from self._inner.decode(data)


class _Brotli:
    def __init__(self) -> None:
        self._inflate = brotli.Decompressor()

    def decode(self, data: bytes) -> Iterator[bytes]:
        piece: bytes = self._inflate.process(data, output_buffer_limit=_PIECE)
        yield piece
        while len(piece) >= _PIECE:  # `can_accept_more_data` says yes with output still inside
            piece = self._inflate.process(b"", output_buffer_limit=_PIECE)
            yield piece


class _Zstd:
    def __init__(self) -> None:
        context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._inflate = context.decompressobj(read_across_frames=True)

    def decode(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_SLICE):
            yield self._inflate.decompress(data[start : start + _ZSTD_SLICE])


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "gzip": _Zlib,
    "x-gzip": _Zlib,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}


def is_identity(content_encoding: str) -> bool:
    return content_encoding.strip().lower() in ("", "identity")


class Inflater:
    """Decompresses what it is fed and hands it on. Raises UnreadableError, at once where the encoding is unknown."""

    def __init__(self, content_encoding: str, onward: Callable[[bytes], None]) -> None:
        names = [name.strip().lower() for name in content_encoding.split(",")]
        decoder = _DECODERS.get(names[0]) if len(names) == 1 else None
        if decoder is None:
            raise UnreadableError(content_encoding)
        self._decoder = decoder()
        self._onward = onward
        self._allowed = _FREE

    def feed(self, data: bytes) -> None:
        self._allowed += _RATIO * len(data)
        try:
            for piece in self._decoder.decode(data):
                self._allowed -= len(piece)
                if self._allowed < 0:
                    raise UnreadableError("too much in too little")
                if piece:
                    self._onward(piece)
        except (zlib.error, brotli.error, zstandard.ZstdError) as broken:
            raise UnreadableError(str(broken)) from broken
