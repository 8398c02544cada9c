"""A JSON array that is sent element by element: Gemini's streams without `alt=sse`.

Contract: `feed` takes the body cut anywhere; each element of the outer array is read as soon as it is whole.
"""

from __future__ import annotations

import re

from metrion.call import Reading
from metrion.wire.format import Format, read, trim

_STRUCTURE = re.compile(rb'["{}]')
_IN_STRING = re.compile(rb'["\\]')


class ArrayReader:
    """Finds the array's elements by their braces, and reads each."""

    __slots__ = ("_carry", "_depth", "_escaped", "_format", "_in_string", "_reading")

    def __init__(self, format: Format, reading: Reading) -> None:
        self._format = format
        self._reading = reading
        self._carry = bytearray()  # the element under way
        self._depth = 0  # of braces
        self._in_string = False
        self._escaped = False  # the last byte was a backslash inside a string

    def feed(self, data: bytes) -> None:
        start = position = 0
        if self._escaped and data:
            self._escaped, position = False, 1
        while found := (_IN_STRING if self._in_string else _STRUCTURE).search(data, position):
            position = found.end()
            token = found[0]
            if token == b"\\":
                self._escaped = position == len(data)
                position += 1
            elif token == b'"':
                self._in_string = not self._in_string
            elif token == b"{":
                if self._depth == 0:
                    start = position - 1
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._read(data[start:position])
        if self._depth > 0:
            self._carry += data[start:]
            trim(self._carry)

    def finish(self) -> None:
        if self._carry:  # cut off inside an element
            read(self._format, bytes(self._carry), self._reading)

    def _read(self, end: bytes) -> None:
        self._carry += end
        document = bytes(self._carry)
        self._carry.clear()
        read(self._format, document, self._reading)
