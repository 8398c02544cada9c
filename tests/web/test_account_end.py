"""The end of an account, by each proof there is, and the page that tells what became of it."""

from __future__ import annotations

import sqlite3
import time
from base64 import urlsafe_b64encode

import msgspec
import pytest
from playwright.sync_api import expect

from metrion.accounts.vault import Vault, find_master_key
from metrion.config import Settings
from metrion.kit.clock import DAY_MS, now_ms
from tests.chromium import needs_chromium, open_chromium, opened
from tests.conftest import NewMetrion
from tests.mail_server import MailServer, text_of
from tests.support import Metrion, exchange, provider_key
from tests.web.browser import Browser, Page
from tests.web.people import OTHER, PASSWORD, by_link, log_in, new_browser, signed_in, signed_up

DELETE = "/settings/profile/delete"
CHAT = "/api/proxy/openai/v1/chat/completions"
GONE = 999_999  # the number of no account
CHAT_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'


def status_of(metrion: Metrion, token: str) -> int:
    return exchange(metrion.port, "POST", CHAT, [("Authorization", f"Bearer {token}")], CHAT_BODY).status


def send_code(browser: Browser, mail: MailServer, email: str) -> str:
    browser.get(DELETE)
    browser.submit(f"{DELETE}/code")
    return mail.code_in(mail.wait_for(email))


def wait_until_done(browser: Browser, path: str) -> Page:
    end = time.monotonic() + 20
    while True:
        page = browser.get(f"{path}/left")
        if "hx-get" not in page.html or time.monotonic() > end:
            return page
        time.sleep(0.05)


def still_there(metrion: Metrion, email: str) -> bool:
    return f"{email} " in metrion.call("account", "list")


def test_a_mailed_code_ends_the_account_at_once(mailing: Metrion, mail: MailServer, email: str) -> None:
    browser, other = signed_up(mailing, mail, email), new_browser(mailing)
    log_in(other, email)
    mailing.call("key", "set", "openai", "--account", email, given=provider_key("openai") + "\n")
    browser.get("/integrate")
    key = browser.secret("/integrate/token")
    assert [status_of(mailing, key) for _ in range(3)] == [200] * 3
    mailing.rows(3, email=email)
    code = send_code(browser, mail, email)
    page = browser.submit(DELETE, code=code)
    assert page.status == 200
    assert page.path.startswith("/deleted/")
    for fact in ("Requests 3", "Metrion keys 1", "Provider keys 1", "Sessions 2"):
        assert fact in page.text
    assert "still valid at their providers" in page.text
    assert status_of(mailing, key) == 401
    assert "metrion" not in browser.cookies
    assert not signed_in(browser)
    assert not signed_in(other)
    assert log_in(new_browser(mailing), email).status == 422
    assert not still_there(mailing, email)
    letter = mail.wait_for(email)
    assert letter["subject"] == "Your Metrion account is deleted"
    assert "Requests: 3" in text_of(letter)
    left = wait_until_done(new_browser(mailing), page.path)
    assert "All of it is deleted." in left.text
    assert "All of it is deleted." in new_browser(mailing).get(page.path).text
    assert "hx-get" not in left.html


def test_wrong_spent_and_foreign_codes_delete_nothing(mailing: Metrion, mail: MailServer, email: str) -> None:
    browser, eve = signed_up(mailing, mail, email), signed_up(mailing, mail, f"eve-{email}")
    hers = send_code(eve, mail, f"eve-{email}")
    code = send_code(browser, mail, email)
    for number in range(5):
        wrong = hers if not number and hers != code else f"{(int(code) + number + 1) % 1_000_000:06}"
        page = browser.submit(DELETE, code=wrong)
        assert page.status == 422
    assert "is void" in page.errors["field-code"]
    assert browser.submit(DELETE, code=code).status == 422
    assert still_there(mailing, email)
    browser.submit(f"{DELETE}/code")
    page = browser.submit(DELETE, code=mail.code_in(mail.wait_for(email)))
    assert page.path.startswith("/deleted/")
    assert signed_in(eve)
    assert still_there(mailing, f"eve-{email}")


def test_an_expired_code_is_told_so(mailing: Metrion, mail: MailServer, email: str) -> None:
    browser = signed_up(mailing, mail, email)
    code = send_code(browser, mail, email)
    database = sqlite3.connect(mailing.data_dir / "metrion.db", timeout=10)
    with database:  # ten minutes pass for this code
        database.execute("UPDATE codes SET expires_ms = created_ms")
    database.close()
    page = browser.submit(DELETE, code=code)
    assert "expired" in page.errors["field-code"]
    assert still_there(mailing, email)


