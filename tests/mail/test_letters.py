"""Letters: what each says, in text and in HTML, and that nobody else's words get into it."""

from __future__ import annotations

import re
from collections.abc import Callable
from email import message_from_bytes
from email.headerregistry import Address
from email.policy import default

import pytest

from metrion.accounts import links
from metrion.accounts.codes import LIFETIME_MS
from metrion.kit.clock import DAY_MS
from metrion.mail.letters import Letters, Occasion
from metrion.mail.message import Message, write_mail
from tests.mail_server import MailServer, part_of, text_of

TO = "ann@example.com"
AT_MS = 1_795_253_520_000  # 2026-11-21 09:32 UTC
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
HERE = Occasion(AT_MS, AGENT, "203.0.113.7")
LETTERS = Letters("https://metrion.example.com")
FROM = Address("Metrion", "metrion", "metrion.example.com")

CODES: dict[str, Callable[[], Message]] = {
    "confirm_code": lambda: LETTERS.confirm_code(TO, "483920", HERE),
    "login_code": lambda: LETTERS.login_code(TO, "483920", HERE),
    "reset_code": lambda: LETTERS.reset_code(TO, "483920", HERE),
    "email_change_old": lambda: LETTERS.email_change_old(TO, "483920", "new@example.com", HERE),
    "email_change_new": lambda: LETTERS.email_change_new(TO, "483920", HERE),
    "delete_code": lambda: LETTERS.delete_code(TO, "483920", HERE),
}
NOTICES: dict[str, Callable[[], Message]] = {
    "you_have_an_account": lambda: LETTERS.you_have_an_account(TO, HERE),
    "address_taken": lambda: LETTERS.address_taken(TO, HERE),
    "email_changed": lambda: LETTERS.email_changed(TO, "new@example.com", HERE),
    "password_changed": lambda: LETTERS.password_changed(TO, HERE),
    "key_regenerated": lambda: LETTERS.key_regenerated(TO, HERE),
    "account_deleted": lambda: LETTERS.account_deleted(TO, [("Logged calls", "1,284")], HERE),
}
OTHERS: dict[str, Callable[[], Message]] = {
    "invitation": lambda: LETTERS.invitation(TO, "https://metrion.example.com/invite/abc_DEF-123"),
    "test": lambda: LETTERS.test(TO),
}
EVERY = CODES | NOTICES | OTHERS


@pytest.mark.parametrize("kind", EVERY)
def test_text_and_html_say_the_same(kind: str) -> None:
    message = EVERY[kind]()
    letter = message_from_bytes(write_mail(message, FROM, "1@example.com", AT_MS).as_bytes(), policy=default)
    assert (letter["To"], letter["From"], letter["Subject"]) == (TO, str(FROM), message.subject)
    assert [part.get_content_type() for part in letter.iter_parts()] == ["text/plain", "text/html"]
    text, html = words(text_of(letter)), words(re.sub(r"<[^>]*>", " ", body_of(part_of(letter, "html"))))
    missing = [word for word in text if word not in html and word.rstrip(":") not in html]
    assert [word for word in missing if word != "--" and not word.startswith("https://")] == []
    assert message.kind == kind


@pytest.mark.parametrize("kind", EVERY)
def test_every_letter_says_why_it_came_and_from_where(kind: str) -> None:
    text = words(EVERY[kind]().text)
    joined = " ".join(text)
    assert " -- You get this because " in joined
    assert joined.endswith(". Metrion at metrion.example.com")
    assert ("203.0.113.7" in text) is (kind not in OTHERS)
    assert ("Firefox on Linux" in joined) is (kind not in OTHERS)


@pytest.mark.parametrize("kind", [*CODES, *NOTICES])
def test_the_time_is_in_utc(kind: str) -> None:
    assert "Time: 21 November 2026, 09:32 UTC\n" in EVERY[kind]().text


@pytest.mark.parametrize("kind", CODES)
def test_a_code_stands_in_the_subject_and_alone_in_the_text(kind: str) -> None:
    message = CODES[kind]()
    assert message.subject.startswith("483920 is your ")
    assert "\n    483920\n" in message.text
    assert "until 09:42 UTC (10 minutes)" in " ".join(words(message.text))
    assert message.valid_until_ms == AT_MS + LIFETIME_MS


@pytest.mark.parametrize("kind", [*CODES, *NOTICES])
def test_it_says_what_to_do_if_it_was_not_you(kind: str) -> None:
    text = " ".join(words(EVERY[kind]().text))
    assert ("If this was not you, " in text) is (kind != "account_deleted")


@pytest.mark.parametrize("kind", NOTICES)
def test_a_notice_holds_for_ever(kind: str) -> None:
    assert NOTICES[kind]().valid_until_ms == 0


def test_an_invitation_says_how_long_it_holds() -> None:
    days = links._LIFETIMES_MS["invite"] // DAY_MS
    assert f"works once, for {days} days." in " ".join(words(EVERY["invitation"]().text))


def test_a_link_stays_whole() -> None:
    link = "https://metrion.example.com/invite/" + "a" * 100 + "-" + "b" * 100
    message = LETTERS.invitation(TO, link)
    letter = message_from_bytes(write_mail(message, FROM, "1@example.com", AT_MS).as_bytes(), policy=default)
    assert MailServer.link_in(letter) == link
    assert f'href="{link}"' in part_of(letter, "html")


def test_what_others_chose_is_escaped_or_left_out() -> None:
    occasion = Occasion(AT_MS, "<script>evil()</script> Call +1 555 0100", "<b>&")
    message = LETTERS.email_change_old(TO, "483920", "a&b'<x>@example.com", occasion)
    assert "<script>" not in message.html
    assert "0100" not in message.html + message.text
    assert "&lt;b&gt;&amp;" in message.html
    assert "a&amp;b&#39;&lt;x&gt;@example.com" in message.html


def test_nothing_is_fetched_by_opening_it() -> None:
    for make in EVERY.values():
        html = make().html
        assert not re.search(r"<(img|link|script|iframe|object)|url\(|@import|src=", html)
        assert set(re.findall(r'href="(https?://[^/"]+)', html)) <= {"https://metrion.example.com"}


def words(text: str) -> list[str]:
    return text.replace("&#39;", "'").split()


def body_of(html: str) -> str:
    return html.partition("<body")[2]
