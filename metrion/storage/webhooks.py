"""Webhooks as stored, and what is delivered to them. `account_id` comes first everywhere but for what is due of all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update

from metrion.storage.database import Connection
from metrion.storage.tables import accounts, deliveries, webhooks


class Webhook(NamedTuple):
    """A row of `tables.webhooks`."""

    id: int
    account_id: int
    kind: str
    name: str
    origin: str
    sealed: bytes
    created_ms: int
    disabled_ms: int | None = None


class Delivery(NamedTuple):
    """What the courier needs of a row of `tables.deliveries`, and of its webhook."""

    id: int
    account_id: int
    webhook_id: int
    name: str
    body: str
    until_ms: int
    tries: int
    kind: str
    sealed: bytes


class Outcome(NamedTuple):
    """What came of a try. `next_ms`: when to try again; None: never."""

    next_ms: int | None
    tried_ms: int
    took_ms: int
    status: int  # 0: no answer
    delivered: bool
    problem: str
    tried: bool = True  # False: it was given up without


_WEBHOOK = tuple(webhooks.c[name] for name in Webhook._fields)


def _mine(account_id: int, webhook_id: int) -> ColumnElement[bool]:
    return (webhooks.c.account_id == account_id) & (webhooks.c.id == webhook_id)


def webhooks_of(connection: Connection, account_id: int) -> list[Webhook]:
    """An account's webhooks, those that are off too, the oldest first."""
    query = select(*_WEBHOOK).where(webhooks.c.account_id == account_id).order_by(webhooks.c.id)
    return [Webhook(*row) for row in connection.execute(query)]


def find_webhook(connection: Connection, account_id: int, webhook_id: int) -> Webhook | None:
    """A webhook of this account."""
    row = connection.execute(select(*_WEBHOOK).where(_mine(account_id, webhook_id))).one_or_none()
    return None if row is None else Webhook(*row)


def add_webhook(connection: Connection, webhook: Webhook) -> int:
    """Add a webhook under a new id, which is returned."""
    columns = {name: value for name, value in webhook._asdict().items() if name != "id"}
    return int(connection.execute(insert(webhooks).values(columns).returning(webhooks.c.id)).scalar_one())


def update_webhook(connection: Connection, account_id: int, webhook_id: int, **columns: Any) -> bool:
    """Set columns of a webhook; False where this account has none of that id."""
    return connection.execute(update(webhooks).where(_mine(account_id, webhook_id)).values(columns)).rowcount > 0


def delete_webhook(connection: Connection, account_id: int, webhook_id: int) -> bool:
    """Delete a webhook with its deliveries, those that wait too; False where there is none."""
    connection.execute(delete(deliveries).where(_to(account_id, webhook_id)))
    return connection.execute(delete(webhooks).where(_mine(account_id, webhook_id))).rowcount > 0


# ── deliveries ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _to(account_id: int, webhook_id: int) -> ColumnElement[bool]:
    return (deliveries.c.account_id == account_id) & (deliveries.c.webhook_id == webhook_id)


def add_delivery(
    connection: Connection,
    account_id: int,
    webhook_id: int,
    *,
    name: str,
    title: str,
    body: str,
    now_ms: int,
    until_ms: int,
) -> None:
    """Have something delivered; it may leave at once."""
    connection.execute(
        insert(deliveries).values(
            account_id=account_id,
            webhook_id=webhook_id,
            name=name,
            title=title,
            body=body,
            created_ms=now_ms,
            next_ms=now_ms,
            until_ms=until_ms,
        )
    )


def forget_deliveries(connection: Connection, account_id: int, webhook_id: int, before_ms: int) -> None:
    """Delete from the log what was made before then and does not wait."""
    old = deliveries.c.next_ms.is_(None) & (deliveries.c.created_ms < before_ms)
    connection.execute(delete(deliveries).where(_to(account_id, webhook_id), old))


def send_again(
    connection: Connection, account_id: int, webhook_id: int, delivery_id: int, now_ms: int, until_ms: int
) -> bool:
    """Have something delivered once more, under the same name; False where this account has none, or it waits."""
    which = _to(account_id, webhook_id) & (deliveries.c.id == delivery_id) & deliveries.c.next_ms.is_(None)
    again = {"next_ms": now_ms, "until_ms": until_ms, "tries": 0, "delivered": 0}
    return connection.execute(update(deliveries).where(which).values(again)).rowcount > 0


