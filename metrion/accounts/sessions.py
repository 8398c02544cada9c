"""Sessions: who is signed in with which browser. The cookie is never stored, only its SHA-256.

A session ends 14 days after it was last seen, 90 days after it began, when it is ended, or with its account.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Any

import msgspec

from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage import people as stored
from metrion.storage.database import Connection

IDLE_MS = 14 * DAY_MS
ABSOLUTE_MS = 90 * DAY_MS
ABSOLUTE_SECONDS = ABSOLUTE_MS // 1000  # how long a browser keeps the cookie
_TOUCH_MS = 60_000
_COOKIE_BYTES = 32
_LONGEST_AGENT = 300


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A live session and the account it is signed in to, as pages see it."""

    id: int  # the account's
    email: str
    name: str
    plan: str
    grace_ends_ms: int | None  # a payment failed: until when pro goes on nonetheless
    operator: bool
    currency: str
    time_zone: str
    confirmed: bool
    has_password: bool
    digest: bytes  # names the session; it cannot be signed in with
    started_ms: int
    seen_ms: int
    stale: bool  # seen over a minute ago: call `touch_session`


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A live session in its account's list."""

    digest: bytes
    started_ms: int
    seen_ms: int
    agent: str
    address: str


def start_session(connection: Connection, account_id: int, agent: str, address: str) -> str:
    """Start a session and return its cookie."""
    cookie, now = secrets.token_urlsafe(_COOKIE_BYTES), now_ms()
    stored.delete_ended_sessions(connection, account_id, now - ABSOLUTE_MS, now - IDLE_MS)
    stored.add_session(connection, account_id, _digest(cookie), _plain(agent), address, now)
    return cookie


def find_session(connection: Connection, cookie: str) -> Session | None:
    """The live session of a cookie; None where it ended, never was, or its account is disabled."""
    row, now = stored.find_session(connection, _digest(cookie)), now_ms()
    if row is None or row.disabled_ms is not None or _ended(row.started_ms, row.seen_ms, now):
        return None
    return _session(row, now)


def touch_session(connection: Connection, session: Session) -> None:
    """Put off the session's idle end; for a `stale` one."""
    stored.touch_session(connection, session.id, session.digest, now_ms())


def end_session(connection: Connection, account_id: int, digest: bytes) -> bool:
    """End one of an account's sessions; False where it has no such one."""
    return stored.delete_session(connection, account_id, digest)


def end_sessions(connection: Connection, account_id: int, but: bytes | None = None) -> int:
    """End an account's sessions, all `but` the one of that digest; returns how many."""
    return stored.delete_sessions(connection, account_id, but)


def list_sessions(connection: Connection, account_id: int) -> list[Listed]:
    """An account's live sessions, the last seen first."""
    now = now_ms()
    return [
        Listed(digest=row.digest, started_ms=row.created_ms, seen_ms=row.seen_ms, agent=row.agent, address=row.address)
        for row in stored.list_sessions(connection, account_id)
        if not _ended(row.created_ms, row.seen_ms, now)
    ]


def _session(row: Any, now: int) -> Session:
    return Session(
        id=row.id,
        email=row.email,
        name=row.name,
        plan=row.plan,
        grace_ends_ms=row.grace_ends_ms,
        operator=bool(row.operator),
        currency=row.currency,
        time_zone=row.time_zone,
        confirmed=row.confirmed_ms is not None,
        has_password=row.password is not None,
        digest=row.digest,
        started_ms=row.started_ms,
        seen_ms=row.seen_ms,
        stale=now - row.seen_ms > _TOUCH_MS,
    )


def _ended(started_ms: int, seen_ms: int, now: int) -> bool:
    return now - started_ms >= ABSOLUTE_MS or now - seen_ms >= IDLE_MS


def _digest(cookie: str) -> bytes:
    return sha256(cookie.encode("utf-8", "replace")).digest()


def _plain(agent: str) -> str:
    return "".join(char for char in agent[:_LONGEST_AGENT] if char.isprintable())
