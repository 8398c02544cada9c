"""Looking hosts up without being held up: the system's resolver blocks, for as long as a name server likes.

On threads of its own, for uvloop's look-ups share four that the proxy needs; daemons, for the server must be able to
stop. One look-up of a host at a time: a host whose name server never answers holds one thread, and no other.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

MOST = 32  # threads

Resolve = Callable[[str, int], list[str]]  # addresses of a host, in the order to try them; raises OSError, UnicodeError


class Resolver:
    """For one event loop."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._room = asyncio.Semaphore(MOST)
        self._asked: dict[tuple[str, int], asyncio.Task[list[str]]] = {}  # look-ups under way

    async def find(self, host: str, port: int) -> list[str]:
        """What `resolve` says; whoever gives up waiting leaves the look-up to the next who asks."""
        asked = self._asked.get((host, port))
        if asked is None:
            asked = self._asked[host, port] = asyncio.create_task(self._look_up(host, port))
            asked.add_done_callback(lambda done: self._looked_up(host, port, done))
        return await asyncio.shield(asked)

    def _looked_up(self, host: str, port: int, done: asyncio.Task[list[str]]) -> None:
        del self._asked[host, port]
        if not done.cancelled():
            done.exception()  # seen, though whoever asked may have given up

    async def _look_up(self, host: str, port: int) -> list[str]:
        async with self._room:
            found: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
            threading.Thread(target=self._run, args=(found, host, port), name="metrion-resolve", daemon=True).start()
            return await found

    def _run(self, found: asyncio.Future[list[str]], host: str, port: int) -> None:
        try:
            settle = partial(_settle, found, self._resolve(host, port), None)
        except Exception as problem:  # whatever it is, whoever waits is told: nobody else would
            settle = partial(_settle, found, [], problem)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            found.get_loop().call_soon_threadsafe(settle)

    async def close(self) -> None:
        """Wait for nothing more; threads that are held end by themselves."""
        asked = list(self._asked.values())
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


def _settle(found: asyncio.Future[list[str]], addresses: list[str], problem: Exception | None) -> None:
    if found.done():
        return
    if problem is None:
        found.set_result(addresses)
    else:
        found.set_exception(problem)
