"""Outbox: posting a mail, and opening what was posted.

A mail is posted in the transaction that makes the change it tells of, so it exists exactly if the change does.
"""

from __future__ import annotations

import os

import msgspec

from metrion.accounts.vault import Vault
from metrion.config import Settings
from metrion.kit.clock import now_ms
from metrion.mail.message import Message
from metrion.storage import outbox as stored
from metrion.storage.database import Connection

_PURPOSE = "mail"


class Posted(msgspec.Struct, frozen=True):
    """What is sealed: a message, and a name of its own that stays the same however often it is sent."""

    id: str
    message: Message


def mail_on(settings: Settings) -> bool:
    """Whether mail is sent at all: a mail server is configured."""
    return bool(settings.smtp_url)


def post(connection: Connection, vault: Vault, account_id: int, message: Message) -> None:
    """Send `message` once the caller's transaction is committed; `account_id` 0: nobody's.

    It is sent at least once, restarts or not; with `mail_on` only, for otherwise it would wait for ever.
    """
    posted = msgspec.json.encode(Posted(os.urandom(16).hex(), message))
    stored.add_mail(connection, account_id, vault.seal(account_id, _PURPOSE, posted), now_ms())


def open_mail(vault: Vault, mail: stored.StoredMail) -> Posted:
    """What was posted; raises VaultError where it does not open."""
    return msgspec.json.decode(vault.open(mail.account_id, _PURPOSE, mail.sealed).reveal(), type=Posted)
