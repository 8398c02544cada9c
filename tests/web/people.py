"""People who sign up and log in, each from an address of their own. Shared by the tests of pages."""

from __future__ import annotations

from uuid import uuid4

from tests.mail_server import MailServer
from tests.support import Metrion
from tests.web.browser import Browser, Page

PASSWORD = "correct horse battery staple"
OTHER = "a quite different pass phrase"


def new_browser(metrion: Metrion) -> Browser:
    unique = uuid4().bytes
    return Browser(metrion.origin, address=f"198.{unique[0] % 100 + 1}.{unique[1]}.{unique[2]}")


def signed_in(browser: Browser) -> bool:
    return browser.get("/login").path != "/login"


def sign_up(browser: Browser, email: str, password: str = PASSWORD, *, name: str = "") -> Page:
    browser.get("/signup")
    return browser.submit("/signup", email=email, password=password, name=name)


def log_in(browser: Browser, email: str, password: str = PASSWORD) -> Page:
    browser.get("/login")
    return browser.submit("/login", email=email, password=password)


def signed_up(metrion: Metrion, mail: MailServer | None, email: str) -> Browser:
    """A browser that is signed in to a new account; with mail it confirmed its address."""
    browser = new_browser(metrion)
    sign_up(browser, email)
    if mail is not None:
        browser.submit("/confirm", code=mail.code_in(mail.wait_for(email)))
    assert signed_in(browser)
    return browser


def by_link(metrion: Metrion, email: str) -> Browser:
    """A browser that is signed in by a link of the operator's, to an account that may have no password."""
    browser = new_browser(metrion)
    browser.get(metrion.call("account", "link", email).strip())
    browser.submit()
    assert signed_in(browser)
    return browser
