"""Billing as the rest of Metrion sees it: what pages and commands may do, and the task that does what is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from metrion.billing.clerk import Clerk
from metrion.billing.closures import close_due
from metrion.billing.desk import Desk
from metrion.billing.reconcile import fetch_missed, missing_since, reconcile
from metrion.billing.webhooks import KEPT_MS, Inbox
from metrion.errors import InputError
from metrion.kit.background import Background
from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.storage import billing as stored
from metrion.storage.database import Connection

if TYPE_CHECKING:
    from metrion.billing.stripe import Offer

_NIGHT_MS = 3 * HOUR_MS  # after midnight, UTC
_LOOK_MS = 60_000  # at most between two looks at what is due
_STEP_SECONDS = 10.0  # of reconciling, before a command hears of it
log = structlog.get_logger("metrion.billing")


class Billing(Background):
    """For pages and commands, also where its task does not run."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("billing", failed="billing_failed")
        self._desk = desk
        self.clerk = Clerk(desk)
        self._inbox = Inbox(desk, self.clerk)
        self._night_ms = _last_night(now_ms())
        self._missing_since_ms = now_ms() - KEPT_MS
        self._offer_ms = 0
        self.offer: Offer | None = None  # what pro costs; None until Stripe was asked

    async def stop(self) -> None:
        """Leave the rest to the next start."""
        await super().stop()
        self._desk.close()

    async def receive(self, payload: bytes, signature: str) -> bool:
        """Take what was sent to our endpoint; False where it is not Stripe's."""
        taken = await self._inbox.receive(payload, signature)
        self.wake()
        return taken

    async def perform(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        """What commands ask for; see OPERATIONS."""
        if name == "billing_replay":
            return await self._replay(args)
        after, lines = int(args.get("after", 0)), list[str]()
        if not after:
            self._missing_since_ms = await missing_since(self._desk)
        step = await reconcile(self._desk, self.clerk, after, _STEP_SECONDS)
        if step.after is None:
            if missed := await fetch_missed(self._desk, self._missing_since_ms):
                lines.append(f"{missed} events had never arrived; they are handled now")
            await self._desk.change(lambda connection: stored.hurry(connection, now_ms()), of=0)
            await self._do_due()
        return {"lines": step.lines + lines, "after": step.after}

    async def _replay(self, args: dict[str, Any]) -> dict[str, Any]:
        event_id, since_ms = str(args.get("event", "")), int(args.get("since_ms", 0))
        count = await self._desk.change(
            lambda connection: stored.replay_events(connection, now_ms(), event_id, since_ms), of=0
        )
        if not count:
            raise InputError("no such event is stored; they are kept for 30 days")
        await self._inbox.handle_due()
        return {"events": count}

    async def _do_due(self) -> None:
        await close_due(self._desk)
        await self._inbox.handle_due()

    async def work(self) -> float:
        """Do what is due: closures, events, ended graces, the night's comparison, and what pro costs."""
        await self._do_due()
        for account_id in await self._desk.read(lambda connection: stored.ended_graces(connection, now_ms())):
            await self.clerk.end_grace(account_id)
        if now_ms() >= self._night_ms:
            await self._reconcile_all()
            self._night_ms = _last_night(now_ms()) + DAY_MS
        if now_ms() >= self._offer_ms:
            self.offer = await self._desk.ask(lambda stripe: stripe.offer())
            self._offer_ms = now_ms() + HOUR_MS
        return (await self._desk.read(self._next_ms) - now_ms()) / 1000

    async def _reconcile_all(self) -> None:
        asked = await self._desk.read(stored.oldest_answer_ms)
        if asked is None or asked >= self._night_ms:  # nobody to ask about, or all were asked about since
            return
        since_ms = await missing_since(self._desk)
        step = await reconcile(self._desk, self.clerk, 0, float("inf"))
        missed = await fetch_missed(self._desk, since_ms)
        await self._inbox.handle_due()
        log.info("reconciled_with_stripe", changed=len(step.lines), missed=missed)

    def _next_ms(self, connection: Connection) -> int:
        """When there is something to do again."""
        due = (stored.next_event_ms(connection), stored.next_closure_ms(connection), stored.next_grace_ms(connection))
        times = [self._night_ms, self._offer_ms, now_ms() + _LOOK_MS, *(one for one in due if one is not None)]
        return min(times)


OPERATIONS = ("billing_reconcile", "billing_replay")  # {after?} → {lines, after}; {event} or {since_ms} → {events}


def _last_night(moment_ms: int) -> int:
    """When the last night's work was due."""
    return (moment_ms - _NIGHT_MS) // DAY_MS * DAY_MS + _NIGHT_MS
