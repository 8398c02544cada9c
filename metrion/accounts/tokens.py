"""Metrion keys: `sk-metrion-` and 32 lower-case hex digits; `.label` after it names the requester."""

from __future__ import annotations

import secrets

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


def mask_token(token: Secret) -> str:
    """A Metrion key to tell it by: sk-metrion-…a1b2."""
    return f"{PREFIX.decode()}…{token.reveal()[-4:].decode()}"
