"""Sign up, log in, codes and links, as a person does them in a browser, with and without mail."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import NewMetrion
from tests.mail_server import MailServer
from tests.support import Metrion
from tests.web.browser import Browser
from tests.web.people import OTHER, PASSWORD, log_in, new_browser, sign_up, signed_in, signed_up

MIB = 1 << 20


def name_of(browser: Browser) -> str:
    """What the account that is signed in is called."""
    return browser.get("/settings").form("/settings").fields["name"]


def peak(pid: int) -> int:
    """The most bytes of memory that a process ever had."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


# ── without mail ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_mail_an_account_works_at_once(silent: Metrion, email: str) -> None:
    browser = new_browser(silent)
    page = sign_up(browser, email)
    assert page.path == "/integrate"
    browser.submit("/logout")
    assert not signed_in(browser)
    assert log_in(browser, email.upper()).path == "/integrate"  # an address is the same in any case


def test_the_key_of_a_new_account_works_at_once(silent: Metrion, email: str) -> None:
    browser = new_browser(silent)
    sign_up(browser, email)
    lines = silent.call("account", "list")
    assert email in lines


def test_without_mail_a_second_sign_up_says_so_beside_the_field(silent: Metrion, email: str) -> None:
    sign_up(new_browser(silent), email)
    page = sign_up(new_browser(silent), email, OTHER)
    assert page.status == 422
    assert "There is an account with this address already" in page.errors["field-email"]
    assert log_in(new_browser(silent), email).path == "/integrate"
    assert log_in(new_browser(silent), email, OTHER).status == 422


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"email": "nobody"}, "field-email", "not an e-mail address"),
        ({"email": ""}, "field-email", "not an e-mail address"),
        ({"password": "abc"}, "field-password", "at least 10 characters"),
        ({"password": "x" * 1001}, "field-password", "at most 1,000 characters"),
        ({"password": "password123"}, "field-password", "most common"),
        ({"name": "x" * 81}, "field-name", "at most 80 characters"),
    ],
)
def test_bad_input_is_told_beside_its_field(
    silent: Metrion, email: str, typed: dict[str, str], field: str, words: str
) -> None:
    browser = new_browser(silent)
    browser.get("/signup")
    page = browser.submit("/signup", **({"email": email, "password": PASSWORD, "name": ""} | typed))
    assert page.status == 422
    assert words in page.errors[field]
    assert not signed_in(browser)
    assert typed.get("password", PASSWORD) not in page.html


def test_a_long_pasted_password_is_welcome(silent: Metrion, email: str) -> None:
    long = "Käse-Fondue für 7 Personen! " * 11  # 300 characters
    browser = new_browser(silent)
    assert sign_up(browser, email, long).path == "/integrate"
    assert log_in(new_browser(silent), email, long).path == "/integrate"
    assert log_in(new_browser(silent), email, long[:-1]).status == 422


def test_markup_in_every_field_is_text(silent: Metrion) -> None:
    browser = new_browser(silent)
    browser.get("/signup")
    page = browser.submit("/signup", email='"><script>x</script>', password="short", name="<script>y</script>")
    assert page.status == 422
    assert "<script>x" not in page.html
    assert "<script>y" not in page.html
    page = browser.get("/login?next=%22%3E%3Cscript%3Ez")
    assert "<script>z" not in page.html


def test_mail_that_is_off_is_said_where_a_code_is_asked_for(silent: Metrion, email: str) -> None:
    browser = new_browser(silent)
    for path in ("/login/code", "/reset"):
        page = browser.get(path)
        assert "Mail is off" in page.text
        assert "metrion account link" in page.text
        assert browser.post(
            path, {"csrf": browser.page.forms[0].fields["csrf"] if browser.page.forms else ""}
        ).status in (403, 422)


def test_whoever_is_signed_in_needs_no_form(silent: Metrion, email: str) -> None:
    browser = new_browser(silent)
    sign_up(browser, email)
    assert browser.get("/signup").path == "/integrate"


