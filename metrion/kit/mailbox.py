"""Mailboxes as mail headers write them: an address, or a name and an address; and addresses as logs may show them."""

from __future__ import annotations

import re
from email.errors import MessageError
from email.headerregistry import Address

# Quoted and international local parts are left out: few servers take them, and none is needed.
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])")
_NAMED = re.compile(r'\s*"?([^"<>\x00-\x1f\x7f]{0,100}?)"?\s*<([^<>\s]+)>\s*')


def parse_mailbox(text: str) -> Address:
    """`ann@example.com` or `Ann <ann@example.com>`; raises ValueError for anything else, such as a line break."""
    named = _NAMED.fullmatch(text)
    name, address = (named[1], named[2]) if named else ("", text)
    if not _ADDRESS.fullmatch(address):
        raise ValueError("not a mailbox")
    try:
        return Address(display_name=name, addr_spec=address)
    except (MessageError, IndexError) as error:
        raise ValueError("not a mailbox") from error


def mask_address(address: str) -> str:
    """`a***@example.com`: enough to tell whom a log line is about, if one knows them."""
    local, _, domain = address.partition("@")
    return f"{local[:1]}***@{domain}"
