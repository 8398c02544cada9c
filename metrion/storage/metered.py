"""Metered: which responses are counted already, by account, provider and the digest of their id."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, tuple_

from metrion.storage.database import Connection
from metrion.storage.tables import metered

_ASKED = 500  # digests at once: engines bound the parameters of a statement
_KEY = (metered.c.account_id, metered.c.provider, metered.c.digest)
_ADD = "INSERT INTO metered (account_id, provider, digest, until_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"


def find_metered(connection: Connection, account_id: int, provider: str, digests: Sequence[bytes]) -> set[bytes]:
    """Those of `digests` that are remembered."""
    found: set[bytes] = set()
    for at in range(0, len(digests), _ASKED):
        query = select(metered.c.digest).where(
            metered.c.account_id == account_id,
            metered.c.provider == provider,
            metered.c.digest.in_(digests[at : at + _ASKED]),
        )
        found.update(connection.execute(query).scalars())
    return found


def add_metered(connection: Connection, keys: Sequence[tuple[int, str, bytes, int]]) -> None:
    """Remember (account, provider, digest, until then in Unix ms); what is remembered already stays as it is."""
    if keys:
        connection.exec_driver_sql(_ADD, list(keys))


def forget_metered(connection: Connection, now_ms: int, limit: int) -> None:
    """Forget at most `limit` of those whose time is over."""
    old = select(*_KEY).where(metered.c.until_ms < now_ms).limit(limit)
    connection.execute(delete(metered).where(tuple_(*_KEY).in_(old)))
