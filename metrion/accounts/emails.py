"""E-mail addresses: what names an account to people."""

from __future__ import annotations

import re

from metrion.errors import InputError
from metrion.storage import accounts as stored
from metrion.storage.database import Connection

# Deliverability is for the mail part to find out; this only keeps out what cannot be an address.
_EMAIL = re.compile(
    r"(?=[^@]{1,64}@)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)


def find_account(connection: Connection, email: str) -> tuple[int, str]:
    """(id, e-mail address) of an account; raises InputError where there is none."""
    known = email.strip().lower()
    row = stored.find_account(connection, known)
    if row is None:
        raise InputError(f"there is no account {known!r}; make one with: metrion account create EMAIL")
    return row.id, row.email


def check_email(text: str) -> str:
    """An e-mail address in lower case; raises InputError for what cannot be one."""
    email = text.strip().lower()
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise InputError(f"{text!r} is not an e-mail address", "email")
    return email
