"""Bad input everywhere: whatever is typed into whichever field or address, it is text, and nothing fails on our side.

The forms are those that a person who has something everywhere finds on all pages of routes.py. What each form says to
bad input of its own kind is tried where the form is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, urlencode

import pytest

from metrion.web.routes import PAGES, Access
from tests.support import Metrion, exchange
from tests.web.browser import Browser
from tests.web.people import by_link, new_browser

MARKUP = """"'><script>hacked()</script><img src=x onerror=hacked()>{{ 7 * 191 }}"""
TYPED = {
    "markup": MARKUP,
    "nothing": "",
    "much": "x" * 20_000,
    "control": "a\x00b\x1b[2J\r\nSet-Cookie: hacked=1\u202e",
    "number": "-99999999999999999999999999999999",
    "fraction": "1e999",
    "sql": "' OR 1=1; DROP TABLE calls; --",
    "path": "../../../../etc/passwd%00",
    "emoji": "👩‍💻" * 50,
}
EMAIL = "whoever-types-it@example.com"
# Each name that a page reads from its address.
ASKED = (
    *("q", "after", "before", "at", "seen", "page", "sort", "range", "from", "to", "tab", "source"),
    *("provider", "mode", "model", "requester", "status", "stream", "kind", "name"),
    *("tested", "checked", "saved", "deleted", "again", "next"),
)


class Found(NamedTuple):
    """A form that the person finds, and the page it stands on."""

    page: str
    action: str
    fields: dict[str, str]


@pytest.fixture(scope="module")
def person(silent: Metrion) -> Browser:
    """Somebody with something on every page; their operator's rights show those forms, too."""
    silent.call("account", "create", EMAIL, "--operator")
    silent.call("key", "set", "openai", "--account", EMAIL, given="a-key-of-theirs-0123\n")
    browser = by_link(silent, EMAIL)
    key = browser.secret("/integrate/token")
    headers = [("Authorization", f"Bearer {key}"), ("x-metrion-user", MARKUP)]
    body = json.dumps({"model": MARKUP, "messages": []}).encode()
    assert exchange(silent.port, "POST", "/api/proxy/openai/v1/chat/completions", headers, body).status == 200
    silent.rows(1, email=EMAIL)
    name_things(browser)
    return browser


def name_things(browser: Browser) -> None:
    browser.get("/alerts/new?kind=budget")
    browser.submit("/alerts/new", limit="17", name=MARKUP[:60])
    browser.get("/settings")
    browser.submit("/settings", name=MARKUP)


@pytest.fixture(autouse=True)
def unbroken(silent: Metrion) -> Iterator[None]:
    """No page fails on our side, which the log would tell."""
    before = silent.log.stat().st_size
    yield
    assert "page_failed" not in silent.log.read_text()[before:]


def forms_of(browser: Browser) -> list[Found]:
    """All forms that this browser finds, one for each place they go to."""
    found: dict[str, Found] = {}
    for page in PAGES:
        if page.get and not {"{", "."} & set(page.path):
            for form in browser.get(page.path).forms:
                if form.method == "post":
                    found.setdefault(form.action.partition("?")[0], Found(page.path, form.action, form.fields))
    return list(found.values())


def check(browser: Browser, *, only: frozenset[int] = frozenset({200, 400, 403, 404, 413, 422, 429})) -> None:
    page = browser.page
    assert page.status in only, (page.url, page.status)
    if "html" in (page.headers.get("content-type") or ""):  # in a file it is text as it is
        assert "<script>hacked" not in page.html and "<img src=x" not in page.html, page.url
        assert "1337" not in page.html, page.url  # what a template would have made of the braces
    assert "hacked" not in (page.headers.get("set-cookie") or "")


@pytest.mark.parametrize("kind", TYPED)
def test_in_every_field_of_every_form(kind: str, silent: Metrion, person: Browser) -> None:
    for browser in (new_browser(silent), person):
        forms = [form for form in forms_of(browser) if form.action not in ("/logout", "/settings/profile/sessions")]
        assert len(forms) >= (2 if browser is not person else 12)
        for form in forms:
            for name in form.fields.keys() - {"csrf"}:
                if browser is person and browser.get("/settings").path == "/login":  # a form may end its session
                    browser.cookies = by_link(silent, EMAIL).cookies
                csrf = browser.get(form.page).html.partition('name="csrf" content="')[2].partition('"')[0]
                browser.post(form.action, form.fields | {"csrf": csrf, name: TYPED[kind]})
                check(browser)


@pytest.mark.parametrize("kind", TYPED)
def test_in_every_address(kind: str, person: Browser) -> None:
    for page in PAGES:
        if page.get is None:
            continue
        path = page.path
        for place in [part.partition("}")[0] for part in path.split("{")[1:]]:
            path = path.replace(f"{{{place}}}", quote(TYPED[kind][:2000] or "-", safe=""))
        query = urlencode(dict.fromkeys(ASKED, TYPED[kind][:1000]))
        person.get(f"{path}?{query}")
        check(person, only=frozenset({200, 204, 400, 404, 410}))


@pytest.mark.parametrize("body", [b"email=%ff%fe&password=%00", b"email", b"&&&=&", b"\xff" * 100, b"a=b&" * 300])
def test_what_no_browser_sends(body: bytes, silent: Metrion) -> None:
    browser = new_browser(silent)
    csrf = browser.get("/login").form("/login").fields["csrf"]
    headers = [
        ("Cookie", "; ".join(f"{name}={value}" for name, value in browser.cookies.items())),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Sec-Fetch-Site", "same-origin"),
        ("X-CSRF-Token", csrf),
        ("Host", f"127.0.0.1:{silent.port}"),
    ]
    for page in PAGES:
        if page.post and page.access is Access.ANYBODY and "{" not in page.path:
            assert exchange(silent.port, "POST", page.path, headers, body).status in (303, 400, 403, 413, 422, 429)
            many = [*headers[:1], ("Content-Type", "multipart/form-data; boundary=x"), *headers[2:]]
            assert exchange(silent.port, "POST", page.path, many, body).status in (303, 400, 403, 413, 422, 429)


def test_what_was_typed_stays_text_wherever_it_is_shown(silent: Metrion, person: Browser) -> None:
    person.cookies = by_link(silent, EMAIL).cookies
    name_things(person)
    shown = [page.path for page in PAGES if page.get and not {"{", "."} & set(page.path)]
    assert "hacked" in json.loads(person.get("/settings/profile/data.json").body)["account"]["name"]
    seen = []
    for path in shown:
        person.get(path)
        check(person, only=frozenset({200, 204, 400, 404}))  # pieces that are asked for by their page
        seen += [path] if "<script>hacked()</script>" in person.page.text else []
    assert {"/logs", "/dashboard", "/settings", "/alerts"} <= set(seen)


def test_guessers_from_many_addresses_get_few_guesses(silent: Metrion) -> None:
    silent.call("account", "create", "guessed@example.com")
    statuses = []
    for _ in range(60):
        browser = new_browser(silent)
        browser.get("/login")
        statuses.append(browser.submit("/login", email="guessed@example.com", password="a guess").status)
    assert statuses == [422] * 10 + [429] * 50
