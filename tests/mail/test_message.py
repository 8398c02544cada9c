"""A message as a mail: nothing gets into its head, everything comes out of its body as it went in."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.mail.message import Message, write_mail
from tests.mail_server import part_of, text_of

AT_MS = 1_795_253_520_000
FROM = Address("Metrion", "metrion", "example.com")


def message(**changes: Any) -> Message:
    fields = {"to": "ann@example.com", "subject": "Hello", "text": "text\n", "html": "<p>html</p>\n", "kind": "test"}
    return Message(**(fields | changes))


def parsed(one: Message, message_id: str = "1@example.com") -> EmailMessage:
    content = write_mail(one, FROM, message_id, AT_MS).as_bytes()
    assert content.isascii()
    assert all(len(line) <= 998 for line in content.splitlines())
    return message_from_bytes(content, policy=default)


def test_its_head() -> None:
    mail = parsed(message())
    assert dict(mail.items()) == {
        "From": "Metrion <metrion@example.com>",
        "To": "ann@example.com",
        "Subject": "Hello",
        "Date": "Sat, 21 Nov 2026 09:32:00 +0000",
        "Message-ID": "<1@example.com>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "MIME-Version": "1.0",
        "Content-Type": mail["Content-Type"],
    }
    assert mail.get_content_type() == "multipart/alternative"
    assert mail["Date"].datetime == datetime.fromtimestamp(AT_MS / 1000, UTC)


@pytest.mark.parametrize(
    "to",
    [
        "ann@example.com\r\nBcc: eve@example.com",
        "ann@example.com\nBcc: eve@example.com",
        "ann@example.com\n",
        "ann@example.com, eve@example.com",
        "ann@example.com> SIZE=1",
        "Ann <ann@example.com>",
        "ann",
        "@example.com",
        "ann@",
        "",
        '"a b"@example.com',
        "ann\x00@example.com",
    ],
)
def test_what_is_no_address_alone_is_refused(to: str) -> None:
    with pytest.raises(ValueError, match=r"mailbox|address alone"):
        message(to=to)


@pytest.mark.parametrize(
    "subject", ["a\r\nBcc: eve@example.com", "a\nb", "a\x00b", "a\u2028b", "a\x85b", "", "x" * 251]
)
def test_what_is_no_subject_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        message(subject=subject)


def test_what_was_stored_is_looked_at_again() -> None:
    stored = msgspec.json.encode(message()).replace(b"Hello", b"Hello\\nBcc: eve@example.com")
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(stored, type=Message)


@given(st.text(max_size=250))
def test_any_subject_is_refused_or_arrives_and_is_one_header(subject: str) -> None:
    try:
        one = message(subject=subject)
    except ValueError:
        return
    mail = parsed(one)
    assert len(mail.keys()) == 9
    assert mail["Subject"].split() == subject.split()


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), max_size=2000))
def test_any_text_arrives(text: str) -> None:
    mail = parsed(message(text=text, html=text))
    for found in (text_of(mail), part_of(mail, "html")):
        assert found.rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize(
    "subject", ["Grüße aus Zürich", "支出が予算を超えました", "Budget “Prod” at 92 %: $46.10 of $50 🚀", "é" * 250]
)
def test_every_language_arrives(subject: str) -> None:
    mail = parsed(message(subject=subject, text=subject, html=f"<p>{subject}"))
    assert (mail["Subject"], text_of(mail), part_of(mail, "html")) == (subject, f"{subject}\n", f"<p>{subject}\n")


def test_a_long_host_leaves_the_message_id_whole() -> None:
    name = "a" * 32 + "@" + ".".join(["x" * 60] * 4)
    assert parsed(message(), name)["Message-ID"] == f"<{name}>"
