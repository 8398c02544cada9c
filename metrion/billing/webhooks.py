"""Webhooks: what Stripe tells us happened. Taken once by the event's id, and handled until that succeeds.

An event says only whom to ask about: events come late, twice and in any order, the state that is fetched does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from metrion.billing.clerk import Clerk
from metrion.billing.desk import TOGETHER, Desk, pause_ms
from metrion.errors import BillingError
from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage import billing as stored
from metrion.storage.database import Connection

if TYPE_CHECKING:
    from metrion.billing.stripe import Event, Reversal

KEPT_MS = 30 * DAY_MS  # as long as Stripe itself knows an event
_REVERSALS = ("refund.", "charge.dispute.")
_BATCH = 500
log = structlog.get_logger("metrion.billing")


class Inbox:
    """Takes events and handles them."""

    def __init__(self, desk: Desk, clerk: Clerk) -> None:
        self._desk = desk
        self._clerk = clerk
        self._handling = asyncio.Lock()  # the server's task and a command may both want to

    async def receive(self, payload: bytes, signature: str) -> bool:
        """Store what was sent to our endpoint, once; False where it is not Stripe's."""
        event = self._desk.stripe.read_event(payload, signature)
        if event is None:
            return False
        if event.type.startswith(_REVERSALS) or event.customer_id:
            await self._desk.change(partial(store_events, events=[event]), of=0)
        return True

    async def handle_due(self) -> None:
        """Handle what was stored, and what failed before and may be tried again."""
        async with self._handling:
            while due := await self._desk.read(lambda connection: stored.due_events(connection, now_ms(), _BATCH)):
                groups = [list(group) for _, group in groupby(sorted(due, key=_about), key=_about)]
                for at in range(0, len(groups), TOGETHER):
                    await asyncio.gather(*map(self._handle, groups[at : at + TOGETHER]))

    async def _handle(self, events: Sequence[Any]) -> None:
        """Handle events about one account, or one refund or dispute: all of them by looking once."""
        try:
            if events[0].type.startswith(_REVERSALS):
                await self._note(events)
            elif events[0].account_id is not None:
                await self._clerk.refresh(events[0].account_id)
        except BillingError as problem:
            log.warning("stripe_event_put_off", type=events[0].type, events=len(events), why=str(problem))
            await self._desk.change(partial(_postpone, events=events, problem=str(problem)), of=0)
            return
        ids = [one.id for one in events]
        await self._desk.change(lambda connection: stored.set_handled(connection, ids), of=0)

    async def _note(self, events: Sequence[Any]) -> None:
        about = events[0]
        found = await self._desk.ask(lambda stripe: stripe.reversal(about.type, about.object_id))
        ours = await self._desk.change(partial(_save_reversal, found=found, events=events), of=0)
        if ours:
            log.warning("stripe_reversal", kind=found.kind, account_id=ours, status=found.status)


def store_events(connection: Connection, events: Iterable[Event]) -> int:
    """Store those events that are new and about customers of ours, to be handled now; returns how many."""
    now, new = now_ms(), 0
    for event in events:
        account_id = stored.find_customer(connection, event.customer_id) if event.customer_id else None
        if account_id is None and event.customer_id:
            continue  # another program's customer, or one that was deleted with its account
        given = msgspec.structs.asdict(event)
        new += stored.add_event(connection, given | {"account_id": account_id, "received_ms": now, "next_ms": now})
    return new


def _about(event: Any) -> tuple[bool, int, str]:
    """What is to be asked for: one account, or one refund or dispute."""
    reversal = event.type.startswith(_REVERSALS)
    return reversal, event.account_id or 0, event.object_id if reversal else ""


def _save_reversal(connection: Connection, found: Reversal, events: Sequence[Any]) -> int | None:
    """Keep it for the operator; returns whose it is, and forgets events that are about nobody here."""
    account_id = stored.find_customer(connection, found.customer_id) if found.customer_id else None
    if account_id is None:
        for event in events:
            stored.delete_event(connection, event.id)
        return None
    kept = msgspec.structs.asdict(found)
    del kept["customer_id"]
    stored.save_reversal(connection, account_id, kept)
    return account_id


def _postpone(connection: Connection, events: Sequence[Any], problem: str) -> None:
    for event in events:
        stored.postpone_event(connection, event.id, now_ms() + pause_ms(event.tries), problem)
