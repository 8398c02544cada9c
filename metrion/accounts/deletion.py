"""How an account ends: at once for people and the proxy, and in steps for what it recorded (`metrion.ledger.erasure`).

What stays is a tombstone: an HMAC of the account's number. A number is never given again, so whatever a journal brings
back later of that account can be told by it and is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec

from metrion.accounts.vault import Vault, open_vault
from metrion.config import Settings
from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.storage import accounts as stored
from metrion.storage import deletions
from metrion.storage.database import Connection, Database

_PURPOSE = "deleted account"


class Deleted(msgspec.Struct, frozen=True):
    """What was deleted, for its owner's eyes: who it was, and how much there was of each kind."""

    account_id: int
    email: str
    name: str
    requests: int
    metrion_keys: int
    provider_keys: int
    sessions: int

    def facts(self) -> list[tuple[str, str]]:
        """(kind, how many) as people read it; the address and settings go without a number."""
        counts = (
            ("Requests", self.requests),
            ("Metrion keys", self.metrion_keys),
            ("Provider keys", self.provider_keys),
            ("Sessions", self.sessions),
        )
        return [(kind, f"{number:,}") for kind, number in counts]


def begin_deletion(connection: Connection, vault: Vault, account_id: int) -> Deleted:
    """Delete an account for good; InputError where there is none.

    With this transaction its address, name, password, keys, sessions, codes, links and unsent mail are gone; reload the
    registry after it, and its keys are refused. What it recorded can no longer be reached, and is deleted in steps.
    A last mail is to be posted after this as nobody's (account 0), for the account's own are deleted.
    """
    rows = stored.list_accounts(connection, account_id)
    if not rows:
        raise InputError(f"there is no account {account_id}")
    counts = deletions.delete_account(connection, account_id, _digest(vault, account_id), now_ms())
    return Deleted(account_id, rows[0].email, rows[0].name, *counts)


def who_is_gone(settings: Settings, database: Database) -> Callable[[int], bool]:
    """Says of an account's number whether that account was deleted. Needs the master key only where one was."""
    with database.begin() as connection:
        digests = deletions.tombstones(connection)
    if not digests:
        return lambda account_id: False
    vault = open_vault(settings, database)
    return cache(lambda account_id: _digest(vault, account_id) in digests)


def _digest(vault: Vault, account_id: int) -> bytes:
    return vault.digest(_PURPOSE, b"%d" % account_id)
