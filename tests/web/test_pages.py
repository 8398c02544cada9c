"""What holds for every page: headers, whose forms are taken, and errors that are pages too."""

from __future__ import annotations

import http.client
import json
import sqlite3

import pytest

from metrion.web.routes import PAGES, Access
from tests.conftest import NewMetrion
from tests.support import Metrion
from tests.web.browser import Browser
from tests.web.people import sign_up

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}


@pytest.fixture
def browser(metrion: Metrion) -> Browser:
    return Browser(metrion.origin)


def test_pages_bind_the_browser(browser: Browser) -> None:
    page = browser.get("/no-such-page")
    policy = {part.strip() for part in page.headers["content-security-policy"].split(";")}
    assert policy >= POLICY
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in page.headers
    assert "style=" not in page.html
    assert "<style" not in page.html


def test_behind_tls_the_browser_stays_there(new_metrion: NewMetrion) -> None:
    metrion = new_metrion({"METRION_PUBLIC_URL": "https://metrion.example.com"})
    page = Browser(metrion.origin).get("/no-such-page")
    assert page.headers["strict-transport-security"].startswith("max-age=")
    cookie = page.headers["set-cookie"]
    assert cookie.startswith("__Host-metrion-visit=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}


def test_a_page_that_is_not_there(browser: Browser) -> None:
    page = browser.get("/no-such-page?x=<script>")
    assert page.status == 404
    assert "There is no page here" in page.text
    assert "<script>" not in page.html.replace("<script src", "")


def test_a_method_that_no_page_has(browser: Browser) -> None:
    assert browser.post("/", {}).status == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
        {"sec-fetch-site": "", "origin": ""},
    ],
)
def test_a_foreign_form_is_refused(browser: Browser, headers: dict[str, str]) -> None:
    page = browser.post("/login", {}, headers=headers)
    assert page.status == 403
    assert "not sent from a page of Metrion's" in page.text


def test_nobody_is_believed_about_addresses_who_is_not_trusted(metrion: Metrion, email: str) -> None:
    browser = Browser(metrion.origin, address="words of the client's own")
    sign_up(browser, email)
    page = browser.get("/settings/profile")
    assert "127.0.0.1" in page.text
    assert "words of" not in page.text


def test_a_foreign_name_is_not_answered(metrion: Metrion) -> None:
    page = Browser(metrion.origin).get("/login", headers={"host": "evil.example"})
    assert page.status == 421
    assert "METRION_PUBLIC_URL" in page.text


def test_probes_are_answered_by_any_name(metrion: Metrion) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", metrion.port, timeout=10)
    connection.request("GET", "/healthz", headers={"host": "10.1.2.3"})
    assert connection.getresponse().status == 200
    connection.close()


def test_every_page_but_the_way_in_asks_who_you_are(browser: Browser) -> None:
    for page in PAGES:
        if page.access is not Access.ANYBODY and page.get:
            answer = browser.get(page.path)
            if page.access is Access.READER:
                assert answer.status == 401, page.path
            else:
                assert answer.path == "/login", page.path


def test_what_breaks_is_told_with_an_id(new_metrion: NewMetrion) -> None:
    metrion = new_metrion()
    database = sqlite3.connect(metrion.data_dir / "metrion.db")
    database.execute("ALTER TABLE sessions RENAME TO gone")
    database.close()
    browser = Browser(metrion.origin)
    browser.cookies["metrion"] = "somebody's-cookie"
    page = browser.get("/")
    assert page.status == 500
    assert "Recorded data is safe" in page.text
    lines = [json.loads(line) for line in metrion.log.read_text().splitlines() if line.startswith("{")]
    failed = [line for line in lines if line["event"] == "page_failed"]
    assert failed[0]["id"] in page.text
    assert failed[0]["path"] == "/"
    assert browser.get("/link/a-token-that-lets-in").status == 500
    assert '"/link/{token}"' in metrion.log.read_text()
    assert "a-token-that-lets-in" not in metrion.log.read_text()
    assert "somebody's-cookie" not in metrion.log.read_text()
