"""The caretaker: the server's task that erases accounts when they end, and rows that are too old every hour."""

from __future__ import annotations

import asyncio
from time import monotonic

from metrion.config import Settings
from metrion.kit.background import Background
from metrion.ledger.erasure import Eraser
from metrion.ledger.journal import Journal
from metrion.ledger.writer import Writer

_OLD_ROWS_SECONDS = 3600.0  # between two looks for rows that are too old
_SOON_SECONDS = 5.0  # between two looks for calls of deleted accounts that ended late, or rows that are still needed


class Beside:
    """A running server: jobs go between the writer's batches."""

    def __init__(self, writer: Writer, journal: Journal) -> None:
        self.run = writer.run
        self.closed_segments = journal.seal
        self.drop = writer.drop

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Caretaker(Background):
    """Erases between the writer's batches."""

    def __init__(self, settings: Settings, writer: Writer, journal: Journal) -> None:
        super().__init__("caretaker", failed="erasing_failed")
        self._writer = writer
        self._eraser = Eraser(settings, Beside(writer, journal))
        self._dropped = 0
        self._next_look = monotonic()

    async def work(self) -> float:
        """Erase who ended, clean the journal of them, and delete what is too old."""
        await self._eraser.erase_accounts()
        if self._writer.dropped != self._dropped:
            self._dropped = self._writer.dropped
            await self._eraser.clean_journal()
        if monotonic() >= self._next_look:
            left = await self._eraser.delete_old_rows()
            self._next_look = monotonic() + (_SOON_SECONDS if left else _OLD_ROWS_SECONDS)
        return _SOON_SECONDS if self._eraser.gone else self._next_look - monotonic()