@pytest.mark.parametrize(
    "going", ["//evil.example", "https://evil.example", "/\\evil.example", "/x/../../y", "javascript:x", "/login"]
)
def test_log_in_leads_nowhere_else(silent: Metrion, email: str, going: str) -> None:
    sign_up(new_browser(silent), email)
    browser = new_browser(silent)
    browser.get("/login")
    form = browser.page.form("/login")
    page = browser.post("/login", form.fields | {"email": email, "password": PASSWORD, "next": going})
    assert page.path == "/integrate"


def test_log_in_goes_back_to_the_page_that_was_asked_for(silent: Metrion, email: str) -> None:
    silent.call("account", "create", email, "--operator")
    link = silent.call("account", "link", email).strip()
    browser = new_browser(silent)
    assert browser.get("/operator").path == "/login"
    assert browser.page.form("/login").fields["next"] == "/operator"
    browser.get(link)
    browser.submit()
    assert browser.get("/operator").path == "/operator"


# ── with mail ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_with_mail_the_address_is_confirmed_first(mailing: Metrion, mail: MailServer, email: str) -> None:
    browser = new_browser(mailing)
    page = sign_up(browser, email)
    assert page.path == "/confirm"
    assert not signed_in(browser)
    letter = mail.wait_for(email)
    browser.get("/confirm")
    page = browser.submit("/confirm", code=mail.code_in(letter))
    assert page.path == "/integrate"
    assert log_in(new_browser(mailing), email).path == "/integrate"


def test_the_answer_is_the_same_whether_or_not_there_is_an_account(
    mailing: Metrion, mail: MailServer, email: str
) -> None:
    signed_up(mailing, mail, email)
    free = f"free-{email}"
    answers = []
    for address in (email, free):
        browser = new_browser(mailing)
        page = sign_up(browser, address, OTHER)
        answers.append((page.status, page.path, page.text.replace(address, "…")))
    assert answers[0] == answers[1]
    assert mail.wait_for(email)["subject"] == "You already have a Metrion account"
    mail.wait_for(free)
    for path in ("/login/code", "/reset"):
        answers = []
        for address in (email, f"nobody-{email}"):
            browser = new_browser(mailing)
            browser.get(path)
            page = browser.submit(path, email=address)
            answers.append((page.status, page.path, page.text.replace(address, "…")))
        assert answers[0] == answers[1]
    assert (
        log_in(new_browser(mailing), email, OTHER).errors == log_in(new_browser(mailing), f"no-{email}", OTHER).errors
    )
    assert mail.letters(f"nobody-{email}") == []


def test_nobody_prepares_an_account_for_a_foreign_address(mailing: Metrion, mail: MailServer, email: str) -> None:
    stranger, owner = new_browser(mailing), new_browser(mailing)
    sign_up(stranger, email, "the stranger's pass phrase", name="Mallory")
    mail.wait_for(email)
    sign_up(owner, email, "the owner's own pass phrase", name="Ada")
    code = mail.code_in(mail.wait_for(email))
    assert owner.submit("/confirm", code=code).path == "/integrate"
    assert log_in(new_browser(mailing), email, "the owner's own pass phrase").path == "/integrate"
    assert log_in(new_browser(mailing), email, "the stranger's pass phrase").status == 422
    stranger.get("/confirm")
    assert stranger.submit("/confirm", code=code).status == 422  # it was used
    assert name_of(owner) == "Ada"


def test_who_comes_by_a_code_to_an_account_that_a_stranger_asked_for_has_no_name(
    mailing: Metrion, mail: MailServer, email: str
) -> None:
    sign_up(new_browser(mailing), email, name="Mallory")
    mail.wait_for(email)
    owner = new_browser(mailing)
    owner.get("/login/code")
    owner.submit("/login/code", email=email)
    owner.submit("/login/code/enter", code=mail.code_in(mail.wait_for(email)))
    assert name_of(owner) == ""


def test_a_code_that_was_sent_again_brings_the_name_as_well(mailing: Metrion, mail: MailServer, email: str) -> None:
    owner = new_browser(mailing)
    sign_up(owner, email, name="Ada")
    mail.wait_for(email)
    owner.get("/confirm")
    owner.submit("/code/again")
    assert owner.submit("/confirm", code=mail.code_in(mail.wait_for(email))).path == "/integrate"
    assert name_of(owner) == "Ada"
    assert log_in(new_browser(mailing), email).path == "/integrate"


