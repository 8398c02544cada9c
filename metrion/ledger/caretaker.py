"""The caretaker: the server's task that erases accounts when they end, and rows that are too old every hour."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic

import structlog

from metrion.config import Settings
from metrion.ledger.erasure import Eraser
from metrion.ledger.journal import Journal
from metrion.ledger.writer import Writer

_OLD_ROWS_SECONDS = 3600.0  # between two looks for rows that are too old
_SOON_SECONDS = 5.0  # between two looks for calls of deleted accounts that ended late, or rows that are still needed
_RETRY_SECONDS = 30.0
log = structlog.get_logger("metrion.ledger")


class Beside:
    """A running server: jobs go between the writer's batches."""

    def __init__(self, writer: Writer, journal: Journal) -> None:
        self.run = writer.run
        self.closed_segments = journal.seal
        self.drop = writer.drop

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Caretaker:
    """Runs from `start` to `stop` on the event loop."""

    def __init__(self, settings: Settings, writer: Writer, journal: Journal) -> None:
        self._writer = writer
        self._eraser = Eraser(settings, Beside(writer, journal))
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0
        self._next_look = monotonic()

    def start(self) -> None:
        """Begin, with what the last process left."""
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """An account may have ended."""
        self._wake.set()

    async def stop(self) -> None:
        """Leave the rest to the next start."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._work()
                wait = _SOON_SECONDS if self._eraser.gone else self._next_look - monotonic()
            except Exception as problem:  # whatever it is, deleted accounts must go on being erased
                log.error("erasing_failed", reason=str(problem), retry_in=_RETRY_SECONDS)
                wait = _RETRY_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(wait, 0))

    async def _work(self) -> None:
        await self._eraser.erase_accounts()
        if self._writer.dropped != self._dropped:
            self._dropped = self._writer.dropped
            await self._eraser.clean_journal()
        if monotonic() >= self._next_look:
            left = await self._eraser.delete_old_rows()
            self._next_look = monotonic() + (_SOON_SECONDS if left else _OLD_ROWS_SECONDS)
