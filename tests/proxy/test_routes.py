"""No request leaves a provider's root, and no bytes on the wire smuggle a second one. Spec §2.1; house.md §3."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from metrion.proxy.target import Router
from tests.fake_provider import FakeProvider, Script
from tests.proxy.conftest import NewAccount
from tests.proxy.talk import (
    CHAT,
    CHAT_BODY,
    OPENAI,
    call,
    connect,
    error_of,
    head,
    marked,
    message_of,
    one_row,
    post,
    read_all,
    read_answer,
    read_until,
    say,
    status_of,
)
from tests.support import Metrion, exchange

ROOTS = {
    "openai": ("/api/proxy/openai", "/v1/"),
    "mistral": ("/api/proxy/mistral", "/v1/"),
    "grok": ("/api/proxy/grok", "/v1/"),
    "anthropic": ("/api/proxy/anthropic", "/v1/"),
    "gemini": ("/api/proxy/gemini", "/v1beta/openai/"),
}
TRICKS = (
    "/v1/../x",
    "/v1/..",
    "/v1/./x",
    "/v1/../../x",
    "/../x",
    "/v1//x",
    "//x",
    "/v1/%2e%2e/x",
    "/v1/%2E%2e/x",
    "/v1/.%2e/x",
    "/v1/%2e/x",
    "/v1/..%2fx",
    "/v1/..%5cx",
    "/v1/..\\x",
    "/v1/%252e%252e/x",
    "/v1/a%2fb",
    "/v1/a%2Fb",
    "/v1/a%5Cb",
    "/v1/..;/x",
    "/v1/..;a=b/x",
    "/v1/.;/x",
    "/v1/%00",
    "/v1/%0d%0aHost:%20evil.example",
    "/v1/%",
    "/v1/%zz",
    "/v1/a%c",
    "/v1/a#b",
    "/v1/a\\b",
    '/v1/a"b',
    "/v1/a<b",
    "/v1/a|b",
    "/v1/{a}",
    "/@evil.example/x/..",
    "/v1/\xe4",
    "",
    "/",
    "/v1",
    "/v1/",
)


@pytest.mark.parametrize("provider", ROOTS)
def test_no_spelling_leaves_the_providers_root(provider: str) -> None:
    router = Router()
    root, _ = ROOTS[provider]
    for trick in TRICKS:
        for hint in ({}, {b"x-goog-api-key": [b"x"]}):
            target = router.find(b"POST", (root + trick).encode("latin-1"), b"", hint)
            # Gemini's own API has its models under /v1, which its clients ask for with a key of Google's kind.
            assert target is None or (provider, trick) in {("gemini", "/v1/")}, (trick, target)


@pytest.mark.parametrize("provider", ROOTS)
@pytest.mark.parametrize("path", ["/v1beta/x", "/v1x", "/v1.0/x", "/v1:x", "/v10/files", "/v1-preview/y"])
def test_what_only_begins_like_v1_stays_below_the_root(provider: str, path: str) -> None:
    root, upstream = ROOTS[provider]
    if provider == "gemini" and path.startswith("/v1beta/"):
        upstream = "/v1beta/"  # its own API
    target = Router().find(b"POST", (root + path).encode(), b"", {})
    assert target is not None
    assert target.path.decode().startswith(upstream)
    assert target.path.decode().endswith(path)


@pytest.mark.parametrize("path", ["/v1/files", "/files"])
@pytest.mark.parametrize("provider", ROOTS)
def test_both_spellings_lead_to_one_path(provider: str, path: str) -> None:
    root, upstream = ROOTS[provider]
    target = Router().find(b"POST", (root + path).encode(), b"", {})
    assert target is not None
    assert target.path.decode() == upstream + "files"


@pytest.mark.parametrize(
    "path", ["/api/proxy/v1/../x", "/api/proxy/v1//x", "/api/proxy/v1/..;/x", "/api/proxy/messages/../x"]
)
def test_anthropics_own_root_has_no_way_out_either(path: str) -> None:
    assert Router().find(b"POST", path.encode(), b"", {}) is None


@pytest.mark.parametrize(
    "path", ["/api/proxy", "/api/proxy/", "/api/proxy/nobody/v1/x", "/api/proxy/Openai/v1/x", "/api/proxy/openai"]
)
def test_paths_without_a_provider_lead_nowhere(path: str) -> None:
    assert Router().find(b"POST", path.encode(), b"", {}) is None


def test_paths_nobody_asks_for_again_cost_no_memory() -> None:
    router = Router()
    tracemalloc.start()
    try:
        for number in range(1000):
            assert router.find(b"GET", b"/api/proxy/openai/v1/" + b"a" * 60_000 + b"%d" % number, b"", {})
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4_000_000


def test_a_trick_is_answered_here_with_a_row(metrion: Metrion, fake: FakeProvider, new_account: NewAccount) -> None:
    email, token = new_account(metrion)
    tricks = ["/../x", "//x", "/%2e%2e/x", "/a%2fb", "/a%5cb", "/..;/x", "/a#b", "/%00"]
    for trick in tricks:
        answer = call(metrion, email, path=OPENAI + trick, token=token)
        assert (answer.status, answer.get("x-metrion-error")) == (404, "no_route"), trick
        assert "/api/proxy/openai/v1" in message_of(answer)
    rows = metrion.rows(len(tricks), email=email)
    assert [(row["status"], row["outcome"]) for row in rows] == [(404, "rejected")] * len(tricks)
    assert fake.named(email) == []


def test_an_absolute_form_leads_no_further_than_a_path(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    for target in (f"http://evil.example{CHAT}", fake.origin + "/v1/models", f"{OPENAI}/http://evil.example/x"):
        answer = exchange(metrion.port, "GET", target, marked(metrion.token, mark))
        assert answer.status == 404
    assert fake.named(mark) == []


def test_a_fragment_is_no_part_of_a_path(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    answer = call(metrion, mark, path=f"{OPENAI}/models#frag", method="GET", body=b"")
    assert answer.status == 404
    assert fake.named(mark) == []


def test_a_very_long_path_passes_up_to_the_heads_limit(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    path = "/" + "a" * 60_000
    answer = call(metrion, mark, path=OPENAI + path, method="GET", body=b"")
    assert answer.status == 200
    assert fake.named(mark)[0].target == "/v1" + path
    assert one_row(metrion, mark)["endpoint"] == "a" * 64


def test_a_query_passes_as_it_came(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    query = "?a=../..&b=//x&c=%2e%2e%2f&d=%zz&?&&=&key=mine&e[]=1"
    assert call(metrion, mark, path=f"{OPENAI}/models{query}", method="GET", body=b"").status == 200
    assert fake.named(mark)[0].target == f"/v1/models{query}"


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "BREW"])
def test_methods_of_no_use_to_a_page_end_there(method: str, metrion: Metrion) -> None:
    for target in ("evil.example:443", "/", "*"):
        received, _ = say(metrion.port, head(method, target, [("Connection", "close")]))
        assert 400 <= status_of(received) < 500


# ── on the wire ──────────────────────────────────────────────────────────────────────────────────────────────────────

SMUGGLED = b"POST /api/proxy/openai/v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 0",
        b"Content-Length: +5",
        b"Content-Length : 5",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"X-A: b\r\n Content-Length: 5",
        b"X-A: b\rContent-Length: 5",
        b"X-A: b\nContent-Length: 5",
        b"X-A: \x00",
        b"Host: b",
    ],
)
def test_a_head_to_smuggle_with_is_refused_and_nothing_behind_it_is_read(
    framing: bytes, metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    auth = b"X-Mark: %b\r\nAuthorization: Bearer %b" % (mark.encode(), metrion.token.encode())
    smuggled = SMUGGLED.replace(b"Host: a", b"Host: a\r\n" + auth)
    first = b"POST %b HTTP/1.1\r\nHost: a\r\n%b\r\n%b\r\n\r\n0\r\n\r\n" % (CHAT.encode(), auth, framing)
    with connect(metrion.port) as connection:
        connection.sendall(first + smuggled)
        received = read_until(connection, b"}}")
        assert (status_of(received), error_of(received)) == (400, "bad_http")
        assert b"connection: close" in received
        connection.sendall(smuggled)
        connection.shutdown(1)
        more, _ = read_all(connection)
    assert more == b""
    assert fake.named(mark) == []


def test_a_bad_chunk_of_a_body_read_whole_never_reaches_the_provider(
    metrion: Metrion, fake: FakeProvider, new_account: NewAccount
) -> None:
    email, token = new_account(metrion)
    sizes = [b"+5", b"0x5", b"5_", b" 5", b"-5", b"g", b"f" * 17]
    for size in sizes:
        lines = [*marked(token, email), ("Transfer-Encoding", "chunked")]
        with connect(metrion.port) as connection:
            connection.sendall(head("POST", CHAT, lines) + size + b"\r\nhello\r\n0\r\n\r\n")
            received = read_answer(connection)
        assert (status_of(received), error_of(received)) == (400, "bad_http"), size
    assert fake.named(email) == []
    rows = metrion.rows(len(sizes), email=email)
    assert [(row["status"], row["outcome"]) for row in rows] == [(400, "rejected")] * len(sizes)


def test_a_bad_chunk_of_an_upload_ends_it_at_the_provider_too(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    lines = [*marked(metrion.token, mark), ("Transfer-Encoding", "chunked")]
    with connect(metrion.port) as connection:
        connection.sendall(head("POST", f"{OPENAI}/files", lines) + b"5\r\nhello\r\n")
        fake.wait(lambda: bool(fake.named(mark)) and fake.named(mark)[0].body == b"hello")
        connection.sendall(b"+5\r\nhello\r\n0\r\n\r\n")
        received = read_until(connection, b"}}")
    assert (status_of(received), error_of(received)) == (400, "bad_http")
    (seen,) = fake.named(mark)
    assert not seen.complete
    assert one_row(metrion, mark)["status"] == 400


def test_trailers_are_no_headers(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    body = b"%x\r\n%b\r\n0\r\nAuthorization: Bearer %b\r\nX-Api-Key: %b\r\nX-Metrion-User: evil\r\n\r\n"
    body %= (len(CHAT_BODY), CHAT_BODY, metrion.token.encode(), metrion.token.encode())
    bare = head("POST", CHAT, [("Transfer-Encoding", "chunked"), ("X-Mark", mark), ("Connection", "close")])
    received, _ = say(metrion.port, bare + body)
    assert (status_of(received), error_of(received)) == (401, "no_credential")
    known = head(
        "POST", CHAT, [*marked(metrion.token, mark), ("Transfer-Encoding", "chunked"), ("Connection", "close")]
    )
    received, _ = say(metrion.port, known + body.replace(metrion.token.encode(), b"sk-metrion-" + b"0" * 32))
    assert status_of(received) == 200
    (seen,) = fake.named(mark)
    assert (seen.body, seen.trailers) == (CHAT_BODY, [])
    assert one_row(metrion, mark)["requester"] == mark


def test_a_request_byte_by_byte_is_the_same_request(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    lines = [*marked(metrion.token, mark), ("Transfer-Encoding", "chunked")]
    body = (
        b"4;a=b\r\n" + CHAT_BODY[:4] + b"\r\n%x\r\n" % (len(CHAT_BODY) - 4) + CHAT_BODY[4:] + b"\r\n0\r\nX: y\r\n\r\n"
    )
    with connect(metrion.port) as connection:
        connection.setsockopt(6, 1, 1)  # TCP_NODELAY
        for byte in head("POST", CHAT, lines) + body:
            connection.sendall(bytes([byte]))
        assert status_of(read_until(connection, b"\r\n\r\n")) == 200
    assert fake.named(mark)[0].body == CHAT_BODY


def test_empty_lines_before_a_request_are_passed_over(metrion: Metrion, mark: str) -> None:
    for before in (b"\r\n", b"\r\n\r\n\r\n"):
        received, _ = say(metrion.port, before + post([*marked(metrion.token, mark), ("Connection", "close")]))
        assert status_of(received) == 200


def test_empty_lines_do_not_put_the_end_off(short: Metrion) -> None:
    began = time.monotonic()
    with connect(short.port, 5) as connection:
        while time.monotonic() < began + 4:  # the head has a second
            try:
                connection.sendall(b"\r\n")
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(0.05)
    assert time.monotonic() - began < 3


def test_thousands_of_requests_sent_at_once_are_answered_in_order(metrion: Metrion) -> None:
    one = head("GET", f"{OPENAI}/models", [("Authorization", "Bearer sk-metrion-unknown")])
    count = 4000
    with connect(metrion.port) as connection:
        connection.sendall(one * count + head("GET", "/healthz", [("Connection", "close")]))
        received, how = read_all(connection)
    assert (received.count(b"HTTP/1.1 401 "), received.count(b"HTTP/1.1 200 "), how) == (count, 1, "fin")
    assert "RecursionError" not in metrion.log.read_text()


def test_pipelined_calls_are_answered_one_after_the_other(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    scripts = [Script(text=f"answer {n}", delay=0.2 if n == 0 else 0) for n in range(5)]
    requests = [post(marked(metrion.token, mark, script)) for script in scripts]
    with connect(metrion.port) as connection:
        connection.sendall(b"".join(requests) + head("GET", "/healthz", [("Connection", "close")]))
        received, _ = read_all(connection)
    positions = [received.index(b"answer %d" % n) for n in range(5)]
    assert positions == sorted(positions)
    assert received.rstrip().endswith(b"ok")
    assert len(metrion.rows(5, requester=mark)) == 5
    assert len(fake.named(mark)) == 5


def test_a_head_at_the_limit_passes_however_it_is_cut(short: Metrion, fake: FakeProvider, mark: str) -> None:
    limit = 64 * 1024
    start = head("GET", f"{OPENAI}/models", marked(short.token, mark))[:-4] + b"\r\nX-Fill: "
    for more, status in ((0, 200), (1, 431)):
        block = start + b"a" * (limit + more - len(start))
        for cut in (len(block), len(block) + 1, len(block) + 3):
            whole = block + b"\r\n\r\n"
            with connect(short.port) as connection:
                connection.setsockopt(6, 1, 1)
                connection.sendall(whole[:cut])
                time.sleep(0.05)  # so that the server reads the pieces apart
                connection.sendall(whole[cut:])
                received = read_until(connection, b"\r\n\r\n")
            assert status_of(received) == status, (more, cut)
            assert error_of(received) == ("" if status == 200 else "headers_too_large")
    assert len(fake.named(mark)) == 3


def test_headers_are_counted_up_to_the_limit(short: Metrion, fake: FakeProvider, mark: str) -> None:
    own = [*marked(short.token, mark), ("Connection", "close")]
    fill = [(f"X-{n}", "a") for n in range(200 - len(own) - 1)]  # one is Host
    received, _ = say(short.port, head("GET", f"{OPENAI}/models", own + fill))
    assert status_of(received) == 200
    received, _ = say(short.port, head("GET", f"{OPENAI}/models", [*own, *fill, ("X", "a")]))
    assert (status_of(received), error_of(received)) == (431, "too_many_headers")
    assert len(fake.named(mark)) == 1


# ── upgrades, one connection for pages and calls ─────────────────────────────────────────────────────────────────────


def test_a_websocket_is_refused_with_a_reason(metrion: Metrion, fake: FakeProvider, new_account: NewAccount) -> None:
    email, token = new_account(metrion)
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "eA=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    answer = call(metrion, email, path=f"{OPENAI}/realtime?model=x", method="GET", body=b"", more=upgrade, token=token)
    assert (answer.status, answer.get("x-metrion-error")) == (400, "upgrade")
    assert "WebSocket" in message_of(answer)
    assert len(metrion.rows(1, email=email)) == 1
    assert fake.named(email) == []


def test_an_upgrade_to_http_2_is_passed_over(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    upgrade = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ]
    for path in (CHAT, f"{OPENAI}/files"):
        assert call(metrion, mark, path=path, more=upgrade).status == 200
    for seen in fake.named(mark):
        assert seen.body == CHAT_BODY
        assert (seen.get("upgrade"), seen.get("http2-settings"), seen.get("connection")) == (None, None, None)
    for _ in range(20):  # body and head in one piece or two
        assert exchange(metrion.port, "POST", "/healthz", upgrade, b"a body").status == 405


def test_pages_and_calls_take_turns_on_one_connection(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    page, chunked = head("GET", "/healthz"), head("POST", "/", [("Transfer-Encoding", "chunked")])
    with connect(metrion.port) as connection:
        for number in range(5):
            expected = {
                page: (200, b"ok\n"),
                post(marked(metrion.token, mark, Script(text=f"call {number}"))): (200, b"call %d" % number),
                head("GET", "/nothing/here"): (404, b""),
                post([], b"x" * 1000, path="/healthz"): (405, b""),
                chunked + b"5\r\nchunk\r\n2\r\ned\r\n0\r\n\r\n": (403, b"not sent from a page"),
                head("GET", f"{OPENAI}/models"): (401, b"no_credential"),
            }
            for request, (status, text) in expected.items():
                connection.sendall(request)
                answer = read_answer(connection)
                assert (status_of(answer), text in answer) == (status, True), request
    assert len(metrion.rows(5, requester=mark)) == 5
    assert len({seen.connection for seen in fake.named(mark)}) == 1


def test_a_call_behind_a_page_and_a_page_behind_a_call(metrion: Metrion, mark: str) -> None:
    large = b'{"model":"m","messages":["' + b"x" * 300_000 + b'"]}'
    page = head("GET", "/healthz")
    with connect(metrion.port) as connection:
        connection.sendall(page + post(marked(metrion.token, mark, Script(text="the answer")), large) + page)
        connection.sendall(post([*marked(metrion.token, mark, Script(text="the last")), ("Connection", "close")]))
        received, how = read_all(connection)
    assert how == "fin"
    assert received.count(b"HTTP/1.1 200 ") == 4
    assert received.index(b"the answer") < received.rindex(b"ok\n") < received.index(b"the last")
    assert len(metrion.rows(2, requester=mark)) == 2


def test_a_page_answered_before_its_body_ends_the_connection(metrion: Metrion) -> None:
    with connect(metrion.port) as connection:
        connection.sendall(head("POST", "/healthz", [("Content-Length", "1000")]) + b"x" * 10)
        assert status_of(read_until(connection, b"\r\n\r\n")) == 405
        connection.sendall(b"x" * 990 + head("GET", "/healthz"))
        rest, _ = read_all(connection)
    assert b"200 OK" not in rest
