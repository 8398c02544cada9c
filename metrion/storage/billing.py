"""What Stripe said: customers, invoices, refunds and disputes by account; events and closures by Stripe's own ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from metrion.storage.tables import accounts, billing, invoices, reversals, stripe_closures, stripe_events

# ── customers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_billing(connection: Connection, account_id: int) -> Row[Any] | None:
    """What Stripe said of an account; None where it never was a customer."""
    return connection.execute(select(billing).where(billing.c.account_id == account_id)).one_or_none()


def find_customer(connection: Connection, customer_id: str) -> int | None:
    """The account of a customer; None for somebody else's: one Stripe account may serve several programs."""
    return connection.execute(select(billing.c.account_id).where(billing.c.customer_id == customer_id)).scalar()


def list_customers(connection: Connection, after: int, limit: int | None = None) -> Sequence[Row[Any]]:
    """Customers with their accounts' email, plan and grace_ends_ms, in the accounts' order, from behind `after`."""
    columns = (*billing.c, accounts.c.email, accounts.c.plan, accounts.c.grace_ends_ms)
    query = select(*columns).join(accounts, accounts.c.id == billing.c.account_id).where(billing.c.account_id > after)
    return connection.execute(query.order_by(billing.c.account_id).limit(limit)).all()


def set_customer(connection: Connection, account_id: int, customer_id: str) -> None:
    """Make this the account's customer, in the place of one that Stripe no longer has."""
    connection.execute(delete(billing).where(billing.c.account_id == account_id))
    connection.execute(insert(billing).values(account_id=account_id, customer_id=customer_id))


def update_billing(connection: Connection, account_id: int, **columns: Any) -> None:
    """Set columns of what Stripe said of an account."""
    connection.execute(update(billing).where(billing.c.account_id == account_id).values(columns))


def oldest_answer_ms(connection: Connection) -> int | None:
    """When the customer was asked for whom Stripe was not asked for the longest time; None without customers."""
    return connection.execute(select(func.min(func.coalesce(billing.c.asked_ms, 0)))).scalar()


def ended_graces(connection: Connection, now_ms: int) -> Sequence[int]:
    """Accounts that are on pro although a payment failed, and may be no longer."""
    query = select(accounts.c.id).where(accounts.c.paid == 1, accounts.c.grace_ends_ms <= now_ms)
    return connection.execute(query.order_by(accounts.c.id)).scalars().all()


def next_grace_ms(connection: Connection) -> int | None:
    """When the next grace ends, in Unix ms; None where none does."""
    return connection.execute(select(func.min(accounts.c.grace_ends_ms)).where(accounts.c.paid == 1)).scalar()


# ── invoices, refunds and disputes ────────────────────────────────────────────────────────────────────────────────────


