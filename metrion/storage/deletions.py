"""Deletions: what of an account goes at once, what goes in steps, and the tombstone that stays.

An account's people-sized part goes in one transaction. The rest, which may be millions of rows, goes a range of keys at
a time, so that the writer is never held up for long. The lists come from `tables`, so that no table is forgotten.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, delete, func, insert, literal, select, update

from metrion.storage.database import Connection
from metrion.storage.memory import changed
from metrion.storage.steps import delete_first
from metrion.storage.tables import (
    accounts,
    alert_rules,
    alerts,
    billing,
    calls,
    codes,
    deletions,
    deliveries,
    folds,
    invoices,
    links,
    metadata,
    model_hours,
    outbox,
    provider_keys,
    repricings,
    reversals,
    sessions,
    statements,
    stripe_closures,
    stripe_events,
    tokens,
    webhooks,
)

_OF_PEOPLE = (
    tokens,
    provider_keys,
    sessions,
    codes,
    links,
    statements,
    outbox,
    alert_rules,
    alerts,
    webhooks,
    deliveries,
    billing,
    invoices,
    reversals,
    stripe_events,
)
AT_ONCE = (*_OF_PEOPLE, folds)  # folds: no more totals are made of its hours
IN_STEPS = tuple(  # folds again: a call that is written just then brings them back
    table for table in metadata.sorted_tables if "account_id" in table.c and table not in (*_OF_PEOPLE, deletions)
)
OF_CALLS = (calls, repricings)  # keyed by request id, which begins with the time


class Counts(NamedTuple):
    """What an account had."""

    requests: int
    metrion_keys: int
    provider_keys: int
    sessions: int


def delete_account(connection: Connection, account_id: int, digest: bytes, now_ms: int) -> Counts:
    """Delete the account and all that is not deleted in steps; leave its tombstone, under `digest`.

    Where it is a customer of Stripe's, its number there stays until Stripe has ended what it pays for.
    """
    customer = select(billing.c.customer_id, literal(now_ms), literal(now_ms)).where(billing.c.account_id == account_id)
    columns = ["customer_id", "created_ms", "next_ms"]
    connection.execute(insert(stripe_closures).from_select(columns, customer))
    requests = select(func.sum(model_hours.c.requests)).where(model_hours.c.account_id == account_id)
    gone = {table.name: connection.execute(delete(table).where(_of(table, account_id))).rowcount for table in AT_ONCE}
    email = select(accounts.c.email).where(accounts.c.id == account_id).scalar_subquery()
    connection.execute(delete(links).where(links.c.email == email))  # an invitation that came to it
    connection.execute(delete(accounts).where(accounts.c.id == account_id))
    connection.execute(insert(deletions).values(digest=digest, account_id=account_id, requested_ms=now_ms))
    changed(connection, account_id, 0)  # what pages remember of it goes with it
    recorded = connection.execute(requests).scalar() or 0
    return Counts(recorded, gone["tokens"], gone["provider_keys"], gone["sessions"])


def unfinished(connection: Connection) -> list[int]:
    """Accounts of which not everything is deleted yet, the first to go first."""
    query = select(deletions.c.account_id).where(deletions.c.account_id.is_not(None))
    return list(connection.execute(query.order_by(deletions.c.requested_ms)).scalars())


def calls_left(connection: Connection, account_id: int, most: int) -> int | None:
    """How many calls of a deleted account are still there, counted up to `most`; None once nothing of it is left."""
    if account_id not in unfinished(connection):
        return None
    left = select(calls.c.request_id).where(calls.c.account_id == account_id).limit(most).subquery()
    return connection.execute(select(func.count()).select_from(left)).scalar_one()


def finish(connection: Connection, account_id: int, now_ms: int) -> None:
    """Say that nothing of an account is left; what stays tells only who has the master key which one it was."""
    of = update(deletions).where(deletions.c.account_id == account_id)
    connection.execute(of.values(account_id=None, finished_ms=now_ms))


def tombstones(connection: Connection) -> set[bytes]:
    """The digests of all accounts that were deleted."""
    return set(connection.execute(select(deletions.c.digest)).scalars())


def needed_since(connection: Connection) -> dict[int, int]:
    """Accounts whose rows not all totals are made of yet, and from when (Unix ms) on they are needed for that."""
    query = select(folds.c.account_id, folds.c.paired_ms).where(folds.c.paired_ms <= folds.c.last_ms)
    return {row.account_id: row.paired_ms for row in connection.execute(query)}


class Part(NamedTuple):
    """What an account has in one of IN_STEPS; of OF_CALLS perhaps only what has a request id below `before`."""

    table: Table
    account_id: int
    before: bytes | None = None


def parts_of(account_id: int) -> list[Part]:
    """All that is deleted in steps."""
    return [Part(table, account_id) for table in IN_STEPS]


def old_parts_of(account_id: int, before: bytes) -> list[Part]:
    """Its calls that began before the time of that request id, and what they once cost; totals stay."""
    return [Part(table, account_id, before) for table in OF_CALLS]


def delete_some(connection: Connection, part: Part, limit: int) -> int:
    """Delete the first `limit` rows of a part; returns how many there were."""
    table, mine = part.table, _of(part.table, part.account_id)
    if part.before is not None:
        mine &= table.c.request_id < part.before
    return delete_first(connection, table, mine, limit)


def _of(table: Table, account_id: int) -> ColumnElement[bool]:
    of: ColumnElement[bool] = table.c.account_id == account_id
    return of
