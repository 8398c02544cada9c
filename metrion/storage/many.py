"""Rows in as few statements as can be: for what the writer writes with each batch.

Each step of SQLite hands the interpreter's lock over, and waits up to 5 ms to get it back, woken in vain after each of
the event loop's callbacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from metrion.storage.database import Connection

_MOST = 512  # rows in one statement; of 37 columns, within SQLite's 32,766 parameters


class Many:
    """An INSERT of any number of rows: `begin` up to VALUES, so many columns, and `end`."""

    def __init__(self, begin: str, columns: int, end: str) -> None:
        one = f"({','.join('?' * columns)})"
        sizes = [1 << bit for bit in reversed(range(_MOST.bit_length()))]
        self._statements = [(size, f"{begin} {','.join([one] * size)} {end}") for size in sizes]

    def write(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        at = 0
        for size, statement in self._statements:
            while len(rows) - at >= size:
                connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows[at : at + size])))
                at += size
