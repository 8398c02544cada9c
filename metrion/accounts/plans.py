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
    retention_days: int  # how long its rows are kept and shown; totals by hour and day stay
    csv: bool  # may export its log as CSV
    alerts: bool


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


def monthly_requests(plan: Plan, settings: Settings) -> int:
    """How many requests a month a plan allows here (0: any number): the operator sets what a free one does."""
    return settings.free_monthly_requests if plan is FREE else plan.monthly_requests


def visible_since(plan: str, moment_ms: int) -> int:
    """From when on the rows of an account on `plan` may be shown, in Unix ms; older ones count as deleted already."""
    return max(moment_ms - PLANS[plan].retention_days * DAY_MS, 0)


def kept_since(plan: str, free_since_ms: int | None, moment_ms: int) -> int:
    """From when on rows are kept, shown or not: for a while after the way down, as long as before it."""
    was_pro = free_since_ms is not None and moment_ms - free_since_ms < HIDDEN_MS
    return visible_since(PRO.name if was_pro else plan, moment_ms)


def shown_since(connection: Connection, account_id: int) -> int:
    """The same of an account as of now; InputError where there is none."""
    rows = list_accounts(connection, account_id)
    if not rows:
        raise InputError(f"there is no account {account_id}")
    return visible_since(rows[0].plan, now_ms())
