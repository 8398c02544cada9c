"""What is stored of an account beside its calls, for its owner to take along: by names that say what they are."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Table, func, select

from metrion.kit.clock import DAY_MS, iso
from metrion.kit.money import usd_from_nano
from metrion.storage.database import Connection
from metrion.storage.tables import (
    accounts,
    alert_rules,
    alerts,
    billing,
    deliveries,
    invoices,
    model_hours,
    provider_keys,
    requester_hours,
    sessions,
    tokens,
    webhooks,
)


def _all_but_owner(table: Table) -> tuple[str, ...]:
    """The names of a table's columns, as plain text: orjson takes no subclass of it for a key."""
    return tuple(str(column.name) for column in table.c if column.name != "account_id")


# What a person may see of each table: never a digest, and nothing that is sealed.
_ACCOUNT = ("id", "email", "name", "plan", "created_ms", "confirmed_ms", "used_ms", "disabled_ms", "operator")
_SETTINGS = ("currency", "time_zone")
_SUBSCRIPTION = ("customer_id", "subscription_id", "status", "renews_ms", "ends_ms", "asked_ms")
_OWNED = {
    "metrion_keys": (tokens, ("created_ms",)),
    "provider_keys": (provider_keys, ("provider", "tail", "created_ms", "used_ms")),
    "invoices": (invoices, ("id", "number", "status", "created_ms", "amount", "currency")),
    "sessions": (sessions, ("created_ms", "seen_ms", "agent", "address")),
    "alert_rules": (alert_rules, tuple(name for name in _all_but_owner(alert_rules) if name != "filled")),
    "alerts": (alerts, _all_but_owner(alerts)),
    "webhooks": (webhooks, ("id", "kind", "name", "origin", "created_ms", "disabled_ms")),
    "deliveries": (deliveries, ("webhook_id", "name", "title", "created_ms", "tries", "tried_ms", "status", "problem")),
}
_TOTALS = {"by_model": model_hours, "by_requester": requester_hours}
USAGE = tuple(_TOTALS)


def account_of(connection: Connection, account_id: int) -> dict[str, Any]:
    """The account, its settings, what it pays for, and its few rows of other kinds, the oldest first.

    "account" is {} if it is gone.
    """
    row = connection.execute(select(accounts).where(accounts.c.id == account_id)).one_or_none()
    paying = connection.execute(select(billing).where(billing.c.account_id == account_id)).one_or_none()
    told: dict[str, Any] = {
        "account": {} if row is None else _named(row, _ACCOUNT),
        "settings": {} if row is None else _named(row, _SETTINGS),
        "subscription": {} if paying is None else _named(paying, _SUBSCRIPTION),
    }
    for kind, (table, columns) in _OWNED.items():
        query = (
            select(table)
            .where(table.c.account_id == account_id)
            .order_by(table.c.fired_ms if table is alerts else table.c.created_ms)
        )
        told[kind] = [_named(one, columns) for one in connection.execute(query)]
    return told


def totals_of_day(
    connection: Connection, account_id: int, kind: str, from_ms: int
) -> tuple[list[dict[str, Any]], int | None]:
    """An account's totals, of a kind of USAGE, of the first UTC day from `from_ms` on that has any; and its end.

    [] and None where there is none.
    """
    table = _TOTALS[kind]
    mine = (table.c.account_id == account_id) & (table.c.start_ms >= from_ms)
    first = connection.execute(select(func.min(table.c.start_ms)).where(mine)).scalar()
    if first is None:
        return [], None
    start = first // DAY_MS * DAY_MS
    names = [column for column in table.primary_key if column.name not in ("account_id", "start_ms")]
    sums = [func.sum(column).label(column.name) for column in table.c if not column.primary_key]
    query = select(*names, *sums).where(mine, table.c.start_ms < start + DAY_MS).group_by(*names).order_by(*names)
    columns = tuple(str(column.name) for column in (*names, *sums))
    day = {"day": iso(start)[:10]}
    return [day | _named(row, columns) for row in connection.execute(query)], start + DAY_MS


def _named(row: Row[Any], columns: tuple[str, ...]) -> dict[str, Any]:
    return dict(_told(name, getattr(row, name)) for name in columns)


def _told(name: str, value: Any) -> tuple[str, Any]:
    """A column as people read it: times in ISO 8601, money in dollars, durations in milliseconds."""
    stem, _, unit = name.rpartition("_")
    match unit:
        case "ms":
            return f"{stem}_at", None if value is None else iso(value)
        case "nano":
            return f"{stem}_usd", None if value is None else usd_from_nano(value)
        case "us":
            return f"{stem}_ms", value / 1000
    return name, bool(value) if name == "operator" else value
