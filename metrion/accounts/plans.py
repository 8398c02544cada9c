"""Plans: what each allows, as data. Spec §5."""

from __future__ import annotations

import msgspec

from metrion.config import Settings
from metrion.kit.clock import DAY_MS


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


def monthly_requests(plan: Plan, settings: Settings) -> int:
    """How many requests a month a plan allows here (0: any number): the operator sets what a free one does."""
    return settings.free_monthly_requests if plan is FREE else plan.monthly_requests


def visible_since(plan: str, now_ms: int) -> int:
    """From when on an account's rows may be shown, in Unix ms; older ones count as deleted already."""
    return max(now_ms - PLANS[plan].retention_days * DAY_MS, 0)
