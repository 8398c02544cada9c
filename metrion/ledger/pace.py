"""Pace: how much work a step takes on, so that whoever waits behind it never waits for long, however slow the disk."""

from __future__ import annotations

from time import perf_counter

_FIRST = 400  # rows of a kind of work that was not timed yet
_FEWEST, _MOST = 200, 50_000  # a step of fewer costs nearly as much


class Pace:
    """How many rows of each kind of work take about `seconds`, learnt from the steps before. For one thread."""

    def __init__(self, seconds: float, first: int = _FIRST) -> None:
        self.seconds = seconds
        self._first = first
        self._fewest = min(first, _FEWEST)
        self._fit: dict[str, int] = {}

    def rows(self, kind: str) -> int:
        """How many to take on."""
        return self._fit.get(kind, self._first)

    def took(self, kind: str, rows: int, began: float) -> None:
        """Learn from a step of so many rows that began then (`perf_counter`); of a few, that it took long."""
        offered, seconds = self.rows(kind), perf_counter() - began
        if rows * 2 >= offered or seconds > self.seconds:
            fit = min(rows * self.seconds / seconds, offered * 2, _MOST)
            self._fit[kind] = max(int(fit), offered // 2, self._fewest)
