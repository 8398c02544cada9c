"""Background work: a task of the server that does what is due, rests, and goes on whatever goes wrong.

`work` is asked again and again; it says for how many seconds nothing is due. It must not hold up the event loop: what
takes long goes to a thread, and what writes goes through the writer, between two batches.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

import structlog

from metrion.errors import MetrionError
from metrion.kit.logs import place_of

PAUSES = (1.0, 5.0, 20.0, 60.0)  # seconds before it is tried again, after as many failures in a row; then the last
_CANCEL_SECONDS = 0.1
log = structlog.get_logger("metrion.background")


class Background(ABC):
    """One task on the event loop, from `start` to `stop`. `failed`: what the log calls it when the work fails."""

    def __init__(self, name: str, *, failed: str) -> None:
        self._name, self._failed = name, failed
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def work(self) -> float:
        """Do what is due; returns for how many seconds there is nothing more to do."""

    def start(self) -> None:
        """Begin, with what the last process left."""
        self._task = asyncio.create_task(self._run(), name=f"metrion-{self._name}")

    def wake(self) -> None:
        """Something may be due: look at once, or once more after what is under way. On the event loop."""
        self._woken.set()

    async def stop(self) -> None:
        """Break off; what is left is for the next start."""
        while self._task is not None and not self._task.done():
            self._task.cancel()  # again and again: wait_for, before Python 3.12, may swallow it
            await asyncio.wait([self._task], timeout=_CANCEL_SECONDS)

    async def _run(self) -> None:
        failures = 0
        while True:
            self._woken.clear()
            try:
                rest = await self.work()
                failures = 0
            except Exception as problem:  # whatever it is, the work must not end with it
                rest = PAUSES[min(failures, len(PAUSES) - 1)]
                failures += 1
                self._tell(problem, rest)
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._woken.wait()

    def _tell(self, problem: Exception, rest: float) -> None:
        """Log what went wrong. Our own errors say what to do; others' words may hold a secret, so only where it was."""
        if isinstance(problem, MetrionError):
            log.error(self._failed, reason=str(problem), retry_in=rest)
        else:
            log.error(self._failed, reason=type(problem).__name__, at=place_of(problem), retry_in=rest)
