"""Pace: how much work a step takes on, so that whoever waits behind it never waits for long, however slow the disk."""

from __future__ import annotations

from time import perf_counter

from metrion.storage.database import Database

_FIRST = 400  # rows of a kind of work that was not timed yet
_FEWEST, _MOST = 200, 50_000  # a step of fewer costs nearly as much
_MOST_BETWEEN = 32  # steps


class Pace:
    """How many rows of each kind of work take about `seconds`, learnt from the steps before. For one thread."""

    def __init__(self, seconds: float, first: int = _FIRST) -> None:
        self.seconds = seconds
        self._first = first
        self._fewest = min(first, _FEWEST)
        self._fit: dict[str, int] = {}
        self._steps, self._between = 0, 1  # since the last checkpoint, and from one to the next

    def rows(self, kind: str) -> int:
        """How many to take on."""
        return self._fit.get(kind, self._first)

    def took(self, kind: str, rows: int, began: float) -> None:
        """Learn from a step of so many rows that began then (`perf_counter`); of a few, that it took long."""
        offered, seconds = self.rows(kind), perf_counter() - began
        if rows * 2 >= offered or seconds > self.seconds:
            fit = min(rows * self.seconds / seconds, offered * 2, _MOST)
            self._fit[kind] = max(int(fit), offered // 2, self._fewest)

    def settle(self, database: Database) -> None:
        """Move what steps wrote into the database file, after as many of them as keep that short.

        After each it would wait for the disk twice as long as it works; one for a hundred would take as long as ten.
        """
        self._steps += 1
        if self._steps < self._between:
            return
        self._steps, began = 0, perf_counter()
        database.checkpoint()
        longer = perf_counter() - began < self.seconds
        self._between = min(self._between + 1, _MOST_BETWEEN) if longer else max(self._between // 2, 1)
