"""Downloads: files that are made while they are sent, for as long as whoever asked is signed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Send

from metrion.accounts.sessions import find_session
from metrion.storage.database import Connection
from metrion.web.visit import Visit

T = TypeVar("T")
log = structlog.get_logger("metrion.web")


class SignedOut(Exception):
    """The session ended while the file was sent."""


class SignedInReads:
    """Reads for a download; each raises SignedOut where the visit's session has ended."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    async def __call__(self, query: Callable[[Connection], T]) -> T:
        """Run `query` on a connection that only reads, off the event loop."""

        def look(connection: Connection) -> T:
            if find_session(connection, self._visit.cookie) is None:
                raise SignedOut
            return query(connection)

        return await self._visit.site.read(look)


class Download(StreamingResponse):
    """Cuts the connection on SignedOut, so that nobody takes a part for the whole."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except SignedOut:
            log.info("download_cut", why="the session ended")
