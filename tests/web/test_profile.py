"""Profile: password, address, sessions and the download, with and without mail, and who cannot touch them."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable

import pytest

from tests.mail_server import MailServer
from tests.support import Metrion, exchange, provider_key
from tests.web.browser import Browser, Page
from tests.web.people import OTHER, PASSWORD, by_link, log_in, new_browser, signed_in, signed_up

PROFILE = "/settings/profile"


@pytest.fixture
def ada(silent: Metrion, email: str) -> Browser:
    return signed_up(silent, None, email)


@pytest.fixture
def mailed(mailing: Metrion, mail: MailServer, email: str) -> Browser:
    return signed_up(mailing, mail, email)


def change_password(browser: Browser, current: str, password: str) -> Page:
    browser.get(PROFILE)
    return browser.submit(f"{PROFILE}/password", current=current, password=password)


def forged(browser: Browser, path: str, **fields: str) -> Page:
    csrf = browser.page.html.partition('name="csrf" content="')[2].partition('"')[0]
    return browser.post(path, {"csrf": csrf} | fields)


def ten_minutes_pass(metrion: Metrion) -> None:
    """For every session: it began longer ago than a first password may be set."""
    database = sqlite3.connect(metrion.data_dir / "metrion.db", timeout=10)
    with database:
        database.execute("UPDATE sessions SET created_ms = created_ms - 600000")
    database.close()


# ── password ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_password_ends_every_other_session(
    mailing: Metrion, mail: MailServer, mailed: Browser, email: str
) -> None:
    other = new_browser(mailing)
    log_in(other, email)
    page = change_password(mailed, PASSWORD, OTHER)
    assert (page.status, page.path) == (200, PROFILE)
    assert "Your password is set." in page.text
    assert signed_in(mailed)
    assert not signed_in(other)
    assert log_in(new_browser(mailing), email).status == 422
    assert log_in(new_browser(mailing), email, OTHER).path == "/integrate"
    assert mail.wait_for(email)["subject"] == "Your Metrion password was changed"


@pytest.mark.parametrize(
    ("current", "password", "field", "words"),
    [
        ("not this one", OTHER, "current", "not your password"),
        ("", OTHER, "current", "not your password"),
        (PASSWORD, "abc", "password", "at least 10 characters"),
        (PASSWORD, "x" * 1001, "password", "at most 1,000 characters"),
        (PASSWORD, "password123", "password", "most common"),
    ],
)
def test_a_bad_password_is_told_beside_its_field(
    silent: Metrion, ada: Browser, email: str, current: str, password: str, field: str, words: str
) -> None:
    page = change_password(ada, current, password)
    assert page.status == 422
    assert words in page.errors[f"field-{field}"]
    assert PASSWORD not in page.html
    assert f'value="{password}"' not in page.html
    assert log_in(new_browser(silent), email).path == "/integrate"


def test_guessing_the_password_ends_in_waiting_whichever_form_is_used(ada: Browser, email: str) -> None:
    guesses: list[Callable[[], Page]] = [
        lambda: change_password(ada, "a guess of mine", OTHER),
        lambda: forged(ada, f"{PROFILE}/email", email=f"new-{email}", email_password="a guess of mine"),
        lambda: forged(ada, f"{PROFILE}/delete", password="a guess of mine"),
    ]
    statuses = [guesses[number % 3]().status for number in range(12)]
    assert statuses == [422] * 10 + [429] * 2
    page = change_password(ada, PASSWORD, OTHER)
    assert page.status == 429
    assert "Try again in" in page.errors["field-current"]


def test_who_has_no_password_sets_one_soon_after_signing_in(silent: Metrion, email: str) -> None:
    silent.call("account", "create", email)
    late = by_link(silent, email)
    ten_minutes_pass(silent)
    page = late.get(PROFILE)
    assert "metrion account link" in page.text
    assert not any(form.action == f"{PROFILE}/password" for form in page.forms)
    page = forged(late, f"{PROFILE}/password", current="", password=OTHER)
    assert page.status == 422
    assert "Sign in again first" in page.text
    soon = by_link(silent, email)
    soon.get(PROFILE)
    assert "Your password is set." in soon.submit(f"{PROFILE}/password", password=OTHER).text
    assert not signed_in(late)
    assert log_in(new_browser(silent), email, OTHER).path == "/integrate"
    page = forged(soon, f"{PROFILE}/password", current="", password=PASSWORD)
    assert "not your password" in page.errors["field-current"]  # from now on it is asked for


# ── e-mail address ────────────────────────────────────────────────────────────────────────────────────────────────────


def ask_for(browser: Browser, email: str) -> Page:
    browser.get(PROFILE)
    return browser.submit(f"{PROFILE}/email", email=email)


def test_an_address_changes_by_a_code_from_both(
    mailing: Metrion, mail: MailServer, mailed: Browser, email: str
) -> None:
    page = ask_for(mailed, f" NEW-{email} ")
    assert page.path == f"{PROFILE}/email"
    old, new = mail.code_in(mail.wait_for(email)), mail.code_in(mail.wait_for(f"new-{email}"))
    assert f"new-{email}" in mailed.get(PROFILE).text
    mailed.get(f"{PROFILE}/email")
    page = mailed.submit(f"{PROFILE}/email/codes", old=new, new=old)
    assert page.status == 422
    assert page.errors == {
        "field-old": "This code is wrong. 4 tries left.",
        "field-new": "This code is wrong. 4 tries left.",
    }
    page = mailed.submit(f"{PROFILE}/email/codes", old=old, new="1")
    assert list(page.errors) == ["field-new"]
    assert log_in(new_browser(mailing), email).path == "/integrate"
    page = mailed.submit(f"{PROFILE}/email/codes", old=old, new=new)  # the old one was not used up before
    assert page.path == PROFILE
    assert "Your e-mail address was changed." in page.text
    assert log_in(new_browser(mailing), f"new-{email}").path == "/integrate"
    assert log_in(new_browser(mailing), email).status == 422
    assert mail.wait_for(email)["subject"] == "Your Metrion account has a new e-mail address"
    assert mailed.get(f"{PROFILE}/email").path == PROFILE  # nothing waits any more


def test_five_wrong_codes_void_the_right_ones(mail: MailServer, mailed: Browser, email: str) -> None:
    ask_for(mailed, f"new-{email}")
    old, new = mail.code_in(mail.wait_for(email)), mail.code_in(mail.wait_for(f"new-{email}"))
    wrong = f"{(int(new) + 1) % 1_000_000:06}"
    for _ in range(5):
        page = mailed.submit(f"{PROFILE}/email/codes", old=old, new=wrong)
    page = mailed.submit(f"{PROFILE}/email/codes", old=old, new=new)
    assert "is void" in page.errors["field-new"]
    page = mailed.submit(f"{PROFILE}/email", email=f"new-{email}")  # other codes are sent from there
    old, new = mail.code_in(mail.wait_for(email)), mail.code_in(mail.wait_for(f"new-{email}"))
    assert mailed.submit(f"{PROFILE}/email/codes", old=old, new=new).path == PROFILE


def test_that_an_address_has_an_account_is_told_to_its_owner_alone(
    mailing: Metrion, mail: MailServer, mailed: Browser, email: str
) -> None:
    owner = f"bob-{email}"
    signed_up(mailing, mail, owner)
    taken = ask_for(mailed, owner)
    assert mail.wait_for(owner)["subject"] == "Your address has a Metrion account already"
    free = ask_for(mailed, f"free-{email}")
    assert taken.status == free.status
    assert taken.text.replace(owner, "…") == free.text.replace(f"free-{email}", "…")


def test_an_address_that_was_taken_meanwhile_is_not_given_twice(
    mailing: Metrion, mail: MailServer, mailed: Browser, email: str
) -> None:
    ask_for(mailed, f"new-{email}")
    old, new = mail.code_in(mail.wait_for(email)), mail.code_in(mail.wait_for(f"new-{email}"))
    mailing.call("account", "create", f"new-{email}")
    page = mailed.submit(f"{PROFILE}/email/codes", old=old, new=new)
    assert page.status == 422
    assert "There is an account with this address already" in page.text
    assert log_in(new_browser(mailing), email).path == "/integrate"


def test_another_accounts_codes_are_good_for_nothing(
    mailing: Metrion, mail: MailServer, mailed: Browser, email: str
) -> None:
    eve = signed_up(mailing, mail, f"eve-{email}")
    ask_for(mailed, f"new-{email}")
    old, new = mail.code_in(mail.wait_for(email)), mail.code_in(mail.wait_for(f"new-{email}"))
    ask_for(eve, f"evil-{email}")
    hers = mail.code_in(mail.wait_for(f"eve-{email}"))
    for typed in ((old, new), (hers, new)):
        assert eve.submit(f"{PROFILE}/email/codes", old=typed[0], new=typed[1]).status == 422
    assert log_in(new_browser(mailing), f"eve-{email}").path == "/integrate"
    assert mailed.submit(f"{PROFILE}/email/codes", old=old, new=new).path == PROFILE


@pytest.mark.parametrize(
    ("typed", "words"), [("nobody", "not an e-mail address"), ("", "not an e-mail"), ("own", "already")]
)
def test_what_is_no_new_address_is_told_beside_the_field(mailed: Browser, email: str, typed: str, words: str) -> None:
    page = ask_for(mailed, email.upper() if typed == "own" else typed)
    assert page.status == 422
    assert words in page.errors["field-email"]


def test_strangers_are_not_mailed_without_end(mailing: Metrion, mail: MailServer, mailed: Browser, email: str) -> None:
    both = (mailed, signed_up(mailing, mail, f"eve-{email}"))
    statuses = [ask_for(both[number % 2], f"stranger-{email}").status for number in range(6)]
    assert statuses == [200] * 5 + [429]


def test_nobody_has_mail_sent_without_end(mailed: Browser, email: str) -> None:
    statuses = [ask_for(mailed, f"stranger-{number}-{email}").status for number in range(6)]
    assert statuses == [200] * 5 + [429]


def test_without_mail_the_password_proves_it(silent: Metrion, ada: Browser, email: str) -> None:
    signed_up(silent, None, f"bob-{email}")
    ada.get(PROFILE)
    page = ada.submit(f"{PROFILE}/email", email=f"new-{email}", email_password="not this one")
    assert "not your password" in page.errors["field-email_password"]
    assert page.form(f"{PROFILE}/email").fields["email"] == f"new-{email}"
    page = ada.submit(f"{PROFILE}/email", email=f"bob-{email}", email_password=PASSWORD)
    assert "There is an account with this address already" in page.errors["field-email"]
    page = ada.submit(f"{PROFILE}/email", email=f"new-{email}", email_password=PASSWORD)
    assert "Your e-mail address was changed." in page.text
    assert log_in(new_browser(silent), f"new-{email}").path == "/integrate"
    assert log_in(new_browser(silent), email).status == 422


def test_without_mail_and_password_an_address_stays(silent: Metrion, email: str) -> None:
    silent.call("account", "create", email)
    browser = by_link(silent, email)
    assert "Set a password first" in browser.get(PROFILE).text
    page = forged(browser, f"{PROFILE}/email", email=f"new-{email}", email_password="")
    assert page.status == 422
    assert f"new-{email}" not in silent.call("account", "list")


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sessions_of(page: Page) -> list[str]:
    return [form.fields["session"] for form in page.forms if form.action == f"{PROFILE}/session"]


def test_sessions_are_listed_and_ended_one_by_one(silent: Metrion, ada: Browser, email: str) -> None:
    phone = new_browser(silent)
    log_in(phone, email)
    page = ada.get(PROFILE)
    assert page.text.count("Chrome on Linux") >= 2
    assert page.text.count("This one") == 1
    assert phone.address in page.text
    both = sessions_of(page)
    (mine,) = re.findall(r"This one.*?name=\"session\" value=\"([0-9a-f]{64})\"", page.html, re.DOTALL)
    (other,) = set(both) - {mine}
    page = forged(ada, f"{PROFILE}/session", session=other)
    assert "That session is logged out." in page.text
    assert not signed_in(phone)
    assert signed_in(ada)
    ada.get(PROFILE)
    page = forged(ada, f"{PROFILE}/session", session=other)
    assert "has ended already" in page.text
    page = forged(ada, f"{PROFILE}/session", session=mine)
    assert page.path == "/login"
    assert not signed_in(ada)


@pytest.mark.parametrize("session", ["", "zz", "00" * 32, "<script>"])
def test_a_session_that_was_made_up_ends_nothing(ada: Browser, session: str) -> None:
    ada.get(PROFILE)
    page = forged(ada, f"{PROFILE}/session", session=session)
    assert page.status == 422
    assert "<script>" not in page.html.replace("<script src", "")
    assert signed_in(ada)


def test_nobody_ends_anothers_session(silent: Metrion, ada: Browser, email: str) -> None:
    (mine,) = sessions_of(ada.get(PROFILE))
    eve = signed_up(silent, None, f"eve-{email}")
    eve.get(PROFILE)
    assert forged(eve, f"{PROFILE}/session", session=mine).status == 422
    forged(eve, f"{PROFILE}/sessions")
    assert signed_in(ada)
    assert not signed_in(eve)


def test_log_out_everywhere_is_everywhere(silent: Metrion, ada: Browser, email: str) -> None:
    others = [new_browser(silent) for _ in range(3)]
    for browser in others:
        log_in(browser, email)
    ada.get(PROFILE)
    cookies = dict(ada.cookies)
    assert ada.submit(f"{PROFILE}/sessions").path == "/login"
    ada.cookies |= cookies  # whoever kept the cookie
    assert not any(map(signed_in, (ada, *others)))


# ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_download_holds_what_is_ones_own_and_no_secret(silent: Metrion, ada: Browser, email: str) -> None:
    silent.call("key", "set", "openai", "--account", email, given=provider_key("openai") + "\n")
    ada.get("/integrate")
    key = ada.secret("/integrate/token")
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"a prompt of mine"}]}'
    headers = [("Authorization", f"Bearer {key}"), ("x-metrion-user", "invoice-bot")]
    assert exchange(silent.port, "POST", "/api/proxy/openai/v1/chat/completions", headers, body).status == 200
    silent.rows(1, email=email)
    page = ada.get(f"{PROFILE}/data.json")
    assert page.headers["content-type"] == "application/json"
    assert re.fullmatch(r"attachment; filename=metrion-\d{4}-\d\d-\d\d\.json", page.headers["content-disposition"])
    assert page.headers["cache-control"] == "no-store"
    kept = json.loads(page.body)
    assert kept["account"]["email"] == email
    assert [row["requester"] for row in kept["logs"]] == ["invoice-bot"]
    assert [one["provider"] for one in kept["provider_keys"]] == ["openai"]
    for secret in (key, provider_key("openai"), PASSWORD, "argon2", "a prompt of mine", ada.cookies["metrion"]):
        assert secret not in page.html
    eve = signed_up(silent, None, f"eve-{email}")
    hers = eve.get(f"{PROFILE}/data.json?account_id={kept['account']['id']}")
    assert json.loads(hers.body)["logs"] == []
    assert "invoice-bot" not in hers.html
