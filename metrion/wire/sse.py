"""Server-sent events: the documents in a stream of `data:` lines.

Contract: `feed` takes the body cut anywhere; `finish` says it ended. Most events are only searched for a usage: read
are the first ones (until the model is known), those with a usage or an error, and the last one.
Lines end in LF, CRLF or CR (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
"""

from __future__ import annotations

from metrion.call import Reading
from metrion.kit.held import Held
from metrion.wire.format import Format, read, trim

_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")  # how a blank line ends, and with it an event
_LONGEST_END = 3
_NEVER = b"\0"  # stands in no JSON
_FIRST_EVENTS = 32  # events searched for the model's name before it is left at that: tools may speak before it
_ERROR = b'"error"'
_USAGE = b'"usage'
_TOGETHER = 16  # pieces that are kept
_SMALL = 4096  # bytes of one that is
_FIELDS = (
    b"data:",
    b"event:",
)  # what an event begins with; a comment, sent to keep the line open, is not the last event


class SseReader:
    """Reads a stream of events into a Reading."""

    __slots__ = (
        "_carry",
        "_closing",
        "_format",
        "_held",
        "_kept",
        "_key",
        "_last",
        "_mark",
        "_null",
        "_reading",
        "_searched",
        "_unseen",
    )

    def __init__(self, format: Format, reading: Reading, held: Held | None = None) -> None:
        self._format = format
        self._mark = format.mark.search
        # What every match of the mark begins with, and what is none: counting them takes a fifth of the mark's time.
        self._key = _USAGE if format.mark.pattern.startswith(_USAGE) else b'"'
        self._null = self._key + b'":null'
        self._closing = format.closing or _NEVER
        self._reading = reading
        self._held = held
        self._kept: list[bytes] = []
        self._unseen = _FIRST_EVENTS
        self._carry = bytearray()  # the beginning of an event whose end has not come yet
        self._searched = 0  # bytes of it that hold no blank line
        self._last = b""  # the latest whole events, unless the last of them was read

    def keeps(self, data: bytes) -> bool:
        """Keep whole events, to be looked at with others later; False, and nothing is done, where they must be `fed`.

        Events come one by one, thousands a second, and nearly all hold nothing: looked at together they cost a third.
        """
        kept = self._kept
        if (
            len(kept) == _TOGETHER
            or self._unseen
            or self._carry
            or len(data) > _SMALL
            or not data.endswith(_ENDS)
            or data.find(self._closing) >= 0
        ):
            return False
        kept.append(data)
        return True

    def feed(self, data: bytes) -> None:
        self._look_at_kept()
        if self.keeps(data):
            return
        if self._held is not None:
            self._held.add(data)
        if self._carry or not data.endswith(_ENDS):
            self._collect(data)
        else:
            self._read(data)

    def _look_at_kept(self) -> None:
        kept = self._kept
        if not kept:
            return
        events = b"".join(kept)
        if self._held is not None:
            self._held.add(events)
        if (
            events.find(_ERROR) >= 0
            or (events.count(self._key) != events.count(self._null) and self._mark(events))
            or not kept[-1].startswith(_FIELDS)
        ):
            self._read(events)
        else:
            self._last = kept[-1]
        kept.clear()

    def finish(self) -> None:
        self._look_at_kept()
        self._read(self._last)
        self._read(bytes(self._carry))
        if self._last:
            self._take(data_of(self._last))

    def _collect(self, data: bytes) -> None:
        """Add a cut piece; go on with the events that are whole by now."""
        carry = self._carry
        carry += data
        end = 0
        if b"\n" in data or b"\r" in data:
            for blank in _ENDS:
                if (found := carry.rfind(blank, max(self._searched - _LONGEST_END, 0))) >= 0:
                    end = max(end, found + len(blank))
        if end:
            events = bytes(carry[:end])
            del carry[:end]
            self._read(events)
        trim(carry)
        self._searched = len(carry)

    def _read(self, events: bytes) -> None:
        for event in _with_line_feeds(events).split(b"\n\n"):
            if document := data_of(event):
                if (
                    self._unseen
                    or self._mark(document)
                    or document.find(_ERROR) >= 0
                    or document.find(self._closing) >= 0
                ):
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
    """The data of one event, its lines ended by LF: its `data:` lines, joined."""
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].strip()
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))


def _with_line_feeds(events: bytes) -> bytes:
    """Events with LF alone at their line ends; in JSON, a CR stands nowhere else."""
    return events.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in events else events
