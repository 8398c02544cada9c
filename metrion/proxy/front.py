"""The one listener's connections: requests come in here; proxied ones go to an `Exchange`, pages to uvicorn.

A connection carries one request at a time; what a client sends ahead waits. Everything a client can do wrong at this
level (framing, size, silence, not reading) ends here.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from metrion.proxy import http1, refusal
from metrion.proxy.handler import Exchange
from metrion.proxy.headers import without_upgrade
from metrion.proxy.http1 import BadMessage, BodyReader, TooManyHeaders
from metrion.proxy.opening import Opening
from metrion.proxy.refusal import Refusal
from metrion.proxy.target import family_of

if TYPE_CHECKING:
    from metrion.proxy.proxy import Proxy

_NEVER = float("inf")
KEEP_ALIVE_SECONDS = 75.0
_LINGER_SECONDS = 5.0  # how long the rest of a refused request is read, so that its refusal arrives
_AHEAD_BYTES = 64 * 1024  # of a next request sent before this one is answered
_AT_ONCE = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds
_HEAD_END = len(b"\r\n\r\n")
_EMPTY_LINES = re.compile(rb"(?:\r\n)++")
_PATH = re.compile(rb"[^ ]{1,32} ([^ ?]{1,512})")


class PageProtocol(HttpToolsProtocol):
    """uvicorn's side of a connection, while it serves a page. `front` is told when the page is out."""

    front: Front

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the front keeps the time between requests
        self.front.page_answered()