def test_with_mail_no_password_is_enough(mailing: Metrion, mail: MailServer, email: str) -> None:
    browser = signed_up(mailing, mail, email)
    form = browser.get(DELETE).form(f"{DELETE}/code")
    page = browser.post(DELETE, form.fields | {"password": PASSWORD, "address": email, "code": ""})
    assert page.status == 422
    assert still_there(mailing, email)


def test_without_mail_the_password_ends_the_account(silent: Metrion, email: str) -> None:
    browser = signed_up(silent, None, email)
    form = browser.get(DELETE).form(DELETE)
    page = browser.submit(DELETE, password=OTHER)
    assert "not your password" in page.errors["field-password"]
    page = browser.post(DELETE, form.fields | {"password": "", "address": email})  # a weaker proof than it has
    assert page.status == 422
    assert browser.post(f"{DELETE}/code", form.fields).status == 422  # there is no mail to send it by
    assert still_there(silent, email)
    page = browser.submit(DELETE, password=PASSWORD)
    assert page.path.startswith("/deleted/")
    assert "last mail" not in page.text
    assert not still_there(silent, email)
    signed_up(silent, None, email)  # the address is free again


def test_without_mail_and_password_the_typed_address_ends_it(silent: Metrion, email: str) -> None:
    silent.call("account", "create", email)
    browser = by_link(silent, email)
    browser.get(DELETE)
    page = browser.submit(DELETE, address=f"eve-{email}")
    assert "not your address" in page.errors["field-address"]
    assert still_there(silent, email)
    assert browser.submit(DELETE, address=f" {email.upper()} ").path.startswith("/deleted/")
    assert not still_there(silent, email)


def test_nobody_ends_anothers_account(silent: Metrion, email: str) -> None:
    signed_up(silent, None, email)
    eve = signed_up(silent, None, f"eve-{email}")
    form = eve.get(DELETE).form(DELETE)
    page = eve.post(DELETE, form.fields | {"password": PASSWORD, "account": "1", "account_id": "1", "email": email})
    assert page.path.startswith("/deleted/")
    assert still_there(silent, email)
    assert not still_there(silent, f"eve-{email}")


def link_to(metrion: Metrion, age_ms: int, *, purpose: str = "deleted", account: int = 0) -> str:
    """An address as the server makes them, of any age: sealed under its own master key."""
    master = find_master_key(Settings(data_dir=metrion.data_dir))
    assert master is not None
    told = {"account_id": GONE, "facts": [["Requests", "7"]], "provider_keys": 0, "at_ms": now_ms() - age_ms}
    return f"/deleted/{urlsafe_b64encode(Vault(master).seal(account, purpose, msgspec.json.encode(told))).decode()}"


def test_the_page_afterwards_lives_a_day_and_cannot_be_made_up(silent: Metrion) -> None:
    browser = new_browser(silent)
    good = link_to(silent, DAY_MS - 60_000)
    assert "Requests 7" in browser.get(good).text
    bad = [
        link_to(silent, DAY_MS),
        link_to(silent, 0, purpose="metrion-step"),
        link_to(silent, 0, account=1),
        good[:-8] + "AAAAAAAA",
        "/deleted/x",
        "/deleted/%C3%BC",
    ]
    for link in bad:
        for path in (link, f"{link}/left"):
            page = browser.get(path)
            assert page.status == 404, path
            assert "Requests" not in page.text


@pytest.mark.parametrize("path", [DELETE, f"{DELETE}/code"])
def test_who_is_not_signed_in_is_asked_to(silent: Metrion, path: str) -> None:
    browser = new_browser(silent)
    browser.get("/login")
    assert browser.post(path, browser.page.form("/login").fields).path == "/login"


@needs_chromium
def test_the_page_afterwards_tells_by_itself_when_all_is_gone(new_metrion: NewMetrion) -> None:
    metrion = new_metrion()
    database = sqlite3.connect(metrion.data_dir / "metrion.db", timeout=10)
    # The server finishes what it finds to delete by itself: so the browser is there first.
    with open_chromium() as chromium, opened(chromium, metrion.origin + "/login") as page:
        with database:  # as if there were much to delete
            database.execute("INSERT INTO deletions (digest, account_id, requested_ms) VALUES (x'01', ?, 1)", (GONE,))
        page.goto(metrion.origin + link_to(metrion, 0))
        expect(page.get_by_text("The last traces are being wiped.")).to_be_visible()
        with database:
            database.execute("UPDATE deletions SET account_id = NULL")
        expect(page.get_by_text("All of it is deleted.")).to_be_visible(timeout=10_000)
    database.close()
