"""A receiver of webhooks on loopback, that behaves as it is told."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass
class Received:
    """A request as it came."""

    target: str
    headers: dict[str, str]
    body: bytes
    at: float  # monotonic

    def json(self) -> Any:
        return json.loads(self.body)


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"HTTP/1.1 {status} Said\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


class Receiver:
    """`with Receiver() as receiver`. `answers`: bytes to send, one after the other, the last again and again.

    `hold`: while it is not set, nothing is answered. `sent`: how much of the answers was taken.
    """

    def __init__(
        self, *answers: bytes, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answers = list(answers) or [OK]
        self.received: list[Received] = []
        self.connections = 0
        self.sent = 0
        self.hold = threading.Event()
        self.hold.set()
        self._tls = tls
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"http://{host}:{self.port}"
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._listener.close()

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Received]:
        """What came, once that many requests did; raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.received) >= count, seconds):
                raise TimeoutError(f"{len(self.received)} requests of {count}")
            return list(self.received)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            self.connections += 1
            threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        try:
            self._answer(self._tls.wrap_socket(connection, server_side=True) if self._tls else connection)
        except OSError:  # whoever called does not like our certificate
            connection.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            first = lines.readline().decode()
            if not first:
                return
            headers: dict[str, str] = {}
            while line := lines.readline().strip():
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            body = lines.read(int(headers.get("content-length", 0)))
            with self._changed:
                said = self.answers[min(len(self.received), len(self.answers) - 1)]
                self.received.append(Received(first.split(" ")[1], headers, body, time.monotonic()))
                self._changed.notify_all()
            self.hold.wait(30)
            try:
                for at in range(0, len(said), 4096):
                    connection.sendall(said[at : at + 4096])
                    self.sent += len(said[at : at + 4096])
            except OSError:
                return
