"""Bodies that are one JSON document, and the bodies of errors.

Contract: `feed` takes the body cut anywhere; `finish` says it ended.
"""

from __future__ import annotations

from metrion.call import Reading
from metrion.wire.error_body import message
from metrion.wire.format import WINDOW, Format, read, trim


class BodyReader:
    """Reads one document, when it is whole."""

    __slots__ = ("_document", "_format", "_reading")

    def __init__(self, format: Format, reading: Reading) -> None:
        self._format = format
        self._reading = reading
        self._document = bytearray()

    def feed(self, data: bytes) -> None:
        self._document += data
        trim(self._document)

    def finish(self) -> None:
        if self._document:
            read(self._format, bytes(self._document), self._reading)


class ErrorReader:
    """Reads the message of an error's body, whatever the format."""

    __slots__ = ("_body", "_reading")

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        if len(self._body) < WINDOW:
            self._body += data[:WINDOW]

    def finish(self) -> None:
        self._reading.error = message(bytes(self._body))
