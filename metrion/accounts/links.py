"""Links: addresses that work once. The token is never stored, only its SHA-256.

sign_in    signs its account in; 10 minutes, and a new one ends the one before
invite     lets somebody sign up where that takes an invitation; 14 days; `email`: for that address alone
claim      makes whoever opens it an operator; until it is used or another one is made
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Literal, NamedTuple

from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage import people as stored
from metrion.storage.database import Connection

Purpose = Literal["sign_in", "invite", "claim"]
Verdict = Literal["ok", "expired", "used", "unknown"]

_LIFETIMES_MS: dict[Purpose, int] = {"sign_in": 10 * 60_000, "invite": 14 * DAY_MS, "claim": 100 * 365 * DAY_MS}
_KEPT_MS = 30 * DAY_MS  # how long an expired link is told from an unknown one
_PATHS: dict[Purpose, str] = {"sign_in": "link", "invite": "invite", "claim": "claim"}
_TOKEN_BYTES = 24


class LinkResult(NamedTuple):
    """What a link is worth. `account_id` and `email`: whose it is, where the verdict is ok."""

    verdict: Verdict
    account_id: int | None = None
    email: str = ""

    @property
    def ok(self) -> bool:
        """Whether the link may be used."""
        return self.verdict == "ok"

    @property
    def problem(self) -> str:
        """What to tell whoever opened it; "" for a good one."""
        return {
            "ok": "",
            "expired": "This link has expired. Ask for a new one.",
            "used": "This link was used already; it works once. Ask for a new one.",
            "unknown": "This link is not known here, or a newer one took its place. Check that it was copied whole.",
        }[self.verdict]


def issue_link(connection: Connection, purpose: Purpose, *, account_id: int | None = None, email: str = "") -> str:
    """A new link's token; see `link_url`. Of sign_in and claim links the one before ends."""
    token, now = secrets.token_urlsafe(_TOKEN_BYTES), now_ms()
    stored.delete_old_links(connection, now - _KEPT_MS)
    if purpose != "invite":
        stored.delete_links(connection, account_id, purpose)
    expires_ms = now + _LIFETIMES_MS[purpose]
    stored.add_link(connection, account_id, purpose, _digest(token), email=email, created_ms=now, expires_ms=expires_ms)
    return token


def read_link(connection: Connection, purpose: Purpose, token: str) -> LinkResult:
    """What a link is worth, without using it: to show the page it leads to."""
    row = stored.find_link(connection, purpose, _digest(token))
    if row is None:
        return LinkResult("unknown")
    if row.used_ms is not None:
        return LinkResult("used")
    if now_ms() >= row.expires_ms:
        return LinkResult("expired")
    return LinkResult("ok", row.account_id, row.email)


def use_link(connection: Connection, purpose: Purpose, token: str) -> LinkResult:
    """The same, and a good link is used by it."""
    found = read_link(connection, purpose, token)
    if found.ok and not stored.use_link(connection, _digest(token), now_ms()):
        return LinkResult("used")
    return found


def link_url(origin: str, purpose: Purpose, token: str) -> str:
    """A link's address on the Metrion at `origin`."""
    return f"{origin}/{_PATHS[purpose]}/{token}"


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
