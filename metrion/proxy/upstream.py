"""Keep-alive connections to the providers: the only place that speaks HTTP to one.

An `Upstream` carries one request and its answer at a time and tells its `Listener` what comes. A request is never
written twice: a connection that closed before the first byte was written is replaced, anything later is the
listener's failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from typing import Protocol, cast
from urllib.parse import urlsplit

from metrion.proxy import headers, http1
from metrion.proxy.answer import Answer
from metrion.proxy.http1 import BadMessage, BodyReader

IDLE_SECONDS = 15.0  # shorter than any provider's keep-alive, so that a connection is rarely closed as we write on it
DNS_SECONDS = 60.0
RACE_SECONDS = 0.25  # RFC 8305's connection attempt delay
MAX_CONNECTIONS = 10_000
MAX_HEAD_BYTES = 256 * 1024
_KEEP_ALIVE = [b"keep-alive"]
_BACKLOG_BYTES = 256 * 1024  # what may wait in a connection's write buffer before the client is paused


class Listener(Protocol):
    """Who waits for an answer. `on_failed` comes at most once, and nothing after it."""

    def on_connected(self, upstream: Upstream) -> None: ...
    def on_answer(self, answer: Answer) -> None: ...
    def on_answer_body(self, piece: bytes, as_chunk: bytes | None) -> None: ...
    def on_answer_end(self, piece: bytes) -> None: ...
    def on_upstream_full(self) -> None: ...
    def on_upstream_drained(self) -> None: ...
    def on_failed(self, reason: str, *, silent: bool = False) -> None: ...


class Upstream(asyncio.Protocol):
    """One connection to a provider."""

    __slots__ = ("_buffer", "_head_request", "_listener", "_origin", "_reader", "_reusable", "idle_since", "transport")

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._listener: Listener | None = None
        self._buffer = b""
        self._reader: BodyReader | None = None
        self._head_request = False
        self._reusable = True
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_BACKLOG_BYTES)
        self._origin.connections.add(self)

    def send(self, listener: Listener, data: bytes, *, head_request: bool) -> None:
        """Write a request's head (with its body, where that is at hand); the answer goes to `listener`."""
        self._listener = listener
        self._head_request = head_request
        self.transport.write(data)

    def send_more(self, data: bytes) -> None:
        self.transport.write(data)

    def pause(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def drop(self) -> None:
        """Give the answer up and close at once."""
        self._listener = None
        self.transport.abort()

    def close(self) -> None:
        """Close; what still waits to be written is dropped, since a provider that has answered may never read it."""
        self._listener = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        listener = self._listener
        if listener is None:  # nothing was asked: what came cannot be an answer to the next request
            self.transport.abort()
            return
        reader = self._reader
        try:
            if reader is None:
                self._read_head(listener, data)
                return
            if type(reader) is http1.Chunked and (piece := reader.whole(data)):
                listener.on_answer_body(piece, data)
                return
            piece, rest = reader.feed(data)
        except BadMessage as problem:
            self._fail(f"sent what is not HTTP: {problem}")
            return
        if reader.done:
            self._end_answer(listener, piece, rest)
        elif piece:
            listener.on_answer_body(piece, None)

    def _read_head(self, listener: Listener, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        status = 0
        while status < 200:  # a 1xx is none of ours to pass on
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                if len(data) > MAX_HEAD_BYTES:
                    raise BadMessage("the head is too large")
                if not b"HTTP/1.".startswith(data[:7]):
                    raise BadMessage("the status line is malformed")
                self._buffer = data
                return
            start, lines = http1.parse_response(head)
            data = rest
            status = start.status
            if status == 101:
                raise BadMessage("an upgrade nobody asked for")
        self._buffer = b""
        answer = self._sort(start, lines)
        listener.on_answer(answer)
        if self._listener is not listener:  # the listener dropped us
            return
        if answer.length == len(data):
            self._end_answer(listener, data, b"")
            return
        reader = self._reader = http1.reader(answer.length)
        piece, rest = reader.feed(data)
        if reader.done:
            self._end_answer(listener, piece, rest)
        else:
            listener.on_answer_body(
                piece, None
            )  # also an empty one: the head shall not wait for a body that takes its time

    def _sort(self, start: http1.StatusLine, lines: list[bytes]) -> Answer:
        lines, named = headers.ANSWER.sort(lines)
        status, http10, _ = start
        length = http1.declared_length(named.get(b"content-length", ()), named.get(b"transfer-encoding", ()), http10)
        self._reusable = not http10
        if b"connection" in named and (named[b"connection"] != _KEEP_ALIVE or http10):
            options = headers.connection_options(named)
            lines = headers.without_nominated(lines, options)
            self._reusable = b"close" not in options and (not http10 or b"keep-alive" in options)
        if self._head_request or status in (204, 304):
            length = http1.NO_BODY
        elif length is None:
            length = http1.UNTIL_CLOSE
            self._reusable = False
        return Answer(start, lines, named, length)

    def _end_answer(self, listener: Listener, piece: bytes, rest: bytes) -> None:
        self._listener = self._reader = None
        if not self._reusable or rest or self.transport.get_write_buffer_size():
            self._reusable = False
            self.close()
        listener.on_answer_end(piece)

    def release(self) -> None:
        """Back to the pool, after the answer and the request both came to their end."""
        if self._reusable:
            self._origin.keep(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._origin.lost(self)
        listener = self._listener
        if listener is None:
            return
        if isinstance(self._reader, http1.UntilClose) and exc is None:
            self._listener = self._reader = None
            listener.on_answer_end(b"")
        else:
            self._fail("broke the connection" if self._reader else "closed the connection without an answer")

    def _fail(self, reason: str) -> None:
        listener, self._listener = self._listener, None
        self.transport.abort()
        if listener is not None:
            listener.on_failed(reason)

    def pause_writing(self) -> None:
        if self._listener is not None:
            self._listener.on_upstream_full()

    def resume_writing(self) -> None:
        if self._listener is not None:
            self._listener.on_upstream_drained()


class Origin:
    """One provider's origin and its connections. `url`: scheme, host and port; fixed by the program or the operator,
    never by a client.
    """

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext, connect_timeout: float) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        default_port = self.port == (443 if self.secure else 80)
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = (name if default_port else f"{name}:{self.port}").encode("ascii")
        self.connections: set[Upstream] = set()
        self._loop = loop
        self._tls = tls
        self._timeout = connect_timeout
        self._idle: list[Upstream] = []
        self._dialling: set[asyncio.Task[None]] = set()
        self._addresses: tuple[float, list[tuple[int, tuple[str, int]]]] | None = None

    def dial(self, listener: Listener) -> asyncio.Task[None] | None:
        """Give `listener` a connection, now or by the task returned (cancel it to give up)."""
        while self._idle:
            upstream = self._idle.pop()
            if not upstream.transport.is_closing() and self._loop.time() - upstream.idle_since < IDLE_SECONDS:
                listener.on_connected(upstream)
                return None
            upstream.close()
        if len(self.connections) + len(self._dialling) >= MAX_CONNECTIONS:
            listener.on_failed(f"has {MAX_CONNECTIONS} connections open already")
            return None
        task = self._loop.create_task(self._connect(listener))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return task

    async def _connect(self, listener: Listener) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                upstream = await self._race(await self._resolve())
        except TimeoutError:
            limit = f"within {self._timeout:g} s. The operator sets METRION_UPSTREAM_CONNECT_TIMEOUT"
            listener.on_failed(f"did not accept a connection {limit}", silent=True)
        except (OSError, ssl.SSLError) as problem:
            reason = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else type(problem).__name__
            listener.on_failed(f"could not be reached ({reason})")
        else:
            listener.on_connected(upstream)

    async def _resolve(self) -> list[tuple[int, tuple[str, int]]]:
        if self._addresses and self._addresses[0] > self._loop.time():
            return self._addresses[1]
        found = await self._loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = [(int(family), (str(address[0]), int(address[1]))) for family, _, _, _, address in found]
        # RFC 8305: families take turns, so that one that is broken costs one delay
        first = [one for one in addresses if one[0] == addresses[0][0]]
        other = [one for one in addresses if one[0] != addresses[0][0]]
        turns = [one for pair in zip(first, other, strict=False) for one in pair]
        addresses = [*turns, *first[len(other) :], *other[len(first) :]]
        self._addresses = (self._loop.time() + DNS_SECONDS, addresses)
        return addresses

    async def _race(self, addresses: list[tuple[int, tuple[str, int]]]) -> Upstream:
        """The first connection that stands; attempts start 250 ms apart, or at once when one fails."""
        attempts: set[asyncio.Task[Upstream]] = set()
        waiting = list(addresses)
        problem: Exception = OSError("no address")
        try:
            while waiting or attempts:
                if waiting:
                    attempts.add(self._loop.create_task(self._attempt(*waiting.pop(0))))
                done, attempts = await asyncio.wait(
                    attempts, timeout=RACE_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for one in done:
                    failure = one.exception()
                    if failure is None:
                        return one.result()
                    if not isinstance(failure, Exception):
                        raise failure
                    problem = failure
            raise problem
        finally:
            for one in attempts:
                one.cancel()
                one.add_done_callback(_close_late)

    async def _attempt(self, family: int, address: tuple[str, int]) -> Upstream:
        _, protocol = await self._loop.create_connection(
            lambda: Upstream(self),
            *address,
            family=family,
            ssl=self._tls if self.secure else None,
            server_hostname=self.host if self.secure else None,
        )
        return protocol

    def keep(self, upstream: Upstream) -> None:
        upstream.idle_since = self._loop.time()
        self._idle.append(upstream)

    def lost(self, upstream: Upstream) -> None:
        self.connections.discard(upstream)
        if self._idle:
            with contextlib.suppress(ValueError):
                self._idle.remove(upstream)

    def sweep(self) -> None:
        """Close what has been idle for too long."""
        oldest = self._loop.time() - IDLE_SECONDS
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.pop(0).close()

    def close(self) -> None:
        for task in self._dialling:
            task.cancel()
        for upstream in list(self.connections):
            upstream.drop()


def _close_late(attempt: asyncio.Task[Upstream]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def tls_context() -> ssl.SSLContext:
    """Verified TLS from the system's store or SSL_CERT_FILE; there is no switch to turn that off."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
