"""Closures: what deleted accounts pay for ends at once, however often Stripe has to be asked."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog

from metrion.billing.desk import Desk, pause_ms
from metrion.errors import BillingError
from metrion.kit.clock import now_ms
from metrion.storage import billing as stored

_BATCH = 100
log = structlog.get_logger("metrion.billing")


async def close_due(desk: Desk) -> None:
    """Have Stripe cancel and delete the customers whose time has come; forget each when that is done."""
    while due := await desk.read(lambda connection: stored.due_closures(connection, now_ms(), _BATCH)):
        for row in due:
            await _close(desk, row)


async def _close(desk: Desk, row: Any) -> None:
    try:
        await desk.ask(lambda stripe: stripe.close(row.customer_id))
    except BillingError as problem:
        why, next_ms = str(problem), now_ms() + pause_ms(row.tries)
        log.warning("stripe_customer_not_deleted", tries=row.tries + 1, why=why)
        later = partial(stored.postpone_closure, customer_id=row.customer_id, next_ms=next_ms, problem=why)
        await desk.change(later, of=0)
        return
    await desk.change(partial(stored.delete_closure, customer_id=row.customer_id), of=0)
    log.info("stripe_customer_deleted", tries=row.tries + 1)
