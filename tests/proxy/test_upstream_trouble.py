"""Providers that fail: the client gets what spec §2.5 and §2.6 say, the row tells it, and no request is sent twice."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Literal

import pytest

from tests.conformance.cases import is_shaped
from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider, Script
from tests.proxy.talk import (
    CHAT,
    CHAT_BODY,
    GENERATE,
    MESSAGES,
    MIB,
    OPENAI,
    UPLOAD,
    call,
    connect,
    descriptors,
    error_of,
    head,
    marked,
    message_of,
    one_row,
    outcome,
    post,
    read_all,
    read_answer,
    read_until,
    rows_of,
    say,
    settle,
    status_of,
)
from tests.support import Answer, Client, Metrion, free_port

WHOLE = Script(text="0123456789" * 10, headers=[("X-A", "b")])
Framing = Literal["length", "chunked", "none"]
CHUNKED = Script(text="0123456789" * 10, framing="chunked", chunk=30, extension=";a=b", trailers=[("X-T", "c")])
CLOSED = Script(text="0123456789" * 10, framing="none")
BAD_GATEWAY = (502, "upstream_failed")
FAMILIES = {"anthropic": MESSAGES, "openai": CHAT, "gemini": GENERATE}


def refused(answer: Answer, code: str, *, retry: str | None) -> None:
    status = {"upstream_failed": 502, "upstream_timeout": 504}[code]
    assert (answer.status, answer.get("x-metrion-error"), answer.complete) == (status, code, True)
    assert answer.get("x-should-retry") == retry
    assert is_shaped("openai", answer.json(), status)
    assert message_of(answer).startswith("Metrion: OpenAI ")


@contextmanager
def peer(serve: Callable[[socket.socket], None], times: int = 1) -> Iterator[str]:
    """A provider of sockets: `serve` gets each connection; its origin."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:

        def run() -> None:
            for _ in range(times):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(20)
                    serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


# ── not there ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """A Metrion whose providers are not there: nobody listens, or nobody takes the connection."""
    with ExitStack() as held:
        deaf = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # its queue is full: a new connection hangs, as with a firewall that drops
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        dead = f"http://127.0.0.1:{free_port()}"
        origins = {
            "openai": dead,
            "anthropic": dead,
            "gemini": dead,
            "mistral": f"http://127.0.0.1:{deaf.getsockname()[1]}",
        }
        settings = {"METRION_UPSTREAM_CONNECT_TIMEOUT": "0.5"}
        server = Metrion(tmp_path_factory.mktemp("lonely") / "data", origins, settings)
        server.token = server.create_account()
        server.start()
        yield server
        server.stop()


def test_a_dead_port_is_a_502_that_may_be_tried_again(lonely: Metrion, mark: str) -> None:
    for family, path in FAMILIES.items():
        answer = call(lonely, f"{mark}-{family}", path=path, body=b'{"model":"m","max_tokens":1,"messages":[]}')
        assert (answer.status, answer.get("x-metrion-error")) == BAD_GATEWAY
        assert is_shaped(family, answer.json(), 502)
        assert "could not be reached (Connection refused)" in message_of(answer)
        assert answer.get("x-should-retry") is None  # nothing was sent
        assert message_of(answer).startswith("Metrion: ")
    for row in rows_of(lonely, [f"{mark}-{family}" for family in FAMILIES]):
        assert (row["status"], row["outcome"]) == (502, "upstream_failed")
        assert row["error_message"].endswith("could not be reached (Connection refused).")


def test_a_connection_nobody_takes_is_a_504_that_names_its_setting(lonely: Metrion, mark: str) -> None:
    began = time.monotonic()
    answer = call(lonely, mark, path="/api/proxy/mistral/v1/chat/completions")
    assert 0.4 < time.monotonic() - began < 5
    assert (answer.status, answer.get("x-metrion-error")) == (504, "upstream_timeout")
    assert "METRION_UPSTREAM_CONNECT_TIMEOUT" in message_of(answer)
    assert answer.get("x-should-retry") is None
    assert outcome(lonely, mark) == (504, "timeout")


