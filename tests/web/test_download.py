"""Downloads that take long: they go on while whoever asked is signed in, and are cut when that ends."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from metrion.config import Settings
from metrion.datadir import open_for_writing
from metrion.kit.clock import now_ms
from tests.storage.samples import call_row, write_rows
from tests.support import EMAIL, Answer, Client, Metrion
from tests.web.browser import Browser
from tests.web.people import by_link

ROWS, WIDE = 3000, 4000  # 12 MB, more than the buffers of a connection hold
PATHS = ("/logs.csv?range=7d", "/settings/profile/data.json")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    metrion = Metrion(tmp_path_factory.mktemp("full") / "data", {})
    metrion.create_account(keys=())
    with open_for_writing(Settings(data_dir=metrion.data_dir)) as database:
        at = now_ms() - 1000
        write_rows(database, [call_row(at, n, account_id=1, error_message="x" * WIDE) for n in range(ROWS)])
    metrion.start()
    yield metrion
    metrion.stop()


def download(metrion: Metrion, browser: Browser, path: str, meanwhile: Callable[[], object]) -> Answer:
    """What a client gets that does something else after the first bytes, and then reads on."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    todo = [meanwhile]

    def watch(answer: Answer) -> None:
        if answer.body and todo:
            todo.pop()()

    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", metrion.port))
        return Client(connection).exchange("GET", path, [("Cookie", cookies)], watch=watch)


@pytest.mark.parametrize("path", PATHS)
def test_who_stays_gets_all_of_it(full: Metrion, path: str) -> None:
    answer = download(full, by_link(full, EMAIL), path, lambda: None)
    assert (answer.status, answer.complete) == (200, True)
    assert answer.body.count(b"x" * WIDE) == ROWS


@pytest.mark.parametrize("path", PATHS)
def test_who_logs_out_meanwhile_gets_no_more_and_can_tell(full: Metrion, path: str) -> None:
    browser = by_link(full, EMAIL)
    browser.get("/integrate")
    answer = download(full, browser, path, lambda: browser.submit("/logout"))
    assert (answer.status, answer.complete) == (200, False)
    assert answer.body.count(b"x" * WIDE) < ROWS
    log = full.log.read_text()
    assert "download_cut" in log
    assert "Traceback" not in log