def deliveries_of(connection: Connection, account_id: int, webhook_id: int, limit: int) -> Sequence[Row[Any]]:
    """The log of a webhook, the latest first."""
    query = select(deliveries).where(_to(account_id, webhook_id)).order_by(deliveries.c.id.desc()).limit(limit)
    return connection.execute(query).all()


def latest_deliveries(connection: Connection, account_id: int) -> dict[int, Row[Any]]:
    """The latest delivery of each of an account's webhooks that has one."""
    mine = select(func.max(deliveries.c.id)).where(deliveries.c.account_id == account_id)
    query = select(deliveries).where(deliveries.c.id.in_(mine.group_by(deliveries.c.webhook_id)))
    return {row.webhook_id: row for row in connection.execute(query)}


def failed_deliveries(connection: Connection, account_id: int, tries: int) -> Sequence[Row[Any]]:
    """An account's deliveries that failed so often or were given up, the latest try last.

    But for those of webhooks that took another one since.
    """
    ours = deliveries.c.account_id == account_id
    taken = (
        select(deliveries.c.webhook_id, func.max(deliveries.c.tried_ms).label("taken_ms"))
        .where(ours, deliveries.c.delivered == 1)
        .group_by(deliveries.c.webhook_id)
        .subquery()
    )
    over = (deliveries.c.tries >= tries) | (deliveries.c.next_ms.is_(None) & (deliveries.c.tries > 0))
    query = (
        select(deliveries)
        .join(taken, taken.c.webhook_id == deliveries.c.webhook_id, isouter=True)
        .where(ours, deliveries.c.delivered == 0, over)
        .where(deliveries.c.tried_ms > func.coalesce(taken.c.taken_ms, -1))
        .order_by(deliveries.c.tried_ms)
    )
    return connection.execute(query).all()


# ── what the courier does ─────────────────────────────────────────────────────────────────────────────────────────────

# What waits for a webhook that is off, or whose account is disabled, goes on waiting.
_SENT = deliveries.join(
    webhooks,
    (webhooks.c.id == deliveries.c.webhook_id) & (webhooks.c.account_id == deliveries.c.account_id),
).join(accounts, accounts.c.id == deliveries.c.account_id)
_ALLOWED = deliveries.c.next_ms.is_not(None) & webhooks.c.disabled_ms.is_(None) & accounts.c.disabled_ms.is_(None)


def due_deliveries(connection: Connection, now_ms: int, busy: Collection[int], limit: int) -> list[Delivery]:
    """At most `limit` deliveries whose time has come, the oldest of each webhook but those that are `busy`."""
    due = _ALLOWED & (deliveries.c.next_ms <= now_ms) & deliveries.c.webhook_id.not_in(busy)
    first = select(func.min(deliveries.c.id)).select_from(_SENT).where(due).group_by(deliveries.c.webhook_id)
    columns = [deliveries.c[name] for name in Delivery._fields[:-2]]
    query = select(*columns, webhooks.c.kind, webhooks.c.sealed).select_from(_SENT).where(deliveries.c.id.in_(first))
    return [Delivery(**row._asdict()) for row in connection.execute(query.order_by(deliveries.c.id).limit(limit))]


def next_delivery_ms(connection: Connection, busy: Collection[int]) -> int | None:
    """When the next delivery is due to a webhook that is not `busy`, in Unix ms; None where none waits."""
    waiting = _ALLOWED & deliveries.c.webhook_id.not_in(busy)
    found = connection.execute(select(func.min(deliveries.c.next_ms)).select_from(_SENT).where(waiting)).scalar_one()
    return None if found is None else int(found)


def claim_delivery(connection: Connection, account_id: int, delivery_id: int, now_ms: int, lease_ms: int) -> bool:
    """Take a delivery that is due for us; whoever does not settle it within `lease_ms` loses it to another."""
    which = (deliveries.c.account_id == account_id) & (deliveries.c.id == delivery_id)
    due = deliveries.c.next_ms <= now_ms
    return connection.execute(update(deliveries).where(which, due).values(next_ms=now_ms + lease_ms)).rowcount == 1


def settle_delivery(connection: Connection, account_id: int, delivery_id: int, outcome: Outcome) -> None:
    """Remember what came of a try."""
    which = (deliveries.c.account_id == account_id) & (deliveries.c.id == delivery_id)
    came = outcome._asdict() | {"delivered": int(outcome.delivered), "tries": deliveries.c.tries + outcome.tried}
    del came["tried"]
    connection.execute(update(deliveries).where(which).values(came))
