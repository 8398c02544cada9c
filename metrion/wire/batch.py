"""Batch results: one usage for each item, kept with its id so that it is metered once however often it is fetched.

They come as JSON lines, of any length. In `Reading.usage` each item is `{"id", "model", "usage"}`, the provider's usage
object verbatim in it; in `Usage.parts` it is a part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire.format import Format, is_object, trim
from metrion.wire.usage import Part, Usage, total

# Anthropic's batches hold 100,000 requests and OpenAI's 50,000, some 300 bytes each. Beyond, the row is marked.
MOST_ITEMS = 100_000
LOST = "items_lost"


class Item(msgspec.Struct):
    """One item's result. `id` is the provider's id of its response, "" where it has none."""

    id: str
    model: str
    usage: Raw


class _Named(msgspec.Struct):
    id: str


_encode = msgspec.json.Encoder().encode
_decode_name = msgspec.json.Decoder(_Named).decode


class ResultsReader:
    """Reads those lines that hold a usage; `feed` takes the body cut anywhere, `finish` says it ended."""

    __slots__ = ("_format", "_line", "_reading")

    def __init__(self, format: Format, reading: Reading) -> None:
        self._format = format
        self._reading = reading
        self._line = bytearray()  # a line whose end has not come yet

    def feed(self, data: bytes) -> None:
        end = data.rfind(b"\n") + 1
        if end:
            lines = bytes(self._line) + data[:end]
            self._line.clear()
            self._read(lines)
        self._line += data[end:]
        trim(self._line)

    def finish(self) -> None:
        self._read(bytes(self._line))

    def _read(self, lines: bytes) -> None:
        mark = self._format.mark.search
        if mark(lines):
            for line in lines.split(b"\n"):
                if mark(line):
                    self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        try:
            self._format.read(line, self._reading)
        except ValueError:  # cut off, or so long that its middle was dropped
            _lose(self._reading)


def _lose(reading: Reading) -> None:
    reading.facts[LOST] = str(int(reading.facts.get(LOST, "0")) + 1)


def keep_item(reading: Reading, item: Item) -> None:
    """Add an item that has a usage; count the ones there is no room for."""
    if not is_object(item.usage):
        return
    if len(reading.usage) >= MOST_ITEMS:
        _lose(reading)
        return
    reading.model = reading.model or item.model
    reading.usage.append(Raw(_encode(item)))


def item_ids(reading: Reading) -> list[str]:
    """The id of each of a batch's items, in the order of its usage objects; "" where it has none."""
    return [_decode_name(item).id for item in reading.usage]


def understand(items: list[dict[str, Any]], reading: Reading, one: Callable[[dict[str, Any], Reading], Usage]) -> Usage:
    """The sum of a batch's items, by `one` each. Batches have a price of their own, whatever tier an item names."""
    parts = []
    for item in items:
        usage = one(item["usage"], Reading(model=item["model"]))
        usage.service_tier = "batch"
        parts.append(Part(item["model"], usage, item["id"]))
    whole = total(parts)
    if LOST in reading.facts:
        whole.problem = f"{reading.facts[LOST]} items of the batch are not counted"
    return whole