def save_invoices(connection: Connection, account_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store invoices by their id: number, status, created_ms, amount, currency."""
    for row in rows:
        add = upsert(invoices).values({"account_id": account_id, **row})
        connection.execute(add.on_conflict_do_update(index_elements=["account_id", "id"], set_=dict(row)))


def list_invoices(connection: Connection, account_id: int, limit: int) -> Sequence[Row[Any]]:
    """An account's latest invoices, the latest first."""
    query = select(invoices).where(invoices.c.account_id == account_id)
    return connection.execute(query.order_by(invoices.c.created_ms.desc(), invoices.c.id).limit(limit)).all()


def save_reversal(connection: Connection, account_id: int, row: Mapping[str, Any]) -> None:
    """Store a refund or dispute by its id: kind, status, reason, created_ms, amount, currency."""
    add = upsert(reversals).values({"account_id": account_id, **row})
    connection.execute(add.on_conflict_do_update(index_elements=["account_id", "id"], set_=dict(row)))


def list_reversals(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """The latest refunds and disputes of all accounts with their email, the latest first; for the operator."""
    columns = (*reversals.c, accounts.c.email)
    query = select(*columns).join(accounts, accounts.c.id == reversals.c.account_id)
    return connection.execute(query.order_by(reversals.c.created_ms.desc(), reversals.c.id).limit(limit)).all()


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_event(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Store an event to be handled; False where it was stored before."""
    return connection.execute(upsert(stripe_events).values(dict(row)).on_conflict_do_nothing()).rowcount > 0


def due_events(connection: Connection, now_ms: int, limit: int) -> Sequence[Row[Any]]:
    """Events whose time has come, the first received first."""
    query = select(stripe_events).where(stripe_events.c.next_ms <= now_ms)
    return connection.execute(query.order_by(stripe_events.c.received_ms, stripe_events.c.id).limit(limit)).all()


def next_event_ms(connection: Connection) -> int | None:
    """When the next event is to be handled, in Unix ms; None where none waits."""
    return connection.execute(select(func.min(stripe_events.c.next_ms))).scalar()


def latest_event_ms(connection: Connection) -> int:
    """When the latest event that is stored was made at Stripe; 0 for none."""
    return connection.execute(select(func.max(stripe_events.c.created_ms))).scalar() or 0


def set_handled(connection: Connection, ids: Collection[str]) -> None:
    """Say that these events were handled."""
    done = {"next_ms": None, "problem": ""}
    connection.execute(update(stripe_events).where(stripe_events.c.id.in_(ids)).values(done))


def postpone_event(connection: Connection, event_id: str, next_ms: int, problem: str) -> None:
    """Try an event again at `next_ms`."""
    values = {"next_ms": next_ms, "problem": problem, "tries": stripe_events.c.tries + 1}
    connection.execute(update(stripe_events).where(stripe_events.c.id == event_id).values(values))


def replay_events(connection: Connection, now_ms: int, event_id: str, since_ms: int) -> int:
    """Have an event, or all that Stripe made since then, handled again; returns how many."""
    which = stripe_events.c.id == event_id if event_id else stripe_events.c.created_ms >= since_ms
    return connection.execute(update(stripe_events).where(which).values(next_ms=now_ms, tries=0, problem="")).rowcount


def waiting_events(connection: Connection) -> tuple[int, str]:
    """How many events wait, and the problem of the first one that has any."""
    waiting = stripe_events.c.next_ms.is_not(None)
    count = connection.execute(select(func.count()).select_from(stripe_events).where(waiting)).scalar_one()
    query = select(stripe_events.c.problem).where(and_(waiting, stripe_events.c.problem != ""))
    return count, connection.execute(query.order_by(stripe_events.c.received_ms).limit(1)).scalar() or ""


def delete_event(connection: Connection, event_id: str) -> None:
    """Forget an event: it is about nobody here."""
    connection.execute(delete(stripe_events).where(stripe_events.c.id == event_id))


def delete_old_events(connection: Connection, before_ms: int) -> None:
    """Delete events that were received before then and are handled."""
    old = and_(stripe_events.c.received_ms < before_ms, stripe_events.c.next_ms.is_(None))
    connection.execute(delete(stripe_events).where(old))


# ── closures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_closure(connection: Connection, customer_id: str, now_ms: int) -> None:
    """Have a customer deleted at Stripe, with all it pays for."""
    row = {"customer_id": customer_id, "created_ms": now_ms, "next_ms": now_ms}
    connection.execute(upsert(stripe_closures).values(row).on_conflict_do_nothing())


def due_closures(connection: Connection, now_ms: int, limit: int) -> Sequence[Row[Any]]:
    """Closures whose time has come, the oldest first."""
    query = select(stripe_closures).where(stripe_closures.c.next_ms <= now_ms)
    return connection.execute(query.order_by(stripe_closures.c.created_ms).limit(limit)).all()


def next_closure_ms(connection: Connection) -> int | None:
    """When the next closure is to be tried, in Unix ms; None where none waits."""
    return connection.execute(select(func.min(stripe_closures.c.next_ms))).scalar()


def postpone_closure(connection: Connection, customer_id: str, next_ms: int, problem: str) -> None:
    """Try a closure again at `next_ms`."""
    values = {"next_ms": next_ms, "problem": problem, "tries": stripe_closures.c.tries + 1}
    connection.execute(update(stripe_closures).where(stripe_closures.c.customer_id == customer_id).values(values))


def delete_closure(connection: Connection, customer_id: str) -> None:
    """Stripe has ended all there was."""
    connection.execute(delete(stripe_closures).where(stripe_closures.c.customer_id == customer_id))


def waiting_closures(connection: Connection) -> tuple[int, int]:
    """How many closures wait, and since when in Unix ms."""
    count, since = connection.execute(select(func.count(), func.min(stripe_closures.c.created_ms))).one()
    return count, since or 0


def hurry(connection: Connection, now_ms: int) -> None:
    """Have what waits for another try tried now: events and closures."""
    for table in (stripe_events, stripe_closures):
        connection.execute(update(table).where(table.c.next_ms > now_ms).values(next_ms=now_ms))
