"""Clients that are slow, leave, or do not read: what they get, what is recorded, and what is left. Spec §2.4, §2.5."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

import pytest

from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider, Script
from tests.proxy.conftest import NewAccount
from tests.proxy.talk import (
    CHAT,
    CHAT_BODY,
    MIB,
    OPENAI,
    UPLOAD,
    call,
    connect,
    descriptors,
    error_of,
    head,
    marked,
    one_row,
    outcome,
    post,
    read_all,
    read_until,
    reset,
    rss,
    say,
    settle,
    status_of,
)
from tests.support import Answer, Client, Metrion

LARGE = Script(size=200 * MIB, framing="chunked", chunk=32_768)


# ── slow ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_head_that_does_not_come_is_a_408(short: Metrion) -> None:
    began = time.monotonic()
    with connect(short.port) as one, connect(short.port) as other:
        one.sendall(b"G")
        other.sendall(b"POST /api/proxy/v1/messages HTTP/1.1\r\nHost: a\r\nX-A: ")
        for connection in (one, other):
            received, how = read_all(connection)
            assert (status_of(received), error_of(received), how) == (408, "client_timeout", "fin")
    assert 0.9 < time.monotonic() - began < 5


def test_a_connection_that_asks_nothing_is_closed(short: Metrion) -> None:
    assert say(short.port, b"") == (b"", "fin")


def test_a_head_that_comes_slowly_but_in_time_passes(short: Metrion, mark: str) -> None:
    data = post([*marked(short.token, mark), ("Connection", "close")])
    with connect(short.port) as connection:
        for at in range(0, 40, 10):
            connection.sendall(data[at : at + 10])
            time.sleep(0.1)
        connection.sendall(data[40:])
        received, _ = read_all(connection)
    assert status_of(received) == 200


@pytest.mark.parametrize("path", [CHAT, UPLOAD])
def test_a_body_that_does_not_come_is_a_408_with_a_row(
    path: str, short: Metrion, fake: FakeProvider, mark: str
) -> None:
    data = head("POST", path, [*marked(short.token, mark), ("Content-Length", "100")])
    received, _ = say(short.port, data + b"x" * 10)
    assert (status_of(received), error_of(received)) == (408, "client_timeout")
    row = one_row(short, mark)
    assert row["status"] == 408
    assert "1 s" in row["error_message"]
    assert row["outcome"] == ("rejected" if path == CHAT else "client_gone")  # an upload had begun at the provider
    assert not any(seen.complete for seen in fake.named(mark))


def test_a_slow_body_passes_as_long_as_bytes_come(short: Metrion, fake: FakeProvider, mark: str) -> None:
    with connect(short.port) as connection:
        connection.sendall(head("POST", UPLOAD, [*marked(short.token, mark), ("Content-Length", "8")]))
        for _ in range(8):
            time.sleep(0.25)
            connection.sendall(b"x")
        assert status_of(read_until(connection, b"\r\n\r\n")) == 200
    assert fake.named(mark)[0].body == b"x" * 8


def test_a_slow_page_body_ends_the_connection(short: Metrion) -> None:
    received, _ = say(short.port, head("POST", "/healthz", [("Content-Length", "100")]) + b"x")
    assert received == b"" or status_of(received) == 405


# ── gone ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_half_a_head_and_gone_leaves_nothing(short: Metrion, mark: str) -> None:
    before = descriptors(short.pid)
    for _ in range(20):
        connection = connect(short.port)
        connection.sendall(post(marked(short.token, mark))[:60])
        connection.close()
    settle(lambda: descriptors(short.pid) <= before)


@pytest.mark.parametrize("how", [reset, socket.socket.close])
def test_gone_before_the_answer(
    how: Callable[[socket.socket], None], metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    open_before = fake.open
    connection = connect(metrion.port)
    connection.sendall(post(marked(metrion.token, mark, Script(act="silent"))))
    fake.wait(lambda: len(fake.named(mark)) == 1)
    how(connection)
    assert outcome(metrion, mark) == (0, "client_gone")
    fake.wait(lambda: fake.open <= open_before)


@pytest.mark.parametrize("how", [reset, socket.socket.close])
def test_gone_in_the_middle_cancels_at_the_provider(
    how: Callable[[socket.socket], None], metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    open_before = fake.open
    connection = connect(metrion.port)
    script = Script(size=10_000_000, framing="chunked", piece=1000, drip=0.01)
    connection.sendall(post(marked(metrion.token, mark, script)))
    read_until(connection, b"\x00\x01\x02")
    how(connection)
    row = one_row(metrion, mark)
    assert (row["status"], row["outcome"], row["cost_source"]) == (200, "client_gone", "unknown")
    fake.wait(lambda: fake.open <= open_before, 5)


def test_gone_in_the_middle_of_an_upload(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    open_before = fake.open
    connection = connect(metrion.port)
    connection.sendall(head("POST", UPLOAD, [*marked(metrion.token, mark), ("Content-Length", "1000")]) + b"x" * 10)
    fake.wait(lambda: bool(fake.named(mark)))
    connection.close()
    assert outcome(metrion, mark) == (0, "client_gone")
    fake.wait(lambda: fake.open <= open_before)
    assert not fake.named(mark)[0].complete


def test_gone_in_the_middle_of_a_body_read_whole_never_reached_the_provider(
    metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    connection = connect(metrion.port)
    connection.sendall(head("POST", CHAT, [*marked(metrion.token, mark), ("Content-Length", "1000")]) + b"{")
    connection.close()
    call(metrion, mark)  # what came after it is seen
    assert len(metrion.rows(1, requester=mark)) == 1
    assert len(fake.named(mark)) == 1


def test_gone_after_the_last_byte_stays_ok(metrion: Metrion, mark: str) -> None:
    connection = connect(metrion.port)
    connection.sendall(post(marked(metrion.token, mark, Script(text="whole", framing="chunked"))))
    read_until(connection, b"0\r\n\r\n")
    reset(connection)
    assert outcome(metrion, mark) == (200, "ok")


def test_drained_to_its_usage_after_the_client_left(new_metrion: NewMetrion, fake: FakeProvider, mark: str) -> None:
    """The row has the usage; a flood and a drip have an end."""
    open_before = fake.open
    server = new_metrion(
        {"METRION_ON_CLIENT_GONE": "drain", "METRION_DRAIN_TIMEOUT": "1", "METRION_DRAIN_BYTES": "1000000"}
    )
    stream = (
        'data: {"id":"c","model":"gpt-4o-mini","choices":[]}\n\n'
        + 'data: {"choices":[{"delta":{"content":"x"}}]}\n\n' * 10
        + 'data: {"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":12,"total_tokens":52}}\n\n'
        + "data: [DONE]\n\n"
    )
    sse = [("Content-Type", "text/event-stream")]
    scripts = {
        "usage": Script(text=stream, headers=sse, framing="chunked", piece=60, drip=0.02),
        "drip": Script(size=1_000_000, headers=sse, framing="chunked", piece=10, drip=0.05),
        "flood": Script(size=100 * MIB, headers=sse, framing="chunked"),
        "silent": Script(text=stream, headers=sse, framing="chunked", chunk=100, pause=60),
    }
    for name, script in scripts.items():
        connection = connect(server.port)
        connection.sendall(post(marked(server.token, f"{mark}-{name}", script)))
        read_until(connection, b"\r\n\r\n")
        connection.close()
    rows = {name: one_row(server, f"{mark}-{name}") for name in scripts}
    assert {row["outcome"] for row in rows.values()} == {"client_gone"}
    assert (rows["usage"]["input_tokens"], rows["usage"]["output_tokens"]) == (40, 12)
    assert rows["flood"]["response_bytes"] < 30_000_000
    assert rows["drip"]["response_bytes"] < 1000
    for seen in ("drip", "flood", "silent"):
        assert rows[seen]["latency_ms"] < 3000
    fake.wait(lambda: fake.open <= open_before + 1)  # the one that was drained to its end


def test_a_thousand_clients_that_hang_up_in_mid_stream(
    metrion: Metrion, fake: FakeProvider, new_account: NewAccount
) -> None:
    email, token = new_account(metrion)  # of its own, since an account's log is read whole
    call(metrion, f"{email}-first")
    open_before, descriptors_before = fake.open, descriptors(metrion.pid)
    script = Script(size=10_000_000, framing="chunked", chunk=100, drip=0.5)
    data = post(marked(token, email, script))
    for _ in range(4):
        connections = [connect(metrion.port) for _ in range(250)]
        for connection in connections:
            connection.sendall(data)
        for number, connection in enumerate(connections):
            read_until(connection, b"\x00\x01\x02")
            (reset if number % 2 else socket.socket.close)(connection)
    rows = metrion.rows(1000, email=email, seconds=30)
    assert len(rows) == 1000
    assert {(row["status"], row["outcome"]) for row in rows} == {(200, "client_gone")}
    assert len(fake.named(email)) == 1000
    fake.wait(lambda: fake.open <= open_before)
    settle(lambda: descriptors(metrion.pid) <= descriptors_before)


# ── not reading ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_that_is_not_read_costs_little_memory(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    call(metrion, f"{mark}-warm", Script(size=MIB))
    before = rss(metrion.pid)
    with connect(metrion.port) as connection:
        connection.sendall(post(marked(metrion.token, mark, LARGE)))
        fake.wait(lambda: bool(fake.named(mark)))
        time.sleep(1.0)  # time to buffer, had it no bound
        assert rss(metrion.pid) - before < 2_000_000
        reset(connection)
    row = one_row(metrion, mark)
    assert (row["status"], row["outcome"]) == (200, "client_gone")
    assert row["response_bytes"] < 20_000_000


def test_a_slow_reader_gets_all_of_it(metrion: Metrion, mark: str) -> None:
    script = Script(size=8 * MIB, framing="chunked")
    with connect(metrion.port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client, paused = Client(connection), [0]

        def slowly(answer: Answer) -> None:
            if paused[0] < 10 and len(answer.body) > paused[0] * 500_000:
                paused[0] += 1
                time.sleep(0.05)

        answer = client.exchange("POST", CHAT, marked(metrion.token, mark, script), CHAT_BODY, slowly)
    assert answer.complete
    assert answer.body == script.plain_body()
    assert outcome(metrion, mark) == (200, "ok")


@pytest.mark.parametrize("ahead", [b"", b"x" * 200_000])
def test_an_answer_that_is_not_read_is_cut_in_the_end(
    ahead: bytes, short: Metrion, fake: FakeProvider, mark: str
) -> None:
    open_before = fake.open
    with connect(short.port) as connection:
        connection.sendall(post(marked(short.token, mark, LARGE)))
        read_until(connection, b"\r\n\r\n")
        time.sleep(0.3)
        connection.sendall(ahead)
        row = one_row(short, mark)
        assert (row["status"], row["outcome"]) == (200, "client_gone")
        assert 900 < row["latency_ms"] < 5000
        fake.wait(lambda: fake.open <= open_before)
        assert read_all(connection)[1] == "reset"


def test_a_client_that_asks_and_asks_without_reading_fills_no_memory(metrion: Metrion) -> None:
    flood = head("GET", f"{OPENAI}/models", [("X-Fill", "x" * 200)]) * 500
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(1.0)
        connection.connect(("127.0.0.1", metrion.port))
        connection.sendall(flood)
        before = rss(metrion.pid)
        sent = 0
        with contextlib.suppress(TimeoutError):  # it reads no more: well done
            while sent < 60 * MIB:
                sent += connection.send(flood)
        assert rss(metrion.pid) - before < 8 * MIB
        assert sent < 60 * MIB
        connection.settimeout(0.2)
        received = 0
        with contextlib.suppress(TimeoutError):
            while data := connection.recv(1 << 20):
                received += len(data)
        assert received > MIB  # once it reads, it is served on
        reset(connection)


# ── large ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_100_mb_up_and_down_in_bounded_memory(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    size = 100 * 1000 * 1000
    call(metrion, f"{mark}-warm", Script(size=MIB))
    before, peak = rss(metrion.pid), [0]

    block = bytes(range(256)) * 4096
    with connect(metrion.port) as connection:
        connection.sendall(
            head("POST", UPLOAD, [*marked(metrion.token, mark, Script(size=size)), ("Content-Length", str(size))])
        )
        left = size
        while left:
            connection.sendall(block[:left])
            left -= len(block[:left])
            peak[0] = max(peak[0], rss(metrion.pid))
        received, body_bytes = b"", 0
        while True:
            data = connection.recv(1 << 18)
            received = (received + data)[:2000] if len(received) < 2000 else received
            body_bytes += len(data)
            if body_bytes >= size + received.index(b"\r\n\r\n") + 4:
                break
            if body_bytes % 16 == 0:
                peak[0] = max(peak[0], rss(metrion.pid))
    (seen,) = fake.named(mark)
    assert (seen.body_bytes, seen.complete) == (size, True)
    row = one_row(metrion, mark)
    assert (row["outcome"], row["request_bytes"], row["response_bytes"]) == ("ok", size, size)
    assert peak[0] - before < 12 * MIB


# ── older and odder ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "script", [Script(text="hello"), Script(text="hello", framing="chunked"), Script(text="hello", framing="close")]
)
def test_an_http_1_0_client_is_answered_close_delimited(script: Script, metrion: Metrion, mark: str) -> None:
    received, how = say(metrion.port, post(marked(metrion.token, mark, script), version="1.0"))
    assert status_of(received) == 200
    assert received.endswith(b"\r\n\r\nhello")
    assert b"transfer-encoding" not in received.lower()
    assert how == "fin"


def test_an_http_1_0_client_can_tell_a_cut_from_an_end(metrion: Metrion, mark: str) -> None:
    script = Script(text="hello " * 100, framing="chunked", chunk=60, cut_at=400)
    received, how = say(metrion.port, post(marked(metrion.token, mark, script), version="1.0"))
    assert (status_of(received) in (0, 200), how) == (True, "reset")
    assert outcome(metrion, mark) == (200, "upstream_failed")


def test_continue_is_said_after_admission(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    expects = ("Expect", "100-continue")
    with connect(metrion.port) as connection:
        connection.sendall(
            post([*marked(metrion.token, mark), expects], b"")[:-4].replace(b"th: 0", b"th: 67") + b"\r\n\r\n"
        )
        assert read_until(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert fake.named(mark) == []
        connection.sendall(CHAT_BODY)
        assert status_of(read_until(connection, b"\r\n\r\n")) == 200
    assert fake.named(mark)[0].get("expect") is None
    for headers, status in (([], 401), ([*marked(metrion.token, mark), ("Content-Length", "200000000")], 413)):
        with connect(metrion.port) as connection:
            length = [] if headers else [("Content-Length", "67")]
            connection.sendall(head("POST", CHAT, [*headers, *length, expects]))
            assert status_of(read_until(connection, b"\r\n\r\n")) == status


def test_an_http_1_0_client_is_told_no_continue(metrion: Metrion, mark: str) -> None:
    received, _ = say(metrion.port, post([*marked(metrion.token, mark), ("Expect", "100-continue")], version="1.0"))
    assert status_of(received) == 200


def test_connection_close_is_kept(metrion: Metrion, mark: str) -> None:
    received, how = say(metrion.port, post([*marked(metrion.token, mark), ("Connection", "Close")]))
    assert (status_of(received), how) == (200, "fin")
    assert b"connection: close" in received.lower()


@pytest.mark.parametrize(
    "script", [Script(text="hello"), Script(text="hello", framing="chunked"), Script(status=204), Script(status=304)]
)
def test_an_answer_to_head_has_no_body_and_the_connection_goes_on(script: Script, metrion: Metrion, mark: str) -> None:
    with connect(metrion.port) as connection:
        client = Client(connection)
        for method in ("HEAD", "GET") if script.status in (204, 304) else ("HEAD",):
            answer = client.exchange(method, f"{OPENAI}/models", marked(metrion.token, mark, script))
            assert (answer.status, answer.body, answer.complete) == (script.status, b"", True)
        answer = client.exchange("POST", CHAT, marked(metrion.token, mark, Script(text="next")), CHAT_BODY)
        assert answer.body == b"next"


# ── browsers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

PREFLIGHT = [
    ("Access-Control-Request-Method", "POST"),
    ("Access-Control-Request-Headers", "authorization,x-stainless-os"),
]


def test_a_preflight_of_an_allowed_origin_is_answered_here(short: Metrion, fake: FakeProvider, mark: str) -> None:
    more = [("Origin", "https://app.example"), ("X-Mark", mark), *PREFLIGHT]
    answer = call(short, mark, path=CHAT, method="OPTIONS", body=b"", more=more)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.all("access-control-allow-origin") == ["https://app.example"]
    assert answer.get("access-control-allow-headers") == "authorization,x-stainless-os"
    assert "POST" in (answer.get("access-control-allow-methods") or "")
    assert "Origin" in (answer.get("vary") or "")
    assert answer.get("access-control-allow-credentials") is None
    assert fake.named(mark) == []


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.evil",
        "http://app.example",
        "https://app.example:444",
        "null",
        "*",
        "https://APP.example",
        "",
    ],
)
def test_other_origins_get_no_cors_header(origin: str, short: Metrion, fake: FakeProvider, mark: str) -> None:
    script = Script(headers=[("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true")])
    for method in ("OPTIONS", "POST"):
        more = [("Origin", origin), *(PREFLIGHT if method == "OPTIONS" else [])]
        answer = call(short, mark, script, method=method, body=CHAT_BODY if method == "POST" else b"", more=more)
        assert answer.status == 200  # an OPTIONS of nobody we know goes to the provider, as any method
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]
    refused = call(short, mark, token="sk-metrion-unknown", more=[("Origin", origin)])
    assert refused.get("access-control-allow-origin") is None


def test_an_allowed_origin_may_read_answers_and_refusals(short: Metrion, mark: str) -> None:
    origin = [("Origin", "https://app.example")]
    script = Script(headers=[("Access-Control-Allow-Origin", "*"), ("Vary", "Accept")])
    for answer in (call(short, mark, script, more=origin), call(short, mark, token="sk-metrion-unknown", more=origin)):
        assert answer.all("access-control-allow-origin") == ["https://app.example"]
        assert "x-metrion-error" in (answer.get("access-control-expose-headers") or "")
        assert answer.get("access-control-allow-credentials") is None
