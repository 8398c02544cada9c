"""SIGTERM: idle connections close, open calls get the grace and are then cut and recorded. house.md §3."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider, Script
from tests.proxy.talk import (
    connect,
    head,
    marked,
    outcome,
    post,
    read_all,
    read_answer,
    read_until,
    rows_of,
    settle,
    status_of,
)
from tests.support import Metrion

ENDLESS = Script(size=50_000_000, framing="chunked", piece=1000, drip=0.05)


def ends(server: Metrion, seconds: float) -> None:
    settle(lambda: not server.is_running(), seconds, "the server still runs")


def test_idle_connections_close_and_open_calls_end(new_metrion: NewMetrion, fake: FakeProvider, mark: str) -> None:
    server = new_metrion()
    with (
        connect(server.port) as idle,
        connect(server.port) as used,
        connect(server.port) as open_call,
        connect(server.port) as late,
    ):
        late.sendall(post(marked(server.token, f"{mark}-late"))[:-1])  # all but its last byte
        used.sendall(head("GET", "/healthz"))
        read_answer(used)
        slow = Script(text="x" * 40, framing="chunked", chunk=10, drip=0.2)
        open_call.sendall(post(marked(server.token, mark, slow)) + post(marked(server.token, f"{mark}-behind")))
        read_until(open_call, b"x")
        os.kill(server.pid, signal.SIGTERM)
        assert read_all(idle) == (b"", "fin")
        assert read_all(used) == (b"", "fin")
        late.sendall(b"}")
        assert status_of(read_all(late)[0]) == 200  # it was admitted before
        received, _ = read_all(open_call)
        assert received.endswith(b"\r\n0\r\n\r\n")
        ends(server, 5)
    with pytest.raises(ConnectionRefusedError):
        connect(server.port)
    assert [row["outcome"] for row in rows_of(server, [mark, f"{mark}-late"])] == ["ok", "ok"]
    assert fake.named(f"{mark}-behind") == []
    assert os.listdir(server.data_dir / "journal") == []


def test_what_outlasts_the_grace_is_cut_and_recorded(new_metrion: NewMetrion, fake: FakeProvider, mark: str) -> None:
    open_before = fake.open
    server = new_metrion({"METRION_SHUTDOWN_GRACE": "1", "METRION_ON_CLIENT_GONE": "drain"})
    with connect(server.port) as gone:
        gone.sendall(post(marked(server.token, f"{mark}-drained", ENDLESS)))
        read_until(gone, b"\x00\x01")
    with connect(server.port) as streaming, connect(server.port) as waiting, connect(server.port) as uploading:
        streaming.sendall(post(marked(server.token, f"{mark}-stream", ENDLESS)))
        read_until(streaming, b"\x00\x01")
        waiting.sendall(post(marked(server.token, f"{mark}-wait", Script(act="silent"))))
        upload = [*marked(server.token, f"{mark}-upload"), ("Content-Length", "100")]
        uploading.sendall(head("POST", "/api/proxy/openai/v1/files", upload) + b"x")
        fake.wait(lambda: bool(fake.named(f"{mark}-wait")) and bool(fake.named(f"{mark}-upload")))
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        assert read_all(streaming)[1] == "reset"
        assert time.monotonic() - began > 0.8
        ends(server, 5)
    rows = rows_of(server, [f"{mark}-{name}" for name in ("stream", "drained", "wait", "upload")])
    assert [(row["status"], row["outcome"]) for row in rows] == [(status, "interrupted") for status in (200, 200, 0, 0)]
    fake.wait(lambda: fake.open <= open_before)


def test_a_second_signal_cuts_at_once(new_metrion: NewMetrion, mark: str) -> None:
    server = new_metrion()
    with connect(server.port) as streaming:
        streaming.sendall(post(marked(server.token, mark, ENDLESS)))
        read_until(streaming, b"\x00\x01")
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.5)
        assert server.is_running()
        os.kill(server.pid, signal.SIGINT)
        ends(server, 5)
        assert read_all(streaming)[1] == "reset"
    assert outcome(server, mark) == (200, "interrupted")
