"""One journal record: length and CRC-32 (little endian, 4 bytes each), a kind byte, the call as JSON.

JSON, because a usage object's bytes then lie in it as the provider sent them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from zlib import crc32

import msgspec
import structlog

from metrion.call import Call

INTENT, COMPLETION = b"I", b"C"
_FRAME = struct.Struct("<II")
_encode = msgspec.json.Encoder(enc_hook=lambda _: None).encode  # what is held of a call's texts is not written
_decode = msgspec.json.Decoder(Call).decode
log = structlog.get_logger("metrion.ledger")


def frame(kind: bytes, call: Call) -> bytes:
    """The record of `call` as it is written."""
    payload = kind + _encode(call)
    return _FRAME.pack(len(payload), crc32(payload)) + payload


def records(data: bytes) -> Iterator[tuple[bytes, Call]]:
    """(kind, call) of each whole record of a segment; stops at one that is cut or damaged, as a crash leaves it."""
    for _, kind, call in frames(data):
        if call is not None:
            yield kind, call


def frames(data: bytes) -> Iterator[tuple[bytes, bytes, Call | None]]:
    """(the record as it stands, kind, call) of each whole record; the call is None where it is not understood."""
    at = 0
    while payload := _payload(data, at):
        end = at + _FRAME.size + len(payload)
        call: Call | None = None
        try:
            call = _decode(payload[1:])
        except (ValueError, RecursionError) as problem:  # whole, but not as we write it: its neighbours shall be read
            log.error("record_not_understood", why=type(problem).__name__)
        yield data[at:end], payload[:1], call
        at = end
    if at < len(data):
        log.warning("journal_damaged", read=at, unread=len(data) - at)


def _payload(data: bytes, at: int) -> bytes:
    """What the record at `at` holds; nothing where it is cut or damaged, or where the segment ends."""
    if len(data) - at < _FRAME.size:
        return b""
    length, crc = _FRAME.unpack_from(data, at)
    payload = data[at + _FRAME.size : at + _FRAME.size + length]
    return payload if len(payload) == length and crc32(payload) == crc else b""
