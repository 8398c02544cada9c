"""The server: plain sockets, so that nothing stands between a script and the wire."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from tests.fake_provider.samples import sample
from tests.fake_provider.script import Script

KEPT = 1 << 20  # of a request body that much is kept; the rest is counted and hashed
HEAD_LIMIT = 1 << 20


@dataclass(slots=True)
class Seen:
    """One request as it came in."""

    connection: int  # numbered from 1
    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]  # in order, letter case as sent
    body: bytes = b""  # the first `KEPT` bytes of it
    body_bytes: int = 0
    body_sha256: str = ""
    framing: str = "none"  # "length", "chunked" or "none"
    trailers: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = False  # its body was read to the end

    def get(self, name: str) -> str | None:
        """The value of the first header of that name."""
        return next((v for n, v in self.headers if n.lower() == name), None)

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name]


class FakeProvider:
    """Listens on a loopback port; an async context manager, or `threaded()` for tests without a loop.

    A request without `x-fake` gets `default`, or where that is None a small honest answer of its endpoint.
    """

    def __init__(self) -> None:
        self.default: Script | None = None
        self.seen: list[Seen] = []
        self.connections = 0  # ever opened
        self.open = 0  # open now
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> FakeProvider:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=HEAD_LIMIT, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @classmethod
    @contextmanager
    def threaded(cls) -> Iterator[FakeProvider]:
        """Runs in a loop and thread of its own."""
        provider, loop, started = cls(), asyncio.new_event_loop(), threading.Event()
        ended = asyncio.Event()

        async def live() -> None:
            async with provider:
                started.set()
                await ended.wait()

        thread = threading.Thread(target=lambda: loop.run_until_complete(live()), daemon=True)
        thread.start()
        started.wait(10)
        try:
            yield provider
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(10)
            loop.close()

    def named(self, mark: str) -> list[Seen]:
        """The requests whose `x-mark` is `mark`: what one test sent."""
        return [seen for seen in list(self.seen) if seen.get("x-mark") == mark]

    def wait(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Returns when `condition` holds; raises TimeoutError after `seconds`. For tests in another thread."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"the fake provider saw {len(self.seen)} requests, {self.open} connections are open")
            time.sleep(0.005)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        number, served = self.connections, 0
        try:
            while await self._serve(reader, writer, number, served):
                served += 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the server closes: asyncio's own callback cannot bear a cancelled task
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int, served: int
    ) -> bool:
        """One request and its answer; whether the connection goes on."""
        seen = _parse(await reader.readuntil(b"\r\n\r\n"), connection)
        self.seen.append(seen)
        script = self._script(seen)
        if script.unread:
            await asyncio.sleep(3600)
        if not script.early:
            await _read_body(reader, seen)
        if served and script.on_reuse != "answer":
            return _end(writer, script.on_reuse)
        if script.act == "silent":
            await reader.read()
            return False
        if script.act != "answer":
            return _end(writer, script.act)
        whole = await _answer(writer, script, bodyless=seen.method == "HEAD" or script.status in (204, 304))
        if not whole:
            return _end(writer, script.cut_by)
        return script.then == "keep" and script.framing not in ("close", "none") and not (script.raw or script.early)

    def _script(self, seen: Seen) -> Script:
        wanted = seen.get("x-fake")
        if wanted is not None:
            return Script.read(wanted)
        return self.default or sample(seen.method, seen.target, seen.headers)


def _parse(head: bytes, connection: int) -> Seen:
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, version = first.split(" ")
    headers = [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)]
    return Seen(connection=connection, method=method, target=target, version=version, headers=headers)


async def _read_body(reader: asyncio.StreamReader, seen: Seen) -> None:
    digest = hashlib.sha256()

    def took(data: bytes) -> None:
        digest.update(data)
        seen.body_bytes += len(data)
        if len(seen.body) < KEPT:
            seen.body += data[: KEPT - len(seen.body)]

    async def take(size: int) -> None:
        while size:
            data = await reader.read(min(size, 1 << 16))
            if not data:
                raise asyncio.IncompleteReadError(b"", size)
            took(data)
            size -= len(data)

    if seen.get("transfer-encoding") is not None:
        seen.framing = "chunked"
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            await take(size)
            await reader.readexactly(2)
        while (line := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            seen.trailers.append((name, value.strip()))
    elif (length := seen.get("content-length")) is not None:
        seen.framing = "length"
        await take(int(length))
    seen.body_sha256 = digest.hexdigest()
    seen.complete = True


async def _answer(writer: asyncio.StreamWriter, script: Script, *, bodyless: bool) -> bool:
    """Sends the answer; False if it was cut."""
    for status in script.informational:
        writer.write(
            f"HTTP/1.1 {status} Wait\r\n{'Link: </a>; rel=preload' if status == 103 else 'X-I: 1'}\r\n\r\n".encode()
        )
    if script.delay:
        await writer.drain()
        await asyncio.sleep(script.delay)
    sent, cut = 0, script.cut_at
    for number, block in enumerate(script.wire(bodyless=bodyless)):
        if number == 1 and script.pause:
            await writer.drain()
            await asyncio.sleep(script.pause)
        step = script.piece or len(block)
        for at in range(0, len(block), step or 1):
            part = block[at : at + step]
            if cut is not None and sent + len(part) >= cut:
                writer.write(part[: cut - sent])
                await writer.drain()
                return False
            writer.write(part)
            sent += len(part)
            await writer.drain()
            if script.drip:
                await asyncio.sleep(script.drip)
            elif script.piece:
                await asyncio.sleep(0)  # pieces leave as separate writes
    return True


def _end(writer: asyncio.StreamWriter, how: str) -> bool:
    """Ends the connection: with FIN, or with RST where `how` is "reset"."""
    if how == "reset":
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    return False
