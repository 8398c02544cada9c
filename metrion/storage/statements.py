"""Links to statements, as stored: by the digest of their token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, insert, select

from metrion.storage.database import Connection
from metrion.storage.tables import accounts, statements


def add_statement(
    connection: Connection, account_id: int, digest: bytes, *, month_ms: int, created_ms: int, expires_ms: int
) -> None:
    """Add a link."""
    row = {"account_id": account_id, "digest": digest, "month_ms": month_ms}
    connection.execute(insert(statements).values(row | {"created_ms": created_ms, "expires_ms": expires_ms}))


def find_statement(connection: Connection, digest: bytes) -> Row[Any] | None:
    """A link with its account's `name`, `currency`, `time_zone` and `disabled_ms`."""
    owner = (accounts.c.name, accounts.c.currency, accounts.c.time_zone, accounts.c.disabled_ms)
    query = select(statements, *owner).join(accounts, accounts.c.id == statements.c.account_id)
    return connection.execute(query.where(statements.c.digest == digest)).one_or_none()


def list_statements(connection: Connection, account_id: int, now_ms: int) -> Sequence[Row[Any]]:
    """An account's links that have not expired, the newest first."""
    mine = (statements.c.account_id == account_id) & (statements.c.expires_ms > now_ms)
    return connection.execute(select(statements).where(mine).order_by(statements.c.created_ms.desc())).all()


def count_statements(connection: Connection, account_id: int) -> int:
    """How many links an account has."""
    mine = select(func.count()).select_from(statements).where(statements.c.account_id == account_id)
    return connection.execute(mine).scalar_one()


def delete_statement(connection: Connection, account_id: int, digest: bytes) -> bool:
    """Delete one of an account's links; False where it has no such one."""
    which = (statements.c.account_id == account_id) & (statements.c.digest == digest)
    return connection.execute(delete(statements).where(which)).rowcount > 0


def delete_expired_statements(connection: Connection, account_id: int, now_ms: int) -> None:
    """Delete an account's links that have expired."""
    mine = statements.c.account_id == account_id
    connection.execute(delete(statements).where(mine & (statements.c.expires_ms <= now_ms)))
