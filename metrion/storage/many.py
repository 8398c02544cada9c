"""Rows in as few statements as can be: for what the writer writes with each batch.

Each step of SQLite hands the interpreter's lock over, and waits up to 5 ms to get it back, woken in vain after each of
the event loop's callbacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from metrion.storage.database import Connection

Row = tuple[Any, ...]
_MOST = 512  # rows in one statement; of 37 columns, within SQLite's 32,766 parameters


class Many:
    """An INSERT of any number of rows: `begin` up to VALUES, so many columns, and `end`.

    In the first `alike` of them, rows that are written together have the same values; fewer than `least` rows are not
    written.
    """

    def __init__(self, begin: str, columns: int, end: str, *, alike: int = 0, least: int = 1) -> None:
        same = [f"?{number}" for number in range(1, alike + 1)]
        one = f"({','.join(same + ['?'] * (columns - alike))})"
        sizes = [size for bit in reversed(range(_MOST.bit_length())) if (size := 1 << bit) >= least]
        self._statements = [(size, f"{begin} {','.join([one] * size)} {end}") for size in sizes]
        self._alike = alike

    def write(self, connection: Connection, rows: Sequence[Row]) -> Sequence[Row]:
        """Returns those that were too few."""
        at, alike = 0, self._alike
        for size, statement in self._statements:
            while len(rows) - at >= size:
                some = rows[at : at + size]
                own = chain.from_iterable(row[alike:] for row in some) if alike else chain.from_iterable(some)
                connection.exec_driver_sql(statement, (*some[0][:alike], *own))
                at += size
        return rows[at:]