def test_a_large_upload_to_a_dead_port_is_a_502(lonely: Metrion, mark: str) -> None:
    answer = call(lonely, mark, path=UPLOAD, body=b"x" * 5_000_000)
    assert (answer.status, answer.get("x-metrion-error")) == BAD_GATEWAY
    assert outcome(lonely, mark) == (502, "upstream_failed")


# ── silent ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_silence_before_the_head_is_a_504(short: Metrion, fake: FakeProvider, mark: str) -> None:
    open_before, began = fake.open, time.monotonic()
    scripts = [Script(act="silent"), Script(delay=3), Script(informational=[100], delay=3)]
    marks = [f"{mark}-{number}" for number in range(len(scripts))]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda one, script: call(short, one, script), marks, scripts))
    assert 0.9 < time.monotonic() - began < 5
    for answer in answers:
        refused(answer, "upstream_timeout", retry="false")
        assert "METRION_UPSTREAM_TIMEOUT" in message_of(answer)
        assert "1 s" in message_of(answer)
    for row in rows_of(short, marks):
        assert (row["status"], row["outcome"], row["cost_usd"], row["cost_source"]) == (504, "timeout", None, "unknown")
    assert [len(fake.named(one)) for one in marks] == [1, 1, 1]
    fake.wait(lambda: fake.open <= open_before)


def test_silence_in_mid_stream_is_a_cut(short: Metrion, mark: str) -> None:
    framings: tuple[Framing, ...] = ("length", "chunked", "none")

    def ask(framing: Framing) -> tuple[bytes, str]:
        script = Script(text="x" * 100, framing=framing, chunk=50, piece=50, drip=3)
        return say(short.port, post(marked(short.token, f"{mark}-{framing}", script)))

    with ThreadPoolExecutor() as pool:
        for received, how in pool.map(ask, framings):
            assert (status_of(received), how) == (200, "reset")
    for row in rows_of(short, [f"{mark}-{framing}" for framing in framings]):
        assert (row["status"], row["outcome"]) == (200, "timeout")


def test_a_slow_provider_that_says_something_in_time_is_not_cut(short: Metrion, mark: str) -> None:
    script = Script(text="x" * 80, framing="chunked", chunk=10, delay=0.7, drip=0.25)
    answer = call(short, mark, script)
    assert (answer.body, answer.complete) == (b"x" * 80, True)
    row = one_row(short, mark)
    assert (row["outcome"], row["latency_ms"] > 1500) == ("ok", True)


def test_the_head_is_not_kept_waiting_for_the_body(short: Metrion, mark: str) -> None:
    with connect(short.port) as connection:
        connection.sendall(post(marked(short.token, mark, Script(text="late", pause=0.6))))
        began = time.monotonic()
        received = read_until(connection, b"\r\n\r\n")
        assert time.monotonic() - began < 0.5
        assert received.endswith(b"\r\n\r\n")
        assert read_until(connection, b"late") == b"late"


# ── not HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────

OK = "HTTP/1.1 200 OK\r\n"


NOT_HTTP = (
    "SSH-2.0-OpenSSH_9.2\r\n",
    "220 mail.example ESMTP\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01" * 20,
    "<html>not found</html>",
    "HTTP/2 200 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    OK + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    OK + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    OK + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    OK + "Content-Length: -5\r\n\r\nhello",
    OK + "Content-Length: 5\r\n X-Folded: a\r\n\r\nhello",
    OK + "X-A: b\nX-B: c\r\nContent-Length: 5\r\n\r\nhello",
    OK + "X-A : b\r\nContent-Length: 5\r\n\r\nhello",
    OK + "no colon\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + "X: y\r\n" * 2000 + "\r\n",
    OK,
    "H",
)


