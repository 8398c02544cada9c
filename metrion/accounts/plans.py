"""Plans: what each allows, as data. Spec §5."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from metrion.config import Settings
from metrion.errors import InputError
from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage.accounts import list_accounts
from metrion.storage.database import Connection


class Plan(msgspec.Struct, frozen=True):
    """What an account may do."""

    name: str
    monthly_requests: int  # in a calendar month (UTC); 0: any number
    retention_days: int  # how long its rows are kept and shown, 0: for ever; totals by hour and day stay
    csv: bool  # may export its log as CSV
    alerts: bool

    @property
    def kept(self) -> str:
        """How long its rows are kept, in words."""
        if not self.retention_days:
            return "for ever"
        return "for a day" if self.retention_days == 1 else f"for {self.retention_days} days"


FREE = Plan("free", 10_000, 7, csv=False, alerts=False)
PRO = Plan("pro", 0, 90, csv=True, alerts=True)
PLANS = {plan.name: plan for plan in (FREE, PRO)}
HIDDEN_MS = 30 * DAY_MS  # after the way down, how long rows that only pro shows are kept


class Use(NamedTuple):
    """How much of a month's requests is used."""

    used: int
    most: int
    resets_ms: int  # when the count starts anew

    @property
    def level(self) -> Literal["", "near", "full"]:
        """Whether to tell: from 80 % on, and at 100 %."""
        if self.used >= self.most:
            return "full"
        return "near" if self.used * 100 >= self.most * 80 else ""


def plans_of(settings: Settings) -> dict[str, Plan]:
    """The plans with what the operator set: how long rows are kept, and how many requests a free month has."""
    return {
        FREE.name: msgspec.structs.replace(
            FREE, monthly_requests=settings.free_monthly_requests, retention_days=settings.retention_free_days
        ),
        PRO.name: msgspec.structs.replace(PRO, retention_days=settings.retention_pro_days),
    }


def visible_since(settings: Settings, plan: str, moment_ms: int) -> int:
    """From when on the rows of an account on `plan` may be shown, in Unix ms; older ones count as deleted already."""
    days = plans_of(settings)[plan].retention_days
    return max(moment_ms - days * DAY_MS, 0) if days else 0


def kept_since(settings: Settings, plan: str, free_since_ms: int | None, moment_ms: int) -> int:
    """From when on rows are kept, shown or not: for a while after the way down, as long as before it."""
    shown = visible_since(settings, plan, moment_ms)
    if free_since_ms is None or moment_ms - free_since_ms >= HIDDEN_MS:
        return shown
    return min(shown, visible_since(settings, PRO.name, moment_ms))


def shown_since(settings: Settings, connection: Connection, account_id: int) -> int:
    """`visible_since` of an account as of now; InputError where there is none."""
    rows = list_accounts(connection, account_id)
    if not rows:
        raise InputError(f"there is no account {account_id}")
    return visible_since(settings, rows[0].plan, now_ms())
