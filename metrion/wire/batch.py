"""Batch results: one usage for each item, kept with its id so that it is metered once however often it is fetched.

They come as JSON lines, of any length, or as a list inside one document. In `Reading.usage` each item is an `Item`, the
provider's usage object verbatim in it; in `Usage.parts` it is a part.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Raw

from metrion.call import Reading
from metrion.wire.format import LOST, Format, is_object, lose, trim
from metrion.wire.usage import Part, Usage, total

# Anthropic's batches hold 100,000 requests and OpenAI's 50,000, some 300 bytes each. Beyond, the row is marked.
MOST_ITEMS = 100_000


class Item(msgspec.Struct, omit_defaults=True):
    """One item's result: what a `Reading` of it alone would hold.

    `id` is the provider's id of its response. `shape` names the format of its usage where the results of one file are
    of several.
    """

    id: str
    model: str
    usage: Raw
    shape: str = ""
    tools: dict[str, int] = {}
    facts: dict[str, str] = {}


class _Named(msgspec.Struct):
    id: str


_encode = msgspec.json.Encoder().encode
_decode_name = msgspec.json.Decoder(_Named).decode
_One = Callable[[str, dict[str, Any], Reading], Usage]


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
            lose(self._reading)


def keep_item(reading: Reading, item: Item) -> None:
    """Add an item that has a usage; count the ones there is no room for."""
    if not is_object(item.usage):
        return
    if len(reading.usage) >= MOST_ITEMS:
        lose(reading)
        return
    reading.model = reading.model or item.model
    reading.usage.append(Raw(_encode(item)))


def item_of(own: Reading, *, id: str = "", shape: str = "") -> Item:
    """The item of a result that was read by itself; `id` is used where its response has none."""
    usage = own.usage[-1] if own.usage else Raw()
    return Item(own.response_id or id, own.model, usage, shape, own.tools, own.facts)


def stand_in(result: bytes, reading: Reading) -> str:
    """An id for a result whose response has none: its own text, and how many came before it."""
    return f"{blake2b(result, digest_size=16).hexdigest()}:{len(reading.usage)}"


def item_ids(reading: Reading) -> list[str]:
    """The id of each of a batch's items, in the order of its usage objects; "" where it has none."""
    return [_decode_name(item).id for item in reading.usage]


def understand(items: list[dict[str, Any]], reading: Reading, one: _One) -> Usage:
    """The sum of a batch's items, by `one` each. Batches have a price of their own, whatever tier an item names."""
    parts = []
    for item in items:
        own = Reading(model=item["model"], tools=item.get("tools", {}), facts=item.get("facts", {}))
        usage = one(item.get("shape", ""), item["usage"], own)
        for part in usage.parts or [Part(item["model"], usage)]:
            part.usage.service_tier = "batch"
            parts.append(Part(part.model or item["model"], part.usage, item["id"]))
    whole = total(parts)
    if LOST in reading.facts:
        whole.problem = f"{reading.facts[LOST]} items of the batch are not counted"
    return whole
