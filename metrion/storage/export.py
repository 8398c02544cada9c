"""What is stored of an account beside its calls, for its owner to take along: by names that say what they are."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select, tuple_

from metrion.kit.clock import iso
from metrion.kit.money import usd_from_nano
from metrion.storage.database import Connection
from metrion.storage.tables import accounts, model_days, provider_keys, requester_days, sessions, tokens

# What a person may see of each table: never a digest, and nothing that is sealed.
_ACCOUNT = ("id", "email", "name", "plan", "created_ms", "confirmed_ms", "used_ms", "disabled_ms", "operator")
_SETTINGS = ("currency", "time_zone")
_OWNED = {
    "metrion_keys": (tokens, ("created_ms",)),
    "provider_keys": (provider_keys, ("provider", "tail", "created_ms", "used_ms")),
    "sessions": (sessions, ("created_ms", "seen_ms", "agent", "address")),
}
_TOTALS = {"by_model": model_days, "by_requester": requester_days}
USAGE = tuple(_TOTALS)

Key = tuple[Any, ...]


def account_of(connection: Connection, account_id: int) -> dict[str, Any]:
    """The account, its settings, and its few rows of other kinds, the oldest first; an "account" {} if it is gone."""
    row = connection.execute(select(accounts).where(accounts.c.id == account_id)).one_or_none()
    told: dict[str, Any] = {
        "account": {} if row is None else _named(row, _ACCOUNT),
        "settings": {} if row is None else _named(row, _SETTINGS),
    }
    for kind, (table, columns) in _OWNED.items():
        query = select(table).where(table.c.account_id == account_id).order_by(table.c.created_ms)
        told[kind] = [_named(one, columns) for one in connection.execute(query)]
    return told


def totals_after(
    connection: Connection, account_id: int, kind: str, after: Key | None, limit: int
) -> tuple[list[dict[str, Any]], Key | None]:
    """The next `limit` of an account's totals by day, of a kind of USAGE; the key to go on `after`, None at the end."""
    table = _TOTALS[kind]
    rest = tuple(table.primary_key)[1:]
    query = select(table).where(table.c.account_id == account_id).order_by(*rest).limit(limit)
    if after is not None:
        query = query.where(tuple_(*rest) > tuple_(*after))
    rows = connection.execute(query).all()
    names = tuple(str(column.name) for column in table.c if column.name != "account_id")
    last = tuple(getattr(rows[-1], column.name) for column in rest) if len(rows) == limit else None
    return [_named(row, names) for row in rows], last


def _named(row: Row[Any], columns: tuple[str, ...]) -> dict[str, Any]:
    return dict(_told(name, getattr(row, name)) for name in columns)


def _told(name: str, value: Any) -> tuple[str, Any]:
    """A column as people read it: times in ISO 8601, money in dollars, durations in milliseconds."""
    stem, _, unit = name.rpartition("_")
    match unit:
        case "ms" if stem == "start":
            return "day", iso(value)[:10]
        case "ms":
            return f"{stem}_at", None if value is None else iso(value)
        case "nano":
            return f"{stem}_usd", None if value is None else usd_from_nano(value)
        case "us":
            return f"{stem}_ms", value / 1000
    return name, bool(value) if name == "operator" else value