class Front(asyncio.Protocol):
    """One client connection. `new_page`: makes uvicorn's side, once a page is asked for."""

    __slots__ = (
        "_body",
        "_buffer",
        "_closing",
        "_linger",
        "_new_page",
        "_opening",
        "_page",
        "_page_active",
        "_proxy",
        "_reading_paused",
        "_state",
        "_stopping",
        "_transport",
        "_writing_paused",
        "deadline",
        "exchange",
    )

    def __init__(self, proxy: Proxy, state: ServerState, new_page: Callable[[], PageProtocol]) -> None:
        self._proxy = proxy
        self._state = state
        self._new_page = new_page
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._buffer = b""
        self._body: BodyReader | None = None  # of the request being read
        self.exchange: Exchange | None = None
        self._opening: Opening | None = None  # the last request's
        self._page: PageProtocol | None = None
        self._page_active = False
        self._linger = False
        self._closing = False
        self._stopping = False
        self._reading_paused = False
        self._writing_paused = False
        self.deadline = _NEVER  # loop time by which the client must have done something

    # ── the connection ────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._proxy.fronts.add(self)
        self._state.connections.add(cast(Any, self))
        self.deadline = self._proxy.loop.time() + self._proxy.settings.client_head_timeout

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.fronts.discard(self)
        self._state.connections.discard(cast(Any, self))
        self._closing = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.on_client_gone()
        if self._page is not None:
            self._page.connection_lost(exc)

    def shutdown(self) -> None:
        """uvicorn stops: an idle connection closes, a busy one after its answer."""
        self._stopping = True
        if self._page is not None and self._page_active:
            self._page.shutdown()
        elif self.exchange is None and not self._closing:
            self._close()

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow this one here."""
        return not self._stopping and not self._closing

    def _close(self) -> None:
        """Close once everything written is out, or when the client has not read it for too long."""
        self._closing = True
        self.deadline = self._proxy.loop.time() + self._proxy.settings.client_stall_timeout
        self._transport.close()

    def cut(self) -> None:
        """Close at once and with RST: a client that reads to the end of the connection must not take this for one."""
        self.exchange = None
        self._closing = True
        if not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()

    # ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._page_active:
            self._feed_page(data)
        elif self._linger or self._body is not None:
            self._feed_body(data)
        elif self.exchange is not None:
            self._buffer += data
            if len(self._buffer) > _AHEAD_BYTES:
                self.pause_request()
        else:
            self._read_head(self._buffer + data if self._buffer else data)

    def _read_head(self, data: bytes) -> None:
        if self._reading_paused:  # for what came ahead, which is read now
            self.resume_request()
        last, settings = self._opening, self._proxy.settings
        if last is not None and (known := last.taken_over(data, self._proxy.accounts.version)):
            start, length = known
            if start <= settings.max_header_bytes + _HEAD_END:
                self._begin(last, length, data, start)
                return
        if data.startswith(b"\r") and (empty := _EMPTY_LINES.match(data)):  # RFC 9112 §2.2: they are ignored
            data = data[empty.end() :]
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > settings.max_header_bytes:
            if len(data) > settings.max_header_bytes + _HEAD_END - 1:
                self._refuse(
                    data,
                    431,
                    "headers_too_large",
                    f"the request's headers are larger than {settings.max_header_bytes:,} bytes.",
                )
            else:
                if data and not self._buffer:
                    self.deadline = self._proxy.loop.time() + settings.client_head_timeout
                self._buffer = data
            return
        self._buffer = b""
        try:
            opening, length = self._opening_of(data[:end])
        except TooManyHeaders as problem:
            self._refuse(data, 431, "too_many_headers", f"{problem}.")
            return
        except BadMessage as problem:
            self._refuse(data, 400, "bad_http", f"this is not a valid HTTP request: {problem}.")
            return
        if opening.proxied:
            self._begin(opening, length, data, end + _HEAD_END)
        else:
            self._await_body(length)
            if opening.closes:
                self._stopping = True
            head = without_upgrade(data[:end]) if b"upgrade" in opening.named else data[:end]
            self._open_page(head + b"\r\n\r\n", data[end + _HEAD_END :])

    def _begin(self, opening: Opening, length: int, data: bytes, start: int) -> None:
        """Open an exchange for a proxied request, whose body begins at `start` of `data`."""
        self._buffer = b""
        if opening.closes:
            self._stopping = True
        exchange = self.exchange = Exchange(self._proxy, self, opening, length)
        end = start + length
        if length > 0 and end <= len(data):
            self.deadline = _NEVER
            exchange.open(data[start:end])
        else:
            end = start
            self._await_body(length)
            exchange.open(None)
        if end < len(data):
            self._go_on(data[end:])

    def _await_body(self, length: int) -> None:
        self._body = http1.reader(length) if length else None
        self.deadline = self._proxy.loop.time() + self._proxy.settings.client_body_timeout if length else _NEVER

    def _go_on(self, rest: bytes) -> None:
        """Take what came with a proxied request's head."""
        if self.exchange is None and not self._linger:  # answered already: this is the next request
            self._buffer = rest
            if len(rest) > _AHEAD_BYTES:
                self.pause_request()
            self._proxy.loop.call_soon(self._read_ahead)
        else:
            self.data_received(rest)

    def _opening_of(self, head: bytes) -> tuple[Opening, int]:
        """What a head decides, and the body's length; raises BadMessage."""
        version = self._proxy.accounts.version
        opening = Opening(http1.parse_request(head, self._proxy.settings.max_headers))
        length = opening.length()
        if opening.proxied:
            opening.decide(self._proxy)
            if opening.identity is not None and opening.refusal is None:
                opening.remember(head, version)
                self._opening = opening
        return opening, length

    def _feed_body(self, data: bytes) -> None:
        if self._linger and self._body is None:
            return
        assert self._body is not None
        try:
            piece, rest = self._body.feed(data)
        except BadMessage as problem:
            self._body = None
            if self.exchange is not None:
                self.exchange.on_bad_body(str(problem))
            else:
                self._close()
            return
        last = self._body.done
        if last:
            self._body = None
            self._buffer = rest
        if self._linger:
            if last:
                self._close()
            return
        if not self._writing_paused:
            self.deadline = _NEVER if last else self._proxy.loop.time() + self._proxy.settings.client_body_timeout
        if self.exchange is not None and (piece or last):
            self.exchange.on_request_body(piece, last=last)

    def _refuse(self, data: bytes, status: int, code: str, message: str) -> None:
        """Answer what never became a request; its account cannot be known."""
        found = _PATH.match(data)
        family = family_of(found[1] if found else b"")
        answer = refusal.answer(
            Refusal(status, code, message),
            family,
            next(self._proxy.ids).hex(),
            extra_lines=[],
            close=True,
            head_only=False,
        )
        self._buffer = b""
        self._transport.write(answer)
        self._begin_linger()

    def _begin_linger(self) -> None:
        """Read on for a moment: closing on unread bytes would take the answer back."""
        self._linger = True
        self._stopping = True
        if not self._transport.is_closing():
            self._transport.write_eof()  # it has all it gets
        self.deadline = self._proxy.loop.time() + _LINGER_SECONDS
        self.resume_request()

    # ── called by the exchange ────────────────────────────────────────────────────────────────────────────────────

    def send(self, data: bytes) -> None:
        if not self._closing:
            self._transport.write(data)

    def finish(self, data: bytes, keep_alive: bool, request_complete: bool) -> None:
        """The exchange is over: write what is left of its answer, and go on or close."""
        self.exchange = None
        if self._closing:
            return
        if data:
            self._transport.write(data)
        if not request_complete:
            self._begin_linger()
        elif not keep_alive or self._stopping:
            self._close()
        else:
            self._await_next()

    def _await_next(self) -> None:
        if self._writing_paused:  # it asks without reading: it is served on once it reads
            self.pause_request()
            return
        self.deadline = self._proxy.loop.time() + KEEP_ALIVE_SECONDS
        if self._reading_paused:
            self.resume_request()
        if self._buffer:
            self._proxy.loop.call_soon(self._read_ahead)

    def _read_ahead(self) -> None:
        """Go on with what the client sent before it was answered."""
        busy = self.exchange is not None or self._page_active or self._writing_paused
        if self._buffer and not busy and not self._closing and not self._linger:
            data, self._buffer = self._buffer, b""
            self._read_head(data)

    def pause_request(self) -> None:
        """Read no more from the client for now; its silence is ours then."""
        if not self._reading_paused and not self._closing:
            self._reading_paused = True
            self._transport.pause_reading()
            if not self._writing_paused:
                self.deadline = _NEVER

    def resume_request(self) -> None:
        if self._reading_paused and not self._closing:
            self._reading_paused = False
            self._transport.resume_reading()
            if self._body is not None and not self._linger:
                self.deadline = self._proxy.loop.time() + self._proxy.settings.client_body_timeout

    def pause_writing(self) -> None:
        self._writing_paused = True
        self.deadline = self._proxy.loop.time() + self._proxy.settings.client_stall_timeout
        if self._page_active and self._page is not None:
            self._page.pause_writing()
        elif self.exchange is not None:
            self.exchange.pause_answer()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._closing or self._linger:
            return
        awaits_body = self._body is not None and not self._reading_paused
        self.deadline = self._proxy.loop.time() + self._proxy.settings.client_body_timeout if awaits_body else _NEVER
        if self._page_active and self._page is not None:
            self._page.resume_writing()
        elif self.exchange is not None:
            self.exchange.resume_answer()
        else:
            self._await_next()

    def on_deadline(self) -> None:
        """The client did nothing for too long."""
        self.deadline = _NEVER
        if self._closing or self._writing_paused:
            exchange = self.exchange
            self.cut()
            if exchange is not None:
                exchange.on_client_gone()
        elif self._body is not None and self.exchange is not None:
            self.exchange.on_client_silent()
        elif self._buffer and not self._linger and self.exchange is None:
            self._refuse(self._buffer, 408, "client_timeout", "the request's head did not come in time.")
        else:
            self._close()

    # ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open_page(self, head: bytes, rest: bytes) -> None:
        if self._page is None:
            self._page = self._new_page()
            self._page.front = self
            self._page.connection_made(self._transport)
            self._state.connections.discard(self._page)  # uvicorn shall see one connection, this one
        self._page_active = True
        self._page.data_received(head)
        if rest:
            self.data_received(rest)

    def _feed_page(self, data: bytes) -> None:
        """Give uvicorn this request's bytes, framing and all, and not one of the next."""
        page = self._page
        assert page is not None
        if self._body is None:
            self._buffer += data
            if len(self._buffer) > _AHEAD_BYTES:
                self.pause_request()
            return
        try:
            _, rest = self._body.feed(data)
        except BadMessage:
            self._transport.abort()
            return
        if self._body.done:
            self._body = None
            self._buffer = rest
            self.deadline = _NEVER
        else:
            self.deadline = self._proxy.loop.time() + self._proxy.settings.client_body_timeout
        page.data_received(data[: len(data) - len(rest)])

    def page_answered(self) -> None:
        """uvicorn has written a page's last byte."""
        if self._closing or self._transport.is_closing():
            return
        if self._body is not None:  # answered without its body: it cannot be told from a next request any more
            self._page_active = False
            self._begin_linger()
            return
        self._page_active = False
        if self._stopping:
            self._close()
        else:
            self._await_next()
