"""Statements: a month's figures, for whoever has the address. Its token is never stored, only its SHA-256.

A link ends when it expires, when its owner revokes it, and with its account; while the account is disabled it is dead.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import NamedTuple

from metrion.errors import InputError
from metrion.kit.clock import DAY_MS
from metrion.kit.zones import local_date, midnight, month_start
from metrion.storage import statements as stored
from metrion.storage.database import Connection

LIFETIMES = (7, 30, 90)  # days
MONTHS = 12  # that one can be made of: this one and those before
MOST = 50  # links of an account at a time
_TOKEN_BYTES = 24


class Statement(NamedTuple):
    """What a link leads to: whose figures of which month of the account's zone, and how they are shown."""

    account_id: int
    name: str
    currency: str
    time_zone: str
    month_ms: int
    created_ms: int
    expires_ms: int


class Listed(NamedTuple):
    """A link in its owner's list; `id` names it and opens nothing."""

    id: str
    month_ms: int
    created_ms: int
    expires_ms: int


def months(time_zone: str, now_ms: int) -> list[int]:
    """When this month and those before it began, this one first."""
    day, found = local_date(time_zone, now_ms).replace(day=1), []
    for _ in range(MONTHS):
        found.append(midnight(time_zone, day))
        day = day.replace(year=day.year - (day.month == 1), month=day.month - 1 or 12)
    return found


def issue_statement(
    connection: Connection, account_id: int, time_zone: str, month_ms: int, days: int, now_ms: int
) -> str:
    """A new link's token; InputError where the month or the days cannot be chosen, or there are too many."""
    if month_ms not in months(time_zone, now_ms):
        raise InputError("Choose a month from the list.", field="month")
    if days not in LIFETIMES:
        raise InputError("Choose from the list how long the link works.", field="days")
    stored.delete_expired_statements(connection, account_id, now_ms)
    if stored.count_statements(connection, account_id) >= MOST:
        raise InputError(f"There are {MOST} links already. Revoke one first.", field="month")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    stored.add_statement(
        connection,
        account_id,
        _digest(token),
        month_ms=month_ms,
        created_ms=now_ms,
        expires_ms=now_ms + days * DAY_MS,
    )
    return token


def read_statement(connection: Connection, token: str, now_ms: int) -> Statement | None:
    """What a link leads to; None where it ended or never was."""
    row = stored.find_statement(connection, _digest(token))
    if row is None or row.disabled_ms is not None or now_ms >= row.expires_ms:
        return None
    month_ms = _month_start(row.time_zone, row.month_ms)
    return Statement(row.account_id, row.name, row.currency, row.time_zone, month_ms, row.created_ms, row.expires_ms)


def list_statements(connection: Connection, account_id: int, time_zone: str, now_ms: int) -> list[Listed]:
    """An account's links that work, the newest first, with their months in `time_zone`."""
    return [
        Listed(row.digest.hex(), _month_start(time_zone, row.month_ms), row.created_ms, row.expires_ms)
        for row in stored.list_statements(connection, account_id, now_ms)
    ]


def revoke_statement(connection: Connection, account_id: int, id: str) -> bool:
    """End one of an account's links; False where it has no such one."""
    try:
        digest = bytes.fromhex(id)
    except ValueError:
        return False
    return stored.delete_statement(connection, account_id, digest)


def _month_start(time_zone: str, month_ms: int) -> int:
    """When the month began here that began then in the zone the link was made in: zones differ by at most 26 hours."""
    return month_start(time_zone, month_ms + 2 * DAY_MS)


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
