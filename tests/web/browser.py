"""Browser: asks for pages and sends their forms as a browser does, without running scripts.

Shared by the tests of pages: from tests.web.browser import Browser.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

_VOID = {"input", "meta", "link", "br", "img", "hr"}
AGENT = "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0 Safari/537.36"


@dataclass
class Form:
    """A form of a page: where it goes and what it holds until somebody changes it."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """An answer: status, headers, and of HTML its text, forms, links and the errors beside fields."""

    def __init__(self, url: str, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.url, self.status, self.headers, self.body = url, status, headers, body
        self.html = body.decode("utf-8", "replace")
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self.errors: dict[str, str] = {}  # by the id they stand in, without "-error"
        self.title = ""
        self._open: list[tuple[str, dict[str, str]]] = []
        self._words: list[str] = []
        self._form: Form | None = None
        self._select = ""
        if "html" in (headers.get("content-type") or ""):
            self.feed(self.html)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def text(self) -> str:
        """What a person reads, blanks made single."""
        return " ".join(" ".join(self._words).split())

    def form(self, action: str = "") -> Form:
        """The form that goes to `action`; without one, the only form that has a field to fill in or is alone."""
        found = [form for form in self.forms if not action or urlsplit(form.action).path == action]
        if not action:
            found = [form for form in found if form.action != "/logout"]
        assert found, f"no form for {action or 'anything'} on {self.url}: {[form.action for form in self.forms]}"
        return found[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = {name: value or "" for name, value in attrs}
        if tag == "form":
            action = urljoin(self.url, at.get("action") or self.url)
            self._form = Form(urlsplit(action)._replace(scheme="", netloc="").geturl(), at.get("method", "get"))
            self.forms.append(self._form)
        elif self._form is not None and tag in ("input", "textarea") and at.get("name"):
            off = at.get("type") in ("checkbox", "radio") and "checked" not in at
            self._form.fields |= {} if off else {at["name"]: at.get("value", "")}
        elif tag == "select":
            self._select = at.get("name", "")
        elif tag == "option" and "value" in at:
            self._offer(at["value"], at)
        if tag not in _VOID:
            self._open.append((tag, at))

    def _offer(self, value: str, at: dict[str, str]) -> None:
        """Take an option of a select: the first, or the one that is selected."""
        if self._form is not None and self._select and (self._select not in self._form.fields or "selected" in at):
            self._form.fields[self._select] = value

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag == "form":
            self._form = None
        if tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        if "script" in tags or "style" in tags or not data.strip():
            return
        if "title" in tags:
            self.title += data.strip()
            return
        self._words.append(data)
        if tags and tags[-1] == "option" and "value" not in self._open[-1][1]:
            self._offer(data.strip(), self._open[-1][1])
        for tag, at in self._open:
            if tag == "a" and at.get("href"):
                self.links[data.strip()] = at["href"]
            if tag == "button" and self._form is not None and data.strip() not in self._form.buttons:
                self._form.buttons.append(data.strip())
            if at.get("id", "").endswith("-error"):
                name = at["id"].removesuffix("-error")
                self.errors[name] = " ".join(f"{self.errors.get(name, '')} {data}".split())


class Browser:
    """One browser: cookies, redirects followed, the headers a browser sends. `address`: sent as X-Forwarded-For."""

    def __init__(self, origin: str, *, address: str = "") -> None:
        self.origin = origin
        self.cookies: dict[str, str] = {}
        self.address = address
        self.page: Page

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Page:
        """Ask for a page and follow where it leads."""
        return self._go("GET", path, None, {"sec-fetch-site": "none", "accept": "text/html"} | dict(headers or {}))

    def post(self, path: str, fields: Mapping[str, str], *, headers: Mapping[str, str] | None = None) -> Page:
        """Send fields as a form of this page would."""
        body = urlencode(fields).encode()
        ours = {
            "sec-fetch-site": "same-origin",
            "origin": self.origin,
            "content-type": "application/x-www-form-urlencoded",
        }
        return self._go("POST", path, body, ours | dict(headers or {}))

    def submit(self, action: str = "", /, **fields: str) -> Page:
        """Fill in the form of this page that goes to `action`, and send it."""
        form = self.page.form(action)
        unknown = fields.keys() - form.fields.keys()
        assert not unknown, f"the form for {form.action} has no {sorted(unknown)}; it has {sorted(form.fields)}"
        return self.post(form.action, form.fields | fields)

    def secret(self, path: str) -> str:
        """What a Show or Copy button fetches."""
        csrf = self.page.html.partition('name="csrf" content="')[2].partition('"')[0]
        kept = self.page
        page = self.post(path, {}, headers={"x-csrf-token": csrf})
        self.page = kept
        assert page.status == 200, page.text
        return page.body.decode()

    def _go(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Page:
        url = urljoin(self.origin, path)
        for _ in range(6):
            page = self._ask(method, url, body, headers)
            if page.status not in (302, 303):
                self.page = page
                return page
            url, method, body = urljoin(url, page.headers["location"]), "GET", None
            assert url.startswith(self.origin), f"sent away to {url}"
            headers = {"sec-fetch-site": "same-origin", "accept": "text/html"}
        raise AssertionError(f"sent around in circles: {url}")

    def _ask(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Page:
        at = urlsplit(url)
        sent: dict[str, Any] = {"user-agent": AGENT, "host": at.netloc} | headers
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.address:
            sent["x-forwarded-for"] = self.address
        connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=30)
        try:
            connection.request(method, at._replace(scheme="", netloc="").geturl(), body, sent)
            answer = connection.getresponse()
            page = Page(url, answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        for line in answer.headers.get_all("set-cookie") or []:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return page
