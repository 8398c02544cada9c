"""Streams: a provider that sends events at a steady pace, and clients that read them; each a process of its own.

python -m bench.sse provide PORT EVENTS INTERVAL
python -m bench.sse load PORT PATH TOKEN CLIENTS SECONDS    prints one line of JSON, see Load
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import httptools
import uvloop

from bench.sides import Side, free_port, stop, wait_for

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
CONNECTS_PER_STEP = 20  # so that clients do not all arrive in one burst of SYNs
STEP_SECONDS = 0.005
GRACE_SECONDS = 90  # for streams under way to end once no new ones are started


def _chunk(**fields: object) -> bytes:
    base = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "gpt-4o-2024-08-06",
    }
    data = b"data: " + json.dumps(base | fields).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


class Provider(asyncio.Protocol):
    """Answers every request with a stream of `events` content events, `interval` seconds apart, and its usage."""

    def __init__(self, events: int, interval: float) -> None:
        delta = {"index": 0, "delta": {"content": " and then"}, "logprobs": None, "finish_reason": None}
        usage = {"prompt_tokens": 100, "completion_tokens": events, "total_tokens": 100 + events}
        self.events = events
        self.interval = interval
        self.event = _chunk(choices=[delta], usage=None)
        self.end = _chunk(choices=[], usage=usage) + b"e\r\ndata: [DONE]\n\n\r\n" + LAST_CHUNK

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.transport.write(HEAD)
        self._send(0)

    def _send(self, index: int) -> None:
        if self.transport.is_closing():
            return
        if index == self.events:
            self.transport.write(self.end)
            return
        self.transport.write(self.event)
        asyncio.get_running_loop().call_later(self.interval, self._send, index + 1)


async def _provide(port: int, events: int, interval: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(events, interval), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


@dataclass
class Load:
    """What the clients saw; milliseconds from a request to its first event."""

    streams: int = 0  # read to their end
    events: int = 0
    refused: int = 0  # not a 200
    cut: int = 0  # ended before their end
    first_p50: float = 0.0
    first_p99: float = 0.0


class Client(asyncio.Protocol):
    """Reads one stream after another on one connection, until the deadline."""

    def __init__(self, request: bytes, deadline: float, seen: Load, first: list[float]) -> None:
        self.request = request
        self.deadline = deadline
        self.seen = seen
        self.first = first
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reading = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self.reading = True
        self.waiting = True
        self.tail = b""
        self.asked = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if self.waiting and b"data:" in data:
            self.waiting = False
            self.first.append(time.perf_counter() - self.asked)
        elif self.waiting and not data.startswith(b"HTTP/1.1 200"):
            self.seen.refused += 1
            self.reading = False
            self.transport.close()
            return
        self.seen.events += data.count(b"data:")
        self.tail = (self.tail + data)[-len(LAST_CHUNK) :]
        if self.tail != LAST_CHUNK:
            return
        self.seen.streams += 1
        self.reading = False
        if time.perf_counter() < self.deadline:
            self._ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.seen.cut += self.reading
        self.ended.set_result(None)


async def _load(port: int, path: str, token: str, clients: int, seconds: float) -> Load:
    body = json.dumps({"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Go on." * 20}]})
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n"
    request = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    loop = asyncio.get_running_loop()
    seen, first = Load(), list[float]()
    deadline = time.perf_counter() + seconds
    running = []
    for index in range(clients):
        _, client = await loop.create_connection(lambda: Client(request, deadline, seen, first), "127.0.0.1", port)
        running.append(client.ended)
        if index % CONNECTS_PER_STEP == 0:
            await asyncio.sleep(STEP_SECONDS)
    _, late = await asyncio.wait(running, timeout=seconds + GRACE_SECONDS)
    seen.cut += len(late)
    if first:
        first.sort()
        seen.first_p50 = first[len(first) // 2] * 1000
        seen.first_p99 = first[len(first) * 99 // 100] * 1000
    return seen


def start_load(side: Side, clients: int, seconds: float) -> subprocess.Popen[bytes]:
    """Starts the clients; their standard output ends with a Load, for `finish_load`."""
    arguments = [str(side.port), side.path, side.token, str(clients), str(seconds)]
    return subprocess.Popen([sys.executable, "-m", "bench.sse", "load", *arguments], stdout=subprocess.PIPE)


def finish_load(process: subprocess.Popen[bytes]) -> Load:
    output, _ = process.communicate()
    return Load(**json.loads(output))


@contextlib.contextmanager
def provider(folder: Path, events: int, interval: float) -> Iterator[int]:
    """Starts the provider; gives its port."""
    port = free_port()
    log = folder / f"provider-{port}.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "bench.sse", "provide", str(port), str(events), str(interval)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for(f"http://127.0.0.1:{port}/", process, log)
        yield port
    finally:
        stop(process)


def main() -> None:
    match sys.argv[1:]:
        case ["provide", port, events, interval]:
            uvloop.run(_provide(int(port), int(events), float(interval)))
        case ["load", port, path, token, clients, seconds]:
            seen = uvloop.run(_load(int(port), path, token, int(clients), float(seconds)))
            print(json.dumps(asdict(seen)))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
