"""Forms as a client may send them that is no browser: slowly, in chunks, or not to their end."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.support import Metrion
from tests.web.browser import Browser
from tests.web.people import new_browser, sign_up, signed_up

URLENCODED = "application/x-www-form-urlencoded"


def begun(metrion: Metrion, browser: Browser, path: str, csrf: str) -> tuple[http.client.HTTPConnection, bytes]:
    """A form of which only the first bytes are sent, and the rest of it."""
    body = urlencode({"csrf": csrf, "do": "enable", "account": "1"}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", metrion.port, timeout=20)
    connection.putrequest("POST", path)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    for name, value in {
        "sec-fetch-site": "same-origin",
        "content-type": URLENCODED,
        "content-length": str(len(body)),
        "cookie": cookie,
    }.items():
        connection.putheader(name, value)
    connection.endheaders(body[:4])
    return connection, body[4:]


@pytest.mark.parametrize("path", ["/integrate/token", "/settings/token"])
def test_a_form_is_not_taken_whose_session_ends_while_it_comes_in(silent: Metrion, email: str, path: str) -> None:
    browser = signed_up(silent, None, email)
    browser.get("/integrate")
    key = browser.secret("/integrate/token")
    csrf = browser.page.html.partition('name="csrf" content="')[2].partition('"')[0]
    connection, rest = begun(silent, browser, path, csrf)
    # Whatever the server does with the first bytes, it does it before it answers this.
    assert browser.get("/settings").path == "/settings"
    browser.submit("/logout")
    connection.send(rest)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    assert answer.status == 403
    assert "Your session has ended" in body
    assert key not in body


def test_a_form_in_chunks_is_bounded_too(silent: Metrion) -> None:
    def chunks() -> Iterator[bytes]:
        for number in range(4):
            yield b"field%d=" % number + b"x" * 20_000 + b"&"

    connection = http.client.HTTPConnection("127.0.0.1", silent.port, timeout=20)
    headers = {"sec-fetch-site": "same-origin", "content-type": URLENCODED}
    connection.request("POST", "/login", chunks(), headers, encode_chunked=True)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 413


def test_a_form_that_is_not_sent_to_its_end_is_no_failure_of_ours(silent: Metrion, email: str) -> None:
    failures = silent.log.read_text().count("page_failed")
    connection, _ = begun(silent, new_browser(silent), "/login", "")
    connection.close()
    sign_up(new_browser(silent), email)  # long enough for the other to be told
    assert silent.log.read_text().count("page_failed") == failures
