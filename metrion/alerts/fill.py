"""Filling: a task of the server that makes sums of new and changed rules of the rows there are, in small steps."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter

import structlog

from metrion.alerts.sums import fill
from metrion.mail.sender import Write
from metrion.storage import alerts as stored
from metrion.storage.database import Database

_LOOK_SECONDS = 2.0
_RETRY_SECONDS = 60.0
log = structlog.get_logger("metrion.alerts")


class Filler:
    """Runs from `start` to `stop` on the event loop, between the writer's batches."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what the last process left."""
        self._task = asyncio.create_task(self._run(), name="metrion-fill")

    async def stop(self) -> None:
        """Leave the rest to the next start."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            began = perf_counter()
            try:
                left = await self._write(fill_some)
                wait = perf_counter() - began if left else _LOOK_SECONDS  # as long as it took: rows get their turn
            except Exception as problem:  # one rule that cannot be read must not end the task for all
                log.error("rules_not_filled", reason=str(problem), retry_in=_RETRY_SECONDS)
                wait = _RETRY_SECONDS
            await asyncio.sleep(wait)


def fill_some(database: Database) -> bool:
    """Go on with the first rule whose sums are not made yet, for a step; says whether there was one."""
    with database.begin() as connection:
        rule = stored.next_unfilled(connection)
        if rule is not None:
            fill(connection, rule)
    return rule is not None
