"""Counts: whole numbers out of a provider's usage object, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST = 2**53  # tokens; beyond this a figure is nonsense, and JSON numbers are no longer exact


class Counts:
    """Reads counts by their path; a figure that is no count reads as 0 and is noted in `problem`."""

    def __init__(self, usage: Mapping[str, Any]) -> None:
        self.usage = usage
        self.problem = ""

    def take(self, *path: str) -> int:
        """The count at `path`, or 0 where it is absent or null. Numbers may come as text, as in protobuf's JSON."""
        value: Any = self.usage
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return self.count(value, ".".join(path))

    def first(self, *paths: tuple[str, ...]) -> int:
        """The first count of `paths` that is not 0: for a figure that goes by several names."""
        return next(filter(None, (self.take(*path) for path in paths)), 0)

    def count(self, value: Any, name: str) -> int:
        """`value` as a count."""
        if value is None:
            return 0
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:20])
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
            self.note(f"{name} is {value!r:.40}")
            return 0
        return value

    def milliseconds(self, value: Any, name: str) -> int:
        """Seconds, which may be a fraction, as milliseconds."""
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MOST / 1000:
            return round(value * 1000)
        return self.count(value, name) * 1000

    def note(self, problem: str) -> None:
        """Say what is wrong; the first word stands."""
        self.problem = self.problem or problem

    def within(self, part: int, whole: int, names: str) -> None:
        """Note a part that is larger than its whole."""
        if part > whole:
            self.note(f"{names}: {part} above {whole}")

    def has(self, *keys: str) -> bool:
        """Whether any of `keys` is there, and not null."""
        return any(self.usage.get(key) is not None for key in keys)
