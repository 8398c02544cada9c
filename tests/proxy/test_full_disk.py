"""A disk that takes no more: calls are refused rather than lost, and go on when it takes again. Spec §2.6, §6."""

from __future__ import annotations

import resource

from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider, Script
from tests.proxy.talk import (
    CHAT,
    call,
    connect,
    head,
    marked,
    message_of,
    post,
    read_all,
    read_answer,
    read_until,
    settle,
    status_of,
)
from tests.support import Metrion, exchange


def page(server: Metrion, path: str) -> int:
    return exchange(server.port, "GET", path).status


def fill_disk(server: Metrion, *, full: bool) -> None:
    """No file of the server's may grow any more, its log's included; or all may again."""
    hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1 if full else hard, hard))


def test_nothing_is_sent_that_cannot_be_recorded(new_metrion: NewMetrion, fake: FakeProvider, mark: str) -> None:
    server = new_metrion({"METRION_DURABILITY": "strict"})
    assert call(server, mark).status == 200
    with connect(server.port) as streaming:
        streaming.sendall(
            post(marked(server.token, mark, Script(text="x" * 20, framing="chunked", piece=10, drip=0.1)))
        )
        read_until(streaming, b"x")
        fill_disk(server, full=True)
        refused = call(server, mark)
        assert (refused.status, refused.get("x-metrion-error")) == (503, "cannot_record")
        assert int(refused.get("retry-after") or "") > 0
        assert "recorded" in message_of(refused)
        settle(lambda: page(server, "/readyz") == 503)
        assert page(server, "/healthz") == 200
        assert [call(server, mark).status for _ in range(3)] == [503] * 3
        assert len(fake.named(mark)) == 2
        received, how = read_all(streaming)  # its end could not be recorded: nobody shall take it for whole
        assert not received.endswith(b"0\r\n\r\n")
        assert how == "reset"
    fill_disk(server, full=False)
    settle(lambda: page(server, "/readyz") == 200)
    assert call(server, mark).status == 200
    rows = server.rows(7, requester=mark)
    assert sorted(row["status"] for row in rows) == [200, 200, 200, 503, 503, 503, 503]
    assert len(fake.named(mark)) == 3
    log = server.log.read_text()
    assert "Traceback" not in log
    server.stop()
    server.start()
    assert len(server.rows(7, requester=mark)) == 7  # what the journal could not take is not there twice


def test_pages_and_refusals_go_on_on_a_kept_connection(new_metrion: NewMetrion, mark: str) -> None:
    server = new_metrion()
    fill_disk(server, full=True)
    with connect(server.port) as connection:
        for request, status in (
            (post(marked(server.token, mark)), 503),
            (head("GET", "/readyz"), 503),
            (head("GET", CHAT, marked("sk-metrion-unknown", mark)), 401),
        ):
            with connect(server.port) as one:
                one.sendall(request)
                assert status_of(read_answer(one)) == status
        connection.sendall(head("GET", "/healthz"))
        assert status_of(read_answer(connection)) == 200
    fill_disk(server, full=False)