def test_what_is_not_http_is_a_502(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    for number, raw in enumerate(NOT_HTTP):
        refused(call(metrion, f"{mark}-{number}", Script(raw=raw)), "upstream_failed", retry="false")
    assert call(metrion, mark).status == 200
    marks = [f"{mark}-{number}" for number in range(len(NOT_HTTP))]
    assert [len(fake.named(one)) for one in marks] == [1] * len(marks)
    for row in rows_of(metrion, marks):
        assert (row["status"], row["outcome"]) == (502, "upstream_failed")
        assert row["error_message"].startswith("OpenAI ")


def test_a_body_that_is_not_http_is_a_cut(metrion: Metrion, mark: str) -> None:
    raw = OK + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n"
    for script in (Script(raw=raw), Script(raw=raw, piece=20)):
        answer = call(metrion, mark, script)
        assert answer.status in (200, 0)
        assert not answer.complete
    assert [(row["status"], row["outcome"]) for row in metrion.rows(2, requester=mark)] == [
        (200, "upstream_failed")
    ] * 2


def test_a_head_without_end_is_a_502(metrion: Metrion, mark: str) -> None:
    refused(call(metrion, mark, Script(text="x", header_bytes=3 * MIB)), "upstream_failed", retry="false")
    assert outcome(metrion, mark) == (502, "upstream_failed")


@pytest.mark.parametrize("act", ["close", "reset"])
def test_no_answer_at_all_is_a_502(act: str, metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    refused(call(metrion, mark, Script(act=act)), "upstream_failed", retry="false")  # type: ignore[arg-type]
    assert outcome(metrion, mark) == (502, "upstream_failed")
    assert len(fake.named(mark)) == 1


def test_a_head_of_64_kib_passes(metrion: Metrion, mark: str) -> None:
    answer = call(metrion, mark, Script(text="x", header_bytes=65_536, header_count=150))
    assert (answer.status, answer.body, len(answer.get("x-large") or "")) == (200, b"x", 65_536)


# ── cut ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("script", [WHOLE, CHUNKED, CLOSED], ids=["length", "chunked", "until-close"])
def test_a_cut_at_any_byte_never_looks_complete(
    script: Script, how: str, metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    wire = b"".join(script.wire(bodyless=False))
    body_at = wire.index(b"\r\n\r\n") + 4
    ends = {1, 9, body_at - 1, body_at, body_at + 1, len(wire) - 1, *range(body_at, len(wire), 17)}
    expected = []
    for end in sorted(ends):
        cut = Script(
            text=script.text,
            headers=script.headers,
            framing=script.framing,
            chunk=script.chunk,
            extension=script.extension,
            trailers=script.trailers,
            cut_at=end,
            cut_by=how,  # type: ignore[arg-type]
        )
        assert cut.framing == script.framing
        answer = call(metrion, mark, cut)
        if script.framing == "none" and how == "fin" and end >= body_at:  # the end of the connection is its end
            assert (answer.complete, answer.body) == (True, script.plain_body()[: end - body_at])
            expected.append((200, "ok"))
        elif end < body_at:
            refused(answer, "upstream_failed", retry="false")
            expected.append((502, "upstream_failed"))
        else:
            assert answer.status in (0, 200)
            assert not answer.complete
            assert script.plain_body().startswith(answer.body)
            expected.append((200, "upstream_failed") if answer.status or how == "fin" else None)  # type: ignore[arg-type]
    rows = metrion.rows(len(ends), requester=mark)
    seen = [(row["status"], row["outcome"]) for row in rows]
    assert len(seen) == len(expected)
    for got, wanted in zip(seen, expected, strict=True):  # RST may overtake the head, which is then a 502
        assert got == wanted or (how == "reset" and got in ((502, "upstream_failed"), (200, "upstream_failed")))
    assert len(fake.named(mark)) == len(ends)


# ── odd but right ────────────────────────────────────────────────────────────────────────────────────────────────────


ODD = (
    CHUNKED,
    CLOSED,
    Script(text="hello", informational=[100, 103, 103]),
    Script(text="x" * 1000, framing="chunked", chunk=1),
    Script(text="x" * 1000, framing="chunked", chunk=7, piece=1),
    Script(text="x" * 300, piece=1),
    Script(text="", framing="chunked"),
    Script(text="", framing="length"),
    Script(status=204),
    Script(status=304, headers=[("ETag", '"a"')]),
    Script(status=299, reason="", text="odd"),
    Script(status=302, headers=[("Location", "http://evil.example/")], text="moved"),
    Script(text="hello", then="close"),
)


def test_odd_but_right_answers_pass_whole(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    with connect(metrion.port) as connection:
        client = Client(connection)
        for script in (*ODD, *reversed(ODD)):
            answer = client.exchange("POST", CHAT, marked(metrion.token, mark, script), CHAT_BODY)
            assert (answer.status, answer.body, answer.complete) == (script.status, script.plain_body(), True)
            assert (answer.informational, answer.trailers) == ([], [])
    expected = [(script.status, "ok") for script in (*ODD, *reversed(ODD))]
    assert [(row["status"], row["outcome"]) for row in metrion.rows(len(expected), requester=mark)] == expected
    assert len(fake.named(mark)) == len(expected)


def test_thousands_of_1xx_heads_are_passed_over(metrion: Metrion, mark: str) -> None:
    answer = call(metrion, mark, Script(text="hello", informational=[100] * 5000))
    assert (answer.status, answer.body) == (200, b"hello")
    assert "Traceback" not in metrion.log.read_text()


def test_an_answer_of_http_1_0_ends_with_its_connection(metrion: Metrion, mark: str) -> None:
    answer = call(metrion, mark, Script(raw="HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"))
    assert (answer.status, answer.body, answer.complete) == (200, b"hello", True)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", ""])
def test_5_mb_each_way_packed_or_not(encoding: str, metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    script = Script(size=5 * MIB + 1, encoding=encoding, framing="chunked" if encoding else "length")  # type: ignore[arg-type]
    upload = bytes(range(256)) * 20_480 + b"x"
    answer = call(metrion, mark, script, path=UPLOAD, body=upload, more=[("Content-Encoding", "gzip")])
    assert (answer.body, answer.complete) == (script.body(), True)
    assert answer.get("content-encoding") == (encoding or None)
    (seen,) = fake.named(mark)
    assert (seen.body_bytes, seen.complete) == (len(upload), True)
    row = one_row(metrion, mark)
    assert (row["request_bytes"], row["response_bytes"]) == (len(upload), len(script.body()))


# ── early ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_before_the_upload_is_complete_passes(metrion: Metrion, mark: str) -> None:
    script = Script(status=413, text='{"error":{"message":"too large"}}', early=True)
    lines = [*marked(metrion.token, mark, script), ("Content-Length", "20000000")]
    with connect(metrion.port) as connection:
        connection.sendall(head("POST", UPLOAD, lines) + b"x" * 10_000)
        received = read_answer(connection)
        assert status_of(received) == 413
        assert received.endswith(b'{"error":{"message":"too large"}}')
        connection.sendall(b"x" * 100_000 + head("GET", "/healthz"))  # the rest is no request
        rest, _ = read_all(connection)
    assert rest == b""
    row = one_row(metrion, mark)
    assert (row["status"], row["outcome"], row["error_message"]) == (413, "provider_error", "too large")


def test_a_provider_that_answers_and_never_reads_holds_nothing(new_metrion: NewMetrion, mark: str) -> None:
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        ended.wait(20)  # and reads no more

    with peer(serve) as origin:
        server = new_metrion({}, origins={"openai": origin})
        before = descriptors(server.pid)
        with connect(server.port) as connection:
            lines = [*marked(server.token, mark), ("Content-Length", "50000000")]
            connection.sendall(head("POST", UPLOAD, lines) + b"x" * 1000)
            assert status_of(read_answer(connection)) == 200
        with connect(server.port) as connection:
            connection.sendall(head("GET", "/healthz", [("Connection", "close")]))
            read_all(connection)
        settle(lambda: descriptors(server.pid) <= before, 5, "a connection is left")
        ended.set()


def test_an_upload_larger_than_what_waits_ends_with_an_early_answer(new_metrion: NewMetrion, mark: str) -> None:
    """The provider answers while megabytes still wait to be written to it: they are dropped, with the connection."""
    ended, got = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.recv(1000)
        got.wait(20)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        ended.wait(20)

    with peer(serve) as origin:
        server = new_metrion({}, origins={"openai": origin})
        before = descriptors(server.pid)
        with connect(server.port) as connection:
            lines = [*marked(server.token, mark), ("Content-Length", "50000000")]
            connection.sendall(head("POST", UPLOAD, lines))
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                while True:
                    connection.sendall(b"x" * 65536)
            connection.settimeout(20)
            got.set()
            assert status_of(read_answer(connection)) == 200
        settle(lambda: descriptors(server.pid) <= before, 5, "a connection is left")
        ended.set()


# ── reused connections ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_closed_on_reuse_is_a_502_and_nothing_is_sent_again(
    how: str, metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    script = Script(text="ok", on_reuse=how)  # type: ignore[arg-type]
    statuses = []
    for _ in range(6):
        answer = call(metrion, mark, script)
        statuses.append(answer.status)
        if answer.status == 502:
            refused(answer, "upstream_failed", retry="false")
    assert 502 in statuses
    assert len(fake.named(mark)) == 6  # each arrived once
    assert [row["status"] for row in metrion.rows(6, requester=mark)] == statuses


def test_a_connection_that_closed_while_idle_is_not_used_again(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    for _ in range(5):
        assert call(metrion, mark, Script(text="ok", then="close")).status == 200
        time.sleep(0.05)  # for the end of the connection to arrive
    assert len(fake.named(mark)) == 5


def test_what_comes_behind_an_answer_is_no_answer_to_the_next(new_metrion: NewMetrion, mark: str) -> None:
    good, evil = (f"{OK}Content-Length: 4\r\n\r\n{body}".encode() for body in ("good", "evil"))
    again: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        at_once = len(again) < 2
        connection.sendall(good + (evil if at_once else b""))
        if not at_once:
            time.sleep(0.05)  # to arrive apart
            connection.sendall(evil)
        again.append(read_all(connection)[0])

    with peer(serve, 4) as origin:
        server = new_metrion({}, origins={"openai": origin})
        for number in range(1, 5):
            assert call(server, mark).body == b"good"
            settle(lambda number=number: len(again) == number)  # type: ignore[misc]
    assert again == [b""] * 4  # nothing more was asked of any of these connections


def test_connections_are_reused(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    for _ in range(5):
        assert call(metrion, mark).status == 200
    assert len({seen.connection for seen in fake.named(mark)}) == 1


# ── heads of other kinds ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_answer_to_head_passes_without_body(framing: str, metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    script = Script(text="x" * 500, framing=framing)  # type: ignore[arg-type]
    for _ in range(2):
        answer = call(metrion, mark, script, method="HEAD", path=f"{OPENAI}/models", body=b"")
        assert (answer.status, answer.body, answer.complete) == (200, b"", True)
        assert answer.get("content-length") == ("500" if framing == "length" else None)
    assert len({seen.connection for seen in fake.named(mark)}) == 1
    rows = metrion.rows(2, requester=mark)
    assert [(row["outcome"], row["response_bytes"]) for row in rows] == [("ok", 0)] * 2


def test_a_refused_head_has_no_body_either(metrion: Metrion) -> None:
    received, _ = say(metrion.port, head("HEAD", f"{OPENAI}/models", [("Connection", "close")]))
    assert (status_of(received), error_of(received)) == (401, "no_credential")
    assert received.endswith(b"\r\n\r\n")


def test_a_providers_error_passes_as_it_came(metrion: Metrion, mark: str) -> None:
    text = '{"error":{"message":"no, with key provider-key-of-openai-0123456789","type":"t"}}'
    statuses = [400, 401, 404, 429, 500, 529]
    for status in statuses:
        more = [("Retry-After", "7"), ("X-Should-Retry", "true")]
        answer = call(metrion, mark, Script(status=status, reason="Odd", text=text, headers=more))
        assert (answer.status, answer.body) == (status, text.encode())
        assert (answer.get("retry-after"), answer.get("x-should-retry")) == ("7", "true")
        assert answer.get("x-metrion-error") is None
    rows = metrion.rows(len(statuses), requester=mark)
    assert [(row["status"], row["outcome"]) for row in rows] == [(status, "provider_error") for status in statuses]
    for row in rows:
        assert row["error_message"].startswith("no, with key ")
        assert "0123456789" not in row["error_message"]
