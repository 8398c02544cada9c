"""Fetching rates, from a fake bank on loopback."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError

import pytest

from metrion.rates import refresh
from metrion.rates.refresh import FRESH_SECONDS, PATH, Refresher, fetch, is_fresh
from tests.rates.test_table import HEAD, zipped

GOOD = zipped(HEAD + "2026-11-20,1.25,170,0.95,\n")


class Bank(ThreadingHTTPServer):
    """Answers what it is told to; remembers the paths it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Counter)
        self.asked: list[str] = []
        self.status, self.body, self.location = 200, GOOD, ""
        self.seen = threading.Event()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Counter(BaseHTTPRequestHandler):
    server: Bank

    def do_GET(self) -> None:
        bank = self.server
        bank.asked.append(self.path)
        self.send_response(bank.status)
        if bank.location:
            self.send_header("Location", bank.location)
        self.send_header("Content-Length", str(len(bank.body)))
        self.end_headers()
        self.wfile.write(bank.body)
        bank.seen.set()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def bank() -> Iterator[Bank]:
    server = Bank()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "eurofxref-hist.zip"


def until(done: object, seconds: float = 10) -> None:
    assert callable(done)
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_file_is_fetched(bank: Bank, file: Path) -> None:
    fetch(bank.origin + PATH, file)
    assert file.read_bytes() == GOOD
    assert bank.asked == [PATH]


def test_proxies_of_the_environment_are_ignored(bank: Bank, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    fetch(bank.origin + PATH, file)
    assert bank.asked == [PATH]


@pytest.mark.parametrize(
    ("status", "body", "location"),
    [(500, GOOD, ""), (200, b"<html>", ""), (302, b"", "/elsewhere"), (200, b"", "")],
)
def test_anything_else_leaves_the_file_as_it_was(
    bank: Bank, file: Path, status: int, body: bytes, location: str
) -> None:
    file.write_bytes(b"before")
    bank.status, bank.body, bank.location = status, body, location
    with pytest.raises((OSError, ValueError)):
        fetch(bank.origin + PATH, file)
    assert file.read_bytes() == b"before"
    assert bank.asked == [PATH]  # redirects are not followed


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_both_sides_of_the_largest_file(
    bank: Bank, file: Path, monkeypatch: pytest.MonkeyPatch, extra: int, fits: bool
) -> None:
    monkeypatch.setattr(refresh, "_MOST_BYTES", len(GOOD) - extra)
    if fits:
        fetch(bank.origin + PATH, file)
    else:
        with pytest.raises(ValueError, match="more than"):
            fetch(bank.origin + PATH, file)


def test_nobody_there(file: Path) -> None:
    with pytest.raises(URLError):
        fetch("http://127.0.0.1:1" + PATH, file)


@pytest.mark.parametrize(
    ("age", "fresh"), [(0, True), (FRESH_SECONDS - 60, True), (FRESH_SECONDS + 60, False), (-3600, False)]
)
def test_both_sides_of_a_day(file: Path, age: float, fresh: bool) -> None:
    file.write_bytes(GOOD)
    moment = time.time() - age
    os.utime(file, (moment, moment))
    assert is_fresh(file) is fresh


def test_it_fetches_once_a_day_and_tries_again_after_a_failure(bank: Bank, file: Path) -> None:
    bank.status = 503
    refresher = Refresher(file.parent, bank.origin, first=0, again=0.02)
    refresher.start()
    until(lambda: len(bank.asked) >= 2)
    assert not file.exists()
    bank.status = 200
    until(file.exists)
    asked = len(bank.asked)
    with pytest.raises(AssertionError):
        until(lambda: len(bank.asked) > asked, seconds=0.3)  # the file is fresh now
    refresher.stop()


def test_it_waits_before_the_first_and_stops_at_once(bank: Bank, file: Path) -> None:
    refresher = Refresher(file.parent, bank.origin, first=30)
    refresher.start()
    refresher.stop()
    until(lambda: not any(thread.name == "metrion-rates" for thread in threading.enumerate()))
    assert bank.asked == []
