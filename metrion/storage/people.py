"""Sessions, codes and links: how people come to their account, as stored. Digests only; what is sealed stays sealed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from metrion.storage.tables import accounts, codes, links, sessions

# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_session(connection: Connection, account_id: int, digest: bytes, agent: str, address: str, now_ms: int) -> None:
    """Add a session that starts now."""
    row = {"account_id": account_id, "digest": digest, "agent": agent, "address": address}
    connection.execute(insert(sessions).values(row | {"created_ms": now_ms, "seen_ms": now_ms}))


def find_session(connection: Connection, digest: bytes) -> Row[Any] | None:
    """A session with its account's columns: digest, started_ms, seen_ms, and all of accounts."""
    columns = (sessions.c.digest, sessions.c.created_ms.label("started_ms"), sessions.c.seen_ms, *accounts.c)
    query = select(*columns).join(accounts, accounts.c.id == sessions.c.account_id)
    return connection.execute(query.where(sessions.c.digest == digest)).one_or_none()


def list_sessions(connection: Connection, account_id: int) -> Sequence[Row[Any]]:
    """An account's sessions, the last seen first."""
    query = select(sessions).where(sessions.c.account_id == account_id)
    return connection.execute(query.order_by(sessions.c.seen_ms.desc(), sessions.c.digest)).all()


def touch_session(connection: Connection, account_id: int, digest: bytes, now_ms: int) -> None:
    """Say that a session was seen now."""
    which = (sessions.c.account_id == account_id) & (sessions.c.digest == digest)
    connection.execute(update(sessions).where(which).values(seen_ms=now_ms))


def delete_session(connection: Connection, account_id: int, digest: bytes) -> bool:
    """Delete a session; False where the account has no such one."""
    which = (sessions.c.account_id == account_id) & (sessions.c.digest == digest)
    return connection.execute(delete(sessions).where(which)).rowcount > 0


def delete_sessions(connection: Connection, account_id: int, but: bytes | None = None) -> int:
    """Delete an account's sessions, all `but` one; returns how many."""
    which = sessions.c.account_id == account_id
    if but is not None:
        which &= sessions.c.digest != but
    return connection.execute(delete(sessions).where(which)).rowcount


def delete_ended_sessions(connection: Connection, account_id: int, started_before_ms: int, seen_before_ms: int) -> None:
    """Delete an account's sessions that began, or were last seen, before these times."""
    ended = (sessions.c.created_ms <= started_before_ms) | (sessions.c.seen_ms <= seen_before_ms)
    connection.execute(delete(sessions).where((sessions.c.account_id == account_id) & ended))


# ── codes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def set_code(
    connection: Connection,
    account_id: int,
    purpose: str,
    *,
    digest: bytes,
    sealed: bytes,
    subject: str,
    created_ms: int,
    expires_ms: int,
) -> None:
    """Store a code in the place of the one before, with no try taken."""
    delete_code(connection, account_id, purpose)
    row = {"account_id": account_id, "purpose": purpose, "digest": digest, "sealed": sealed, "subject": subject}
    connection.execute(insert(codes).values(row | {"created_ms": created_ms, "expires_ms": expires_ms}))


def find_code(connection: Connection, account_id: int, purpose: str) -> Row[Any] | None:
    """The account's code for a purpose."""
    which = (codes.c.account_id == account_id) & (codes.c.purpose == purpose)
    return connection.execute(select(codes).where(which)).one_or_none()


def list_codes(connection: Connection, account_id: int) -> Sequence[Row[Any]]:
    """Every code of an account, the youngest first."""
    query = select(codes).where(codes.c.account_id == account_id)
    return connection.execute(query.order_by(codes.c.created_ms.desc(), codes.c.purpose)).all()


def count_try(connection: Connection, account_id: int, purpose: str) -> None:
    """Count one more wrong try of a code."""
    which = (codes.c.account_id == account_id) & (codes.c.purpose == purpose)
    connection.execute(update(codes).where(which).values(tries=codes.c.tries + 1))


def delete_code(connection: Connection, account_id: int, purpose: str) -> None:
    """Delete the account's code for a purpose."""
    connection.execute(delete(codes).where((codes.c.account_id == account_id) & (codes.c.purpose == purpose)))


def delete_codes(connection: Connection, account_id: int) -> None:
    """Delete every code of an account."""
    connection.execute(delete(codes).where(codes.c.account_id == account_id))


# ── links ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_link(
    connection: Connection,
    account_id: int | None,
    purpose: str,
    digest: bytes,
    *,
    email: str,
    created_ms: int,
    expires_ms: int,
) -> None:
    """Add a link that nobody used."""
    row = {"account_id": account_id, "purpose": purpose, "digest": digest, "email": email}
    connection.execute(insert(links).values(row | {"created_ms": created_ms, "expires_ms": expires_ms}))


def find_link(connection: Connection, purpose: str, digest: bytes) -> Row[Any] | None:
    """A link by what it is for and its token's digest."""
    which = (links.c.digest == digest) & (links.c.purpose == purpose)
    return connection.execute(select(links).where(which)).one_or_none()


def use_link(connection: Connection, digest: bytes, now_ms: int) -> bool:
    """Mark a link as used; False where it was."""
    which = (links.c.digest == digest) & links.c.used_ms.is_(None)
    return connection.execute(update(links).where(which).values(used_ms=now_ms)).rowcount > 0


def delete_links(connection: Connection, account_id: int | None, purpose: str | None = None) -> None:
    """Delete an account's links (None: those of no account), all or those of one purpose."""
    which = links.c.account_id.is_(None) if account_id is None else links.c.account_id == account_id
    connection.execute(delete(links).where(which if purpose is None else which & (links.c.purpose == purpose)))


def delete_old_links(connection: Connection, before_ms: int) -> None:
    """Delete whoever's links that expired before this time."""
    connection.execute(delete(links).where(links.c.expires_ms < before_ms))
