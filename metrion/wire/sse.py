"""Server-sent events: the documents in a stream of `data:` lines.

Contract: `feed` takes the body cut anywhere; `finish` says it ended. Most events are only searched for a usage: read are
the first ones (until the model is known), those with a usage or an error, and the last one.
Lines end in LF, CRLF or CR (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
"""

from __future__ import annotations

import re

from metrion.call import Reading
from metrion.wire.format import Format, read, trim

_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")  # atomic: the CR and the LF of one line end are not two
_OVERLAP = 4  # bytes of a blank line that may lie before a cut
_FIRST_EVENTS = 3  # events searched for the model's name before it is left at that
_ERROR = b'"error"'


class SseReader:
    """Reads a stream of events into a Reading."""

    __slots__ = ("_carry", "_format", "_last", "_mark", "_reading", "_searched", "_unseen")

    def __init__(self, format: Format, reading: Reading) -> None:
        self._format = format
        self._mark = format.mark.search
        self._reading = reading
        self._unseen = _FIRST_EVENTS
        self._carry = bytearray()  # the beginning of an event whose end has not come yet
        self._searched = 0  # bytes of it that hold no blank line
        self._last = b""  # the latest whole events, unless the last of them was read

    def feed(self, data: bytes) -> None:
        if self._carry or not data.endswith(_ENDS):
            self._collect(data)
        elif self._unseen or self._mark(data) or data.find(_ERROR) >= 0:
            self._read(data)
        else:
            self._last = data

    def finish(self) -> None:
        self._read(self._last + bytes(self._carry))
        if self._last:
            self._take(data_of(self._last))

    def _collect(self, data: bytes) -> None:
        carry = self._carry
        carry += data
        end = 0
        for blank in _BLANK_LINE.finditer(carry, max(self._searched - _OVERLAP, 0)):
            end = blank.end()
        if end:
            self._read(bytes(carry[:end]))
            del carry[:end]
        trim(carry)
        self._searched = len(carry)

    def _read(self, events: bytes) -> None:
        for event in _BLANK_LINE.split(events):
            if document := data_of(event):
                if self._unseen or self._mark(document) or document.find(_ERROR) >= 0:
                    self._last = b""
                    self._take(document)
                else:
                    self._last = event

    def _take(self, document: bytes) -> None:
        if document == b"[DONE]":
            self._reading.done = True
            return
        read(self._format, document, self._reading)
        if self._unseen:
            self._unseen = 0 if self._reading.model else self._unseen - 1


def data_of(event: bytes) -> bytes:
    """The data of one event: its `data:` lines, joined."""
    return b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
