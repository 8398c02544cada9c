"""One journal record: length and CRC-32 (little endian, 4 bytes each), a kind byte, the call as JSON.

JSON, because a usage object's bytes then lie in it as the provider sent them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import msgspec

from metrion.call import Call

INTENT, COMPLETION = b"I", b"C"
_FRAME = struct.Struct("<II")
_MAX_RECORD = 64 * 1024 * 1024
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Call).decode


def frame(kind: bytes, call: Call) -> bytes:
    """The record of `call` as it is written."""
    payload = kind + _encode(call)
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def records(data: bytes) -> Iterator[tuple[bytes, Call]]:
    """(kind, call) of every whole record of a segment; stops at the first that is cut or damaged, as a crash leaves it."""
    at = 0
    while at + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, at)
        payload = data[at + _FRAME.size : at + _FRAME.size + length]
        if length > _MAX_RECORD or len(payload) < length or zlib.crc32(payload) != crc:
            return
        yield payload[:1], _decode(payload[1:])
        at += _FRAME.size + length
