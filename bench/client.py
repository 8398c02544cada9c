"""Somebody signed in: asks for pages over one connection as a browser does, and tells how long each took."""

from __future__ import annotations

import re
import time
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlencode

_CSRF = re.compile(r'name="csrf" content="([^"]*)"')
_PARTS = re.compile(r'(?:src|href)="(/static/[^"]+)"')
_POLL = re.compile(r'id="poll" hx-get="([^"]+)"')
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0 Safari/537.36"


class Answer(NamedTuple):
    """What came back, and the seconds from the request's first byte to the answer's last."""

    status: int
    body: str
    seconds: float

    @property
    def parts(self) -> list[str]:
        """Styles and scripts that a page asks for."""
        return list(dict.fromkeys(_PARTS.findall(self.body)))

    @property
    def poll(self) -> str:
        """What a page asks every two seconds; "" where it does not."""
        found = _POLL.search(self.body)
        return found[1].replace("&amp;", "&") if found else ""


class Visitor:
    """A browser's connection with a session's cookie."""

    def __init__(self, port: int, cookie: str) -> None:
        self.port = port
        self._origin = f"http://127.0.0.1:{port}"
        self._headers = {"cookie": f"metrion={cookie}", "user-agent": _AGENT, "accept": "text/html"}
        self._connection = HTTPConnection("127.0.0.1", port, timeout=120)
        self._csrf = ""

    def get(self, path: str) -> Answer:
        """Raises RuntimeError where the answer is neither 200 nor 204."""
        return self._ask("GET", path, None, {}, (200, 204))

    def send(self, path: str, **fields: str) -> Answer:
        """A form, as one of our own pages sends it; raises RuntimeError where it is not taken."""
        if not self._csrf:
            found = _CSRF.search(self.get("/settings").body)
            self._csrf = found[1] if found else ""
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "origin": self._origin,
            "sec-fetch-site": "same-origin",
        }
        return self._ask("POST", path, urlencode(fields | {"csrf": self._csrf}), headers, (303,))

    def download(self, path: str) -> tuple[int, int, float]:
        """Lines, bytes and seconds of an answer that is read as it comes and kept nowhere."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        lines = length = 0
        while piece := answer.read1(1 << 16):
            lines += piece.count(b"\n")
            length += len(piece)
        return lines, length, time.perf_counter() - began

    def _ask(
        self, method: str, path: str, body: str | None, headers: dict[str, str], expected: tuple[int, ...]
    ) -> Answer:
        began = time.perf_counter()
        self._connection.request(method, path, body, self._headers | headers)
        answer = self._connection.getresponse()
        text = answer.read()
        seconds = time.perf_counter() - began
        if answer.status not in expected:
            raise RuntimeError(f"{method} {path}: {answer.status}")
        return Answer(answer.status, text.decode("utf-8", "replace"), seconds)

    def close(self) -> None:
        self._connection.close()
