"""How these tests talk to Metrion: calls with a script for the provider, bare bytes, and a look at its process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.fake_provider import Script
from tests.support import EMAIL, Answer, Headers, Metrion, exchange

OPENAI = "/api/proxy/openai/v1"
CHAT = f"{OPENAI}/chat/completions"
MESSAGES = "/api/proxy/v1/messages"
GENERATE = "/api/proxy/gemini/v1beta/models/gemini-2.5-flash:generateContent"
UPLOAD = f"{OPENAI}/files"  # a path whose body is not read by Metrion, but streams through
CHAT_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
MIB = 1 << 20


def marked(token: str, mark: str, script: Script | None = None) -> list[tuple[str, str]]:
    """The headers of a stored-mode call that this test can find again, answered as `script` says."""
    headers = [("Authorization", f"Bearer {token}"), ("X-Metrion-User", mark), ("X-Mark", mark)]
    return [*headers, ("X-Fake", script.header())] if script is not None else headers


def call(
    metrion: Metrion,
    mark: str,
    script: Script | None = None,
    *,
    path: str = CHAT,
    method: str = "POST",
    body: bytes | list[bytes] = CHAT_BODY,
    more: Headers = (),
    token: str = "",
    timeout: float = 30.0,
) -> Answer:
    """One call on a connection of its own."""
    headers = [*marked(token or metrion.token, mark, script), *more]
    return exchange(metrion.port, method, path, headers, body, timeout=timeout)


def head(method: str, path: str, headers: Headers = (), *, version: str = "1.1") -> bytes:
    """A request's head as bytes, as told: nothing is added but Host (where HTTP/1.1 needs it)."""
    host = () if version == "1.0" else (("Host", "localhost"),)
    lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in (*host, *headers))]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(headers: Headers, body: bytes = CHAT_BODY, *, path: str = CHAT, version: str = "1.1") -> bytes:
    """A POST with its length, as bytes."""
    return head("POST", path, [*headers, ("Content-Length", str(len(body)))], version=version) + body


def connect(port: int, timeout: float = 20.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


def read_all(connection: socket.socket) -> tuple[bytes, str]:
    """Everything up to the end of the connection, and how it ended: "fin" or "reset"."""
    received = b""
    try:
        while data := connection.recv(1 << 16):
            received += data
    except ConnectionResetError:
        return received, "reset"
    return received, "fin"


def read_until(connection: socket.socket, what: bytes) -> bytes:
    """What came, once `what` is in it; raises AssertionError if the connection ends before."""
    received = b""
    while what not in received:
        data = connection.recv(1 << 16)
        assert data, f"the connection ended after {received!r}"
        received += data
    return received


def read_answer(connection: socket.socket) -> bytes:
    """One answer that has its length."""
    received = read_until(connection, b"\r\n\r\n")
    block, _, body = received.partition(b"\r\n\r\n")
    length = int(block.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        data = connection.recv(length - len(body))
        assert data, "the connection ended in the middle of an answer"
        body += data
    return block + b"\r\n\r\n" + body


def say(port: int, data: bytes, timeout: float = 20.0) -> tuple[bytes, str]:
    """Send bytes, read to the end of the connection."""
    with connect(port, timeout) as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # refused while we sent
            connection.sendall(data)
        return read_all(connection)


def status_of(answer: bytes) -> int:
    """The first answer's status; 0 if there is none."""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def error_of(answer: bytes) -> str:
    """The first answer's `x-metrion-error`."""
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"x-metrion-error":
            return value.strip().decode()
    return ""


def reset(connection: socket.socket) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def one_row(metrion: Metrion, mark: str, email: str = EMAIL) -> dict[str, Any]:
    """This test's row; fails where there are more."""
    (row,) = metrion.rows(1, requester=mark, email=email)
    return row


def rows_of(metrion: Metrion, marks: Sequence[str], email: str = EMAIL) -> list[dict[str, Any]]:
    """The one row of each of these, in their order: asked for once, since a row takes the writer's time to be there."""
    found = {mark: metrion.rows(1, requester=mark, email=email) for mark in reversed(marks)}
    assert [len(found[mark]) for mark in marks] == [1] * len(marks)
    return [found[mark][0] for mark in marks]


def outcome(metrion: Metrion, mark: str, email: str = EMAIL) -> tuple[int, str]:
    """(status, outcome) of this test's one row."""
    row = one_row(metrion, mark, email)
    return row["status"], row["outcome"]


def message_of(answer: Answer) -> str:
    """The message of an error, whatever its family."""
    text: str = json.loads(answer.body)["error"]["message"]
    return text


def settle(condition: Callable[[], bool], seconds: float = 10.0, what: str = "") -> None:
    """Returns when `condition` holds; raises TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what or "the condition never held")
        time.sleep(0.01)


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def descriptors(pid: int) -> int:
    """How many file descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
