"""Reconciling: asking Stripe about everybody, whatever webhooks said or did not say."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import NamedTuple

import structlog

from metrion.billing.clerk import Clerk
from metrion.billing.desk import Desk
from metrion.billing.webhooks import KEPT_MS, store_events
from metrion.errors import BillingError
from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage import billing as stored

_OVERLAP_MS = 3 * DAY_MS  # for so long Stripe itself goes on sending an event
_FAILURES = 3  # in a row, after which Stripe is left alone
_BATCH = 50
log = structlog.get_logger("metrion.billing")


class Step(NamedTuple):
    """What a step of reconciling changed, in lines for people, and the account to go on behind; None: it is done."""

    lines: list[str]
    after: int | None


async def missing_since(desk: Desk) -> int:
    """From when on events may never have arrived, in Unix ms: before it, everybody was asked about."""
    asked = await desk.read(stored.oldest_answer_ms)
    return max((asked or 0) - _OVERLAP_MS, now_ms() - KEPT_MS)


async def fetch_missed(desk: Desk, since_ms: int) -> int:
    """Store the events since then that never arrived, to be handled now; returns how many. Raises BillingError."""
    now = now_ms()
    events = await desk.ask(lambda stripe: stripe.events_since(since_ms))
    await desk.change(lambda connection: stored.delete_old_events(connection, now - KEPT_MS), of=0)
    missed = await desk.change(lambda connection: store_events(connection, reversed(events)), of=0)
    if missed:
        log.warning("stripe_events_missed", events=missed, hint="see whether Stripe reaches /webhooks/stripe")
    return missed


async def reconcile(desk: Desk, clerk: Clerk, after: int, seconds: float) -> Step:
    """Refresh the customers behind account `after`, for about so long; raises BillingError where Stripe fails."""
    ends, lines, failures = monotonic() + seconds, list[str](), 0
    while rows := await desk.read(partial(stored.list_customers, after=after, limit=_BATCH)):
        for row in rows:
            try:
                changes = await clerk.refresh(row.account_id)
                failures = 0
            except BillingError as problem:
                failures += 1
                if failures == _FAILURES:
                    raise
                changes = [str(problem)]
            if changes:
                lines.append(f"{row.email}: {', '.join(changes)}")
            after = row.account_id
            if monotonic() > ends:
                return Step(lines, after)
    return Step(lines, None)
