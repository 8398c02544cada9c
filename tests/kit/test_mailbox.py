"""Mailboxes as mail headers write them, and nothing that could end a header."""

from __future__ import annotations

import pytest

from metrion.kit.mailbox import mask_address, parse_mailbox


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("m@example.com", "", "m@example.com"),
        ("Metrion <m@example.com>", "Metrion", "m@example.com"),
        ('"Metrion, costs" <m@example.com>', "Metrion, costs", "m@example.com"),
        ("Kosten für Köln <m@example.com>", "Kosten für Köln", "m@example.com"),
        ("<m@example.com>", "", "m@example.com"),
        ("m@[192.0.2.1]", "", "m@[192.0.2.1]"),
    ],
)
def test_a_mailbox(text: str, name: str, address: str) -> None:
    mailbox = parse_mailbox(text)
    assert (mailbox.display_name, mailbox.addr_spec) == (name, address)


@pytest.mark.parametrize(
    "text",
    ["", "m", "m@", "Metrion m@example.com", "A <a@x>, B <b@x>", "A\r\nB <m@example.com>", "A <m@example.com>\nX: y"],
)
def test_what_is_no_mailbox(text: str) -> None:
    with pytest.raises(ValueError, match="mailbox"):
        parse_mailbox(text)


def test_a_masked_address() -> None:
    assert mask_address("ann@example.com") == "a***@example.com"
