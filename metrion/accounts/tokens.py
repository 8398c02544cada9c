"""Metrion keys: `sk-metrion-` and 32 lower-case hex digits; `.label` after it names the requester."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from metrion.accounts.vault import Vault
from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.kit.secrets import Secret
from metrion.storage import accounts as stored
from metrion.storage.database import Connection

PREFIX = b"sk-metrion-"
_LENGTH = len(PREFIX) + 32
_SEALED_FOR = "token"


def new_token() -> bytes:
    """A new Metrion key: 128 random bits."""
    return PREFIX + secrets.token_hex(16).encode()


def parse_token(credential: bytes) -> tuple[bytes, bytes] | None:
    """(token, label or b"") of what a client sent; None where it cannot be a Metrion key."""
    if not credential.startswith(PREFIX):
        return None
    token, dot, label = credential.partition(b".")
    if len(token) != _LENGTH or (dot and not label):
        return None
    return token, label


def replace_token(connection: Connection, vault: Vault, account_id: int) -> Secret:
    """Give an account a new Metrion key; the one before is refused once the registry is reloaded."""
    token = new_token()
    sealed = vault.seal(account_id, _SEALED_FOR, token)
    stored.replace_token(connection, account_id, vault.token_digest(token), sealed, now_ms())
    return Secret(token)


def reveal_token(connection: Connection, vault: Vault, account_id: int) -> Secret:
    """An account's Metrion key, to be shown to its owner; InputError where it has none."""
    rows = stored.list_tokens(connection, account_id)
    if not rows:
        raise InputError("This account has no Metrion key. Make one with Regenerate.")
    return vault.open(account_id, _SEALED_FOR, rows[0].sealed)


class Reader(NamedTuple):
    """An account whose figures may be read."""

    id: int
    plan: str
    time_zone: str


def find_reader(connection: Connection, vault: Vault, credential: bytes) -> Reader | None:
    """The account of a Metrion key (with or without a label); None where the key is not known, or its account disabled.

    Raises InputError where its owner lets the key read nothing.
    """
    parsed = parse_token(credential)
    row = None if parsed is None else stored.find_by_token(connection, vault.token_digest(parsed[0]))
    if row is None or row.disabled_ms is not None:
        return None
    if not row.key_reads:
        raise InputError("This Metrion key may not read. Its owner can let it under Settings, Metrion key.")
    return Reader(row.id, row.plan, row.time_zone)


def may_read(connection: Connection, account_id: int) -> bool:
    """Whether an account's Metrion key may read the JSON API."""
    return any(row.key_reads for row in stored.list_accounts(connection, account_id))


def let_read(connection: Connection, account_id: int, allowed: bool) -> None:
    """Let an account's Metrion key read the JSON API, or no longer."""
    stored.update_account(connection, account_id, key_reads=int(allowed))


def mask_token(token: Secret) -> str:
    """A Metrion key to tell it by: sk-metrion-…a1b2."""
    return f"{PREFIX.decode()}…{token.reveal()[-4:].decode()}"
