"""How an account comes from one plan to another, by what its operator grants and what it pays for.

On the way down its month counts from zero, and rows that only pro shows are hidden for 30 days before they are deleted
(`plans.kept_since`), so that the way up brings them back.
"""

from __future__ import annotations

from typing import NamedTuple

from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.kit.months import month_of, month_start_ms
from metrion.storage import alerts
from metrion.storage.accounts import list_accounts, update_account
from metrion.storage.database import Connection
from metrion.storage.rows import month_used


class Move(NamedTuple):
    """From plan to plan; the same where nothing changed."""

    before: str
    after: str

    @property
    def is_down(self) -> bool:
        """Whether the account lost pro."""
        return (self.before, self.after) == ("pro", "free")


def grant(connection: Connection, account_id: int, plan: str) -> Move:
    """Put an account on a plan without payment; one that pays stays on pro as long as it does."""
    return _move(connection, account_id, granted=plan)


def pay(connection: Connection, account_id: int, *, paid: bool, grace_ends_ms: int | None = None) -> Move:
    """Say whether an account pays for pro; `grace_ends_ms`: a payment failed, and it counts as paying until then."""
    return _move(connection, account_id, paid=paid, grace_ends_ms=grace_ends_ms)


def _move(
    connection: Connection,
    account_id: int,
    *,
    granted: str | None = None,
    paid: bool | None = None,
    grace_ends_ms: int | None = None,
) -> Move:
    rows = list_accounts(connection, account_id)
    if not rows:
        raise InputError(f"there is no account {account_id}")
    row = rows[0]
    if granted is None:
        granted = row.granted
    if paid is None:
        paid, grace_ends_ms = bool(row.paid), row.grace_ends_ms
    move = Move(row.plan, "pro" if paid else granted)
    columns = {"plan": move.after, "granted": granted, "paid": int(paid), "grace_ends_ms": grace_ends_ms}
    if move.is_down:
        columns |= _down(connection, account_id)
    elif move.after == "pro":
        columns |= {"free_since_ms": None, "month_base": 0}
    update_account(connection, account_id, **columns)
    alerts.set_due(connection, [account_id])  # rules that waited for pro go on at once
    return move


def _down(connection: Connection, account_id: int) -> dict[str, int]:
    now = now_ms()
    base = month_used(connection, account_id, month_start_ms(month_of(now)))
    return {"free_since_ms": now, "month_base": base}