def test_only_what_is_accepted_costs_a_hash(new_metrion: NewMetrion, mail: MailServer, email: str) -> None:
    """A hash fills 32 MiB, which no other work here does."""
    metrion = new_metrion({"METRION_SMTP_URL": mail.url})
    metrion.call("account", "create", email)
    browser = new_browser(metrion)
    browser.get("/reset")
    browser.submit("/reset", email=email)
    code = mail.code_in(mail.wait_for(email))
    before = peak(metrion.pid)
    assert browser.submit("/reset/enter", code=f"{int(code) ^ 1:06}", password=OTHER).status == 422
    form = {"csrf": browser.page.forms[0].fields["csrf"], "email": f"new-{email}", "password": OTHER}
    assert browser.post("/claim/guessed", form).status == 404
    assert peak(metrion.pid) - before < 16 * MIB
    browser.get("/reset/enter")
    assert browser.submit("/reset/enter", code=code, password=OTHER).path == "/integrate"
    assert peak(metrion.pid) - before > 16 * MIB
    assert log_in(new_browser(metrion), email, OTHER).path == "/integrate"


def test_a_code_logs_in(mailing: Metrion, mail: MailServer, email: str) -> None:
    signed_up(mailing, mail, email)
    browser = new_browser(mailing)
    browser.get("/login/code")
    assert browser.submit("/login/code", email=email).path == "/login/code/enter"
    code = mail.code_in(mail.wait_for(email))
    assert browser.submit("/login/code/enter", code=f"{code[:3]} {code[3:]}").path == "/integrate"
    again = new_browser(mailing)
    again.cookies |= browser.cookies
    again.cookies.pop("metrion")
    again.get("/login/code")
    again.submit("/login/code", email=email)
    page = again.submit("/login/code/enter", code=code)
    assert page.status == 422
    assert "wrong, expired or used" in page.errors["field-code"]


def test_a_code_sets_a_new_password_and_ends_other_sessions(mailing: Metrion, mail: MailServer, email: str) -> None:
    before = signed_up(mailing, mail, email)
    browser = new_browser(mailing)
    browser.get("/reset")
    browser.submit("/reset", email=email)
    code = mail.code_in(mail.wait_for(email))
    page = browser.submit("/reset/enter", code=code, password="short")
    assert "at least 10 characters" in page.errors["field-password"]
    assert browser.submit("/reset/enter", code=code, password=OTHER).path == "/integrate"
    assert not signed_in(before)
    assert log_in(new_browser(mailing), email).status == 422
    assert log_in(new_browser(mailing), email, OTHER).path == "/integrate"
    assert mail.wait_for(email)["subject"] == "Your Metrion password was changed"


def test_a_code_is_for_its_purpose_and_account_alone(mailing: Metrion, mail: MailServer, email: str) -> None:
    other = f"other-{email}"
    signed_up(mailing, mail, email)
    signed_up(mailing, mail, other)
    browser = new_browser(mailing)
    browser.get("/login/code")
    browser.submit("/login/code", email=other)
    code = mail.code_in(mail.wait_for(other))
    mine = new_browser(mailing)
    mine.get("/login/code")
    mine.submit("/login/code", email=email)
    assert mine.submit("/login/code/enter", code=code).status == 422
    mine.get("/reset")
    mine.submit("/reset", email=email)
    login = mail.code_in(mail.wait_for(email))
    assert mine.submit("/reset/enter", code=login, password=OTHER).status == 422


def test_five_wrong_codes_void_the_right_one(mailing: Metrion, mail: MailServer, email: str) -> None:
    signed_up(mailing, mail, email)
    browser = new_browser(mailing)
    browser.get("/login/code")
    browser.submit("/login/code", email=email)
    code = mail.code_in(mail.wait_for(email))
    for number in range(5):
        wrong = f"{(int(code) + number + 1) % 1_000_000:06}"
        assert browser.submit("/login/code/enter", code=wrong).status == 422
    assert browser.submit("/login/code/enter", code=code).status == 422
    browser.submit("/code/again")
    assert browser.submit("/login/code/enter", code=mail.code_in(mail.wait_for(email))).path == "/integrate"


