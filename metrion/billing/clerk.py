"""The clerk: brings accounts in line with what Stripe says of them now. Every way leads here, so that all agree."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import structlog

from metrion.accounts.moves import Move, pay
from metrion.billing.desk import Desk
from metrion.billing.letters import downgraded
from metrion.billing.states import GRACE_MS, OWED, Standing, State, Subscription, judge
from metrion.errors import BillingError, InputError
from metrion.kit.clock import now_ms
from metrion.storage import billing as stored
from metrion.storage.accounts import list_accounts
from metrion.storage.database import Connection

GONE = "gone"  # in the place of a subscription's status: Stripe has deleted the customer
GOES_ON = ("trialing", "active", *OWED)  # whoever has such a subscription needs no other one
_ROUNDS = 5  # of looking: again where somebody else was faster, and after ending what is paid for twice
log = structlog.get_logger("metrion.billing")


class _Applied(NamedTuple):
    """What a state changed, in words, and what is paid for twice."""

    changes: list[str]
    surplus: tuple[Subscription, ...] = ()


class Clerk:
    """One for all accounts; what it does with one account, it does one after the other."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def refresh(self, account_id: int) -> list[str]:
        """Make the account's plan what Stripe says now; returns what that changed. Raises BillingError."""
        async with self._lock(account_id):
            return await self._refresh(account_id)

    async def checkout(self, account_id: int, email: str) -> str:
        """Where its owner goes to subscribe; "" where there is a subscription that goes on. Raises BillingError."""
        async with self._lock(account_id):
            await self._refresh(account_id)
            row = await self._desk.read(partial(stored.find_billing, account_id=account_id))
            if row is not None and row.status in GOES_ON:
                return ""
            if row is None or row.status == GONE:
                customer_id = await self._new_customer(account_id, email)
            else:
                customer_id = row.customer_id
            return await self._desk.ask(lambda stripe: stripe.checkout(account_id, customer_id, self._desk.page))

    async def portal(self, account_id: int) -> str:
        """Where its owner goes to change, pay or cancel; "" where there is nothing yet. Raises BillingError."""
        row = await self._desk.read(partial(stored.find_billing, account_id=account_id))
        if row is None or row.status == GONE:
            return ""
        return await self._desk.ask(lambda stripe: stripe.portal(row.customer_id, self._desk.page))

    async def end_grace(self, account_id: int) -> None:
        """A payment failed a week ago: ask once more, and without an answer believe what was said then."""
        try:
            await self.refresh(account_id)
        except BillingError as problem:
            log.warning("grace_ends_unasked", account_id=account_id, why=str(problem))
            await self._desk.change(partial(self._end_grace, account_id=account_id), of=account_id)

    def _lock(self, account_id: int) -> asyncio.Lock:
        lock = self._locks.get(account_id)
        if lock is None:
            lock = self._locks[account_id] = asyncio.Lock()
        return lock

    async def _new_customer(self, account_id: int, email: str) -> str:
        customer_id = await self._desk.ask(lambda stripe: stripe.create_customer(account_id, email))

        def keep(connection: Connection) -> bool:
            if not list_accounts(connection, account_id):  # deleted while Stripe was asked
                stored.add_closure(connection, customer_id, now_ms())
                return False
            stored.set_customer(connection, account_id, customer_id)
            return True

        if not await self._desk.change(keep, of=0):
            raise InputError("This account is no longer there.")
        return customer_id

    async def _refresh(self, account_id: int) -> list[str]:
        changes: list[str] = []
        for _ in range(_ROUNDS):
            row = await self._desk.read(partial(stored.find_billing, account_id=account_id))
            if row is None:
                return changes
            state = await self._desk.ask(lambda stripe, which=row.customer_id: stripe.state_of(which))  # type: ignore[misc]
            applied = await self._desk.change(partial(self._apply, asked=row, state=state), of=account_id)
            if applied is None:
                continue
            changes += applied.changes
            if not applied.surplus:
                return changes
            for one in applied.surplus:
                await self._desk.ask(lambda stripe, which=one.id: stripe.cancel_and_refund(which))  # type: ignore[misc]
                log.warning("second_subscription_refunded", account_id=account_id, subscription=one.id)
                changes.append(f"second subscription {one.id} cancelled and refunded")
        raise BillingError("what Stripe says changes faster than it can be taken over")

    def _apply(self, connection: Connection, asked: Any, state: State) -> _Applied | None:
        """Take over what Stripe said; None where it must be asked again.

        That is so where another answer was taken over since we asked (in another process, for here one waits for the
        other): which of the two is older nobody can tell.
        """
        account_id = asked.account_id
        row = stored.find_billing(connection, account_id)
        if row is None or row.customer_id != asked.customer_id:  # deleted, or another customer, while Stripe was asked
            return _Applied([])
        if row.asked_ms != asked.asked_ms:
            return None
        (account,) = list_accounts(connection, account_id)
        now, ends = now_ms(), account.grace_ends_ms
        standing = judge(state, None if ends is None else ends - GRACE_MS, now)
        before, after = row.status, _status(state, standing.subscription)
        self._save(connection, account_id, standing.subscription, after, state, max(now, (row.asked_ms or 0) + 1))
        changes = [] if before == after else [_change("subscription", before, after)]
        move = self._move(connection, account, standing)
        if move.before != move.after:
            changes.append(_change("plan", move.before, move.after))
            log.info("plan_changed", account_id=account_id, before=move.before, after=move.after, subscription=after)
        return _Applied(changes, standing.surplus)

    def _save(
        self,
        connection: Connection,
        account_id: int,
        shown: Subscription | None,
        status: str,
        state: State,
        asked_ms: int,
    ) -> None:
        stored.update_billing(
            connection,
            account_id,
            subscription_id=shown.id if shown else "",
            status=status,
            ends_ms=shown.ends_ms if shown else None,
            renews_ms=shown.renews_ms if shown else None,
            asked_ms=asked_ms,
        )
        invoices = [
            {name: getattr(one, name) for name in ("id", "number", "status", "created_ms", "amount", "currency")}
            for one in state.invoices
            if one.status != "draft"
        ]
        stored.save_invoices(connection, account_id, invoices)

    def _move(self, connection: Connection, account: Any, standing: Standing) -> Move:
        if standing.paid is None:
            return Move(account.plan, account.plan)
        move = pay(connection, account.id, paid=standing.paid, grace_ends_ms=standing.grace_ends_ms)
        self._tell(connection, account, move)
        return move

    def _end_grace(self, connection: Connection, account_id: int) -> None:
        rows = list_accounts(connection, account_id)
        if rows:
            move = pay(connection, account_id, paid=False, grace_ends_ms=rows[0].grace_ends_ms)
            self._tell(connection, rows[0], move)

    def _tell(self, connection: Connection, account: Any, move: Move) -> None:
        if move.is_down:
            letter = downgraded(self._desk.letters, account.email, self._desk.page, self._desk.settings)
            self._desk.post(connection, account.id, letter)


def _change(what: str, before: str, after: str) -> str:
    return f"{what} {before or 'none'} → {after or 'none'}"


def _status(state: State, shown: Subscription | None) -> str:
    if not state.exists:
        return GONE
    return shown.status if shown else ""
