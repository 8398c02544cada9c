"""Format: what the readers need to know about one API's way of answering.

Every format, however it is framed (one body, server-sent events, a JSON array, JSON lines), is a row of JSON documents.
The framing finds the documents, `Format.read` takes from one document what the row needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import Raw

from metrion.call import Reading

WINDOW = 64 * 1024  # bytes kept at either end of what is too long to be kept whole
LIMIT = 4 * 1024 * 1024  # bytes of one document beyond which only its two ends are kept
SALVAGED = "salvaged"  # the fact that says that an answer could not be read, but that a usage was found in it
_EMPTY = len("{}")  # a usage that says nothing is none
LOST = "items_lost"  # the fact that says how many results of a batch are not counted
_USAGES = 16  # usage objects kept of one answer; they are cumulative, so the first and the latest ones tell all

_MODEL = re.compile(rb'"model(?:Version)?"\s*:\s*"([^"\\]{1,200})"')
_ID = re.compile(rb'"(?:id|responseId)"\s*:\s*"([^"\\]{1,200})"')
_BRACE = re.compile(rb'["{}]')
_decode = msgspec.json.Decoder().decode
_STRING_END = re.compile(rb'(?:[^"\\]|\\.)*"', re.DOTALL)


class Format(NamedTuple):
    """One wire format. `mark` finds the key of its usage; `read` raises ValueError on a document not as documented.

    `closing` stands at the end of the event after which nothing comes, and which clients take for the end of the
    stream; "" where only the body's end tells. `results`: its documents are a batch's, each of whose items counts.
    """

    mark: re.Pattern[bytes]
    read: Callable[[bytes, Reading], None]
    closing: bytes = b""
    results: bool = False


def usage_mark(key: str) -> re.Pattern[bytes]:
    """A pattern for an object under `key`; `null`, which some APIs send with each event, is none."""
    return re.compile(rb'"' + key.encode() + rb'"\s*:\s*\{')


def is_object(value: Raw) -> bool:
    """Whether the value is an object, as against null or nothing."""
    return len(value) > 0 and bytes(value).startswith(b"{")


def is_there(value: Raw) -> bool:
    """Whether there is a value that is not null."""
    return len(value) > 0 and bytes(value) != b"null"


def keep_usage(reading: Reading, usage: Raw) -> None:
    """Add a usage object in the order it came; a copy, or it would keep the whole document alive."""
    if len(usage) > _EMPTY and is_object(usage):
        reading.usage.append(usage.copy())
        if len(reading.usage) > _USAGES:
            del reading.usage[1]


def replace_usage(reading: Reading, usage: Raw) -> None:
    """Keep the latest usage object alone: for APIs whose later figures hold the earlier ones."""
    if len(usage) > _EMPTY and is_object(usage):
        reading.usage = [usage.copy()]


def trim(document: bytearray) -> None:
    """Drop the middle of what grew beyond `LIMIT`.

    What makes an answer long is the text of one string (an image in base64), so the ends mostly still make a document.
    """
    if len(document) > LIMIT:
        del document[WINDOW:-WINDOW]


def read(format: Format, document: bytes, reading: Reading) -> None:
    """Let `format` read a document; take the little that can be found by search from one that cannot be parsed."""
    try:
        format.read(document, reading)
    except ValueError:  # msgspec's and Unicode's errors are ValueErrors
        if format.results:
            lose(reading)
            return
        with suppress(ValueError):
            _salvage(format, document, reading)


def lose(reading: Reading) -> None:
    """Count results that are not kept: one, or all of a document."""
    reading.facts[LOST] = str(int(reading.facts.get(LOST, "0")) + 1)


def _salvage(format: Format, document: bytes, reading: Reading) -> None:
    if not reading.model and (
        model := _MODEL.search(document, 0, WINDOW) or _MODEL.search(document, len(document) - WINDOW)
    ):
        reading.model = model[1].decode(errors="replace")
    if not reading.response_id and (own_id := _ID.search(document, 0, WINDOW)):
        reading.response_id = own_id[1].decode(errors="replace")
    last = next(reversed(list(format.mark.finditer(document))), None)
    if last and (end := _object_end(document, last.end())):
        usage = Raw(document[last.end() - 1 : end])
        _decode(usage)  # what is no JSON itself would make the journal's record none
        reading.facts[SALVAGED] = "true"
        if not reading.usage or bytes(reading.usage[-1]) != bytes(usage):  # it may have been read before the error came
            keep_usage(reading, usage)


def _object_end(document: bytes, position: int) -> int:
    """The end of the object whose opening brace stands before `position`; 0 where it was cut off."""
    depth = 1
    while found := _BRACE.search(document, position):
        position = found.end()
        if found[0] == b'"':
            closing = _STRING_END.match(document, position)
            if not closing:
                return 0
            position = closing.end()
        else:
            depth += 1 if found[0] == b"{" else -1
            if depth == 0:
                return position
    return 0
