"""Filling: a task of the server that makes sums of new and changed rules of the rows there are, in small steps."""

from __future__ import annotations

from time import perf_counter

from metrion.alerts.sums import fill
from metrion.kit.background import Background
from metrion.mail.sender import Write
from metrion.storage import alerts as stored
from metrion.storage.database import Database

_LOOK_SECONDS = 2.0


class Filler(Background):
    """Fills between the writer's batches."""

    def __init__(self, write: Write) -> None:
        super().__init__("fill", failed="rules_not_filled")
        self._write = write

    async def work(self) -> float:
        """Fill for a step; rests as long as that took, so that rows get their turn."""
        began = perf_counter()
        left = await self._write(fill_some)
        return perf_counter() - began if left else _LOOK_SECONDS


def fill_some(database: Database) -> bool:
    """Go on with the first rule whose sums are not made yet, for a step; says whether there was one."""
    with database.begin() as connection:
        rule = stored.next_unfilled(connection)
        if rule is not None:
            fill(connection, rule)
    return rule is not None