def test_an_expired_code_is_told_so(mailing: Metrion, mail: MailServer, email: str) -> None:
    signed_up(mailing, mail, email)
    browser = new_browser(mailing)
    browser.get("/login/code")
    browser.submit("/login/code", email=email)
    code = mail.code_in(mail.wait_for(email))
    database = sqlite3.connect(mailing.data_dir / "metrion.db", timeout=10)
    with database:  # ten minutes pass for this code
        database.execute("UPDATE codes SET expires_ms = created_ms")
    database.close()
    page = browser.submit("/login/code/enter", code=code)
    assert page.status == 422
    assert "expired" in page.errors["field-code"]


def test_guessing_ends_in_waiting(mailing: Metrion, mail: MailServer, email: str) -> None:
    signed_up(mailing, mail, email)
    statuses = [log_in(new_browser(mailing), email, f"{OTHER} {number}").status for number in range(12)]
    assert statuses[:10] == [422] * 10
    assert statuses[10:] == [429] * 2
    page = log_in(new_browser(mailing), email)
    assert page.status == 429  # from a new place the owner waits, too
    assert "Try again in" in page.errors["field-password"]


def test_guessing_from_one_address_ends_over_all_accounts(mailing: Metrion) -> None:
    browser = new_browser(mailing)
    statuses = [log_in(browser, f"{number}-{uuid4().hex}@example.com").status for number in range(22)]
    assert statuses[:20] == [422] * 20
    assert statuses[20:] == [429] * 2


def test_the_owner_is_not_locked_out_where_they_are_signed_in(mailing: Metrion, mail: MailServer, email: str) -> None:
    home = signed_up(mailing, mail, email)
    for number in range(11):
        log_in(new_browser(mailing), email, f"{OTHER} {number}")
    here = Browser(mailing.origin, address=home.address)
    assert log_in(here, email).path == "/integrate"


# ── links, invitations, the operator ──────────────────────────────────────────────────────────────────────────────────


def test_a_link_signs_in_once(silent: Metrion, email: str) -> None:
    silent.call("account", "create", email)
    link = silent.call("account", "link", email).strip()
    scanner, browser = new_browser(silent), new_browser(silent)
    assert scanner.get(link).status == 200  # looking does not use it
    browser.get(link)
    browser.submit()
    assert signed_in(browser)
    page = scanner.get(link)
    assert page.status == 410
    assert "used already" in page.text
    scanner.page = scanner.get("/login")
    assert scanner.get(f"{silent.origin}/link/{'x' * 32}").status == 404


def test_a_disabled_account_has_no_way_in(silent: Metrion, email: str) -> None:
    browser = new_browser(silent)
    sign_up(browser, email)
    silent.call("account", "disable", email)
    assert not signed_in(browser)
    page = log_in(new_browser(silent), email)
    assert "disabled" in page.errors["field-email"]
    assert "disabled" not in log_in(new_browser(silent), email, OTHER).text
    silent.call("account", "enable", email)
    assert log_in(new_browser(silent), email).path == "/integrate"


def test_with_mail_an_invitation_does_not_tell_which_addresses_have_accounts(
    mailing: Metrion, mail: MailServer, email: str
) -> None:
    signed_up(mailing, mail, email)
    for invite, status, worth in (("made-up", 422, 404), ("", 200, 410)):
        told = set()
        for address in (email, f"not-{email}"):
            token = invite or mailing.call("account", "invite").strip().rpartition("/")[2]
            browser = new_browser(mailing)
            csrf = browser.get("/signup").form("/signup").fields["csrf"]
            fields = {"csrf": csrf, "email": address, "password": PASSWORD, "name": "", "invite": token}
            page = browser.post("/signup", fields)
            told.add((page.status, page.path, browser.get(f"/invite/{token}").status))
        assert told == {(status, "/confirm" if status == 200 else "/signup", worth)}


def test_signing_up_by_invitation(new_metrion: NewMetrion, email: str) -> None:
    metrion = new_metrion({"METRION_SIGNUPS": "invite"})
    browser = Browser(metrion.origin)
    page = browser.get("/signup")
    assert "You need an invitation" in page.text
    csrf = browser.page.html.partition('name="csrf" content="')[2].partition('"')[0]
    page = browser.post("/signup", {"csrf": csrf, "email": email, "password": PASSWORD, "name": "", "invite": ""})
    assert not signed_in(browser)
    link = metrion.call("account", "invite", email).strip()
    browser.get(link)
    page = browser.submit("/signup", email=f"not-{email}", password=PASSWORD)
    assert f"This invitation is for {email}" in page.errors["field-email"]
    page = browser.submit("/signup", email=email, password=PASSWORD)
    assert page.path == "/integrate"
    again = Browser(metrion.origin)
    assert again.get(link).status == 410


def test_a_dead_invitation_keeps_nobody_out_where_all_may_come(silent: Metrion, email: str) -> None:
    browser = new_browser(silent)
    page = browser.get(f"/invite/{'x' * 32}")
    assert page.status == 404
    assert "You can also sign up without it." in page.text
    assert browser.submit("/signup", email=email, password=PASSWORD).path == "/integrate"


def test_closed_is_closed(new_metrion: NewMetrion) -> None:
    metrion = new_metrion({"METRION_SIGNUPS": "closed"})
    assert "takes no new accounts" in Browser(metrion.origin).get("/signup").text


def test_whoever_reads_the_start_becomes_the_operator(new_metrion: NewMetrion, email: str) -> None:
    metrion = new_metrion()
    claim = next(word for word in metrion.log.read_text().split() if "/claim/" in word)
    early = Browser(metrion.origin)
    sign_up(early, f"early-{email}")
    assert early.get("/operator").status == 404  # being first is not enough
    browser = Browser(metrion.origin)
    browser.get(claim)
    page = browser.submit(email=email, password=PASSWORD)
    assert page.path == "/operator"
    assert early.get(claim).status in (404, 410)
    early.get("/operator")
    assert early.page.status == 404


def test_the_operator_plans_disables_and_invites(new_metrion: NewMetrion, email: str) -> None:
    metrion = new_metrion()
    metrion.call("account", "create", f"boss-{email}", "--operator")
    other = Browser(metrion.origin)
    sign_up(other, email, PASSWORD)
    boss = Browser(metrion.origin)
    boss.get(metrion.call("account", "link", f"boss-{email}").strip())
    boss.submit()
    page = boss.get(f"/operator?q={email}")
    assert email in page.text
    number = next(
        form.fields["account"] for form in page.forms if form.fields.get("do") == "plan" and email in page.text
    )
    accounts = {line.split()[0]: line.split()[1] for line in metrion.call("account", "list").splitlines()}
    assert accounts[email] == "pro"
    ids = {form.fields["account"] for form in page.forms if "account" in form.fields}
    for one in ids:
        boss.post(
            "/operator/account", page.form("/operator/account").fields | {"account": one, "do": "plan", "plan": "free"}
        )
    accounts = {line.split()[0]: line.split()[1] for line in metrion.call("account", "list").splitlines()}
    assert accounts[email] == "free"
    assert number in ids
    boss.get("/operator")
    page = boss.submit("/operator/invite", email=f"new-{email}")
    assert "/invite/" in page.text
    assert boss.submit("/operator/invite", email="nobody").errors["field-email"]
    token = other.page.html.partition('name="csrf" content="')[2].partition('"')[0]
    assert other.post("/operator/account", {"csrf": token, "account": number, "do": "disable"}).status == 404


def test_no_code_key_or_password_stands_in_the_log(mailing: Metrion, mail: MailServer, email: str) -> None:
    signed_up(mailing, mail, email)
    log = mailing.log.read_text()
    assert PASSWORD not in log
    assert email not in log
    strings = subprocess.run(["strings", mailing.data_dir / "metrion.db"], capture_output=True, text=True, check=True)
    assert PASSWORD not in strings.stdout
