"""Totals as stored: adding to them, names that are counted by themselves, and how far each account's are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Table, bindparam, or_, select, update

from metrion.kit.zones import hour_start
from metrion.storage.database import Connection
from metrion.storage.rows import Row
from metrion.storage.tables import accounts, folds, metadata, provider_keys

OTHER = "(other)"
ALL = "*"  # the provider of sums over all
MOST_NAMES = {"model": 10_000, "requester": 10_000, "error": 1000}  # of an account and a month
HOURS = ("model_hours", "requester_hours", "latency_hours", "error_hours")  # what is written with the rows

_IN = 500  # values in one condition
Name = tuple[int, str, int, str]  # account, kind, month, name


# ── sums ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _upsert_sql(table: Table) -> str:
    columns = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key]
    adds = ",".join(f"{name}={name}+excluded.{name}" for name in columns if name not in keys)
    marks = ",".join("?" * len(columns))
    return (
        f"INSERT INTO {table.name} ({','.join(columns)}) VALUES ({marks})"  # noqa: S608  our own names
        f" ON CONFLICT ({','.join(keys)}) DO UPDATE SET {adds}"
    )


_UPSERTS = {
    table: _upsert_sql(metadata.tables[table])
    for table in (
        "model_hours",
        "model_days",
        "provider_days",
        "requester_hours",
        "requester_days",
        "requester_running",
        "recent_pairs",
        "pair_days",
        "latency_hours",
        "latency_days",
        "error_hours",
        "error_days",
    )
}


def add_sums(connection: Connection, table: str, rows: Sequence[Row]) -> None:
    """Add to a totals table; each row has the table's columns in their order."""
    if rows:
        connection.exec_driver_sql(_UPSERTS[table], list(rows))


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def unknown_names(connection: Connection, wanted: Mapping[Name, str]) -> set[Name]:
    """Remember names (models with their provider), and return those beyond what is counted by name.

    A name that was once refused stays refused for its month, and one that was taken stays taken: so what a call was
    counted under can be told again later.
    """
    groups: defaultdict[tuple[int, str, int], dict[str, str]] = defaultdict(dict)
    for (account_id, kind, month, name), provider in wanted.items():
        groups[account_id, kind, month][name] = provider
    refused: set[Name] = set()
    for group, found in groups.items():
        new = _new(connection, group, list(found))
        if new:
            room = max(MOST_NAMES[group[1]] - _count(connection, group), 0)
            order = sorted(new)
            taken = [(*group, name, found[name]) for name in order[:room]]
            if taken:
                connection.exec_driver_sql(_TAKE, taken)
            refused.update((*group, name) for name in order[room:])
    return refused


_TAKE = "INSERT INTO names (account_id, kind, month, name, provider) VALUES (?,?,?,?,?)"


def _new(connection: Connection, group: tuple[int, str, int], wanted: list[str]) -> list[str]:
    # As one value: a parameter for each name takes five times as long.
    found = connection.exec_driver_sql(_NEW, (orjson.dumps(wanted).decode(), *group))
    return list(found.scalars())


_NEW = (
    "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM names"
    " WHERE account_id = ? AND kind = ? AND month = ? AND name = value)"
)


def _count(connection: Connection, group: tuple[int, str, int]) -> int:
    counted: int = connection.exec_driver_sql(_HOW_MANY, group).scalar_one()
    return counted


_HOW_MANY = "SELECT COUNT(*) FROM names WHERE account_id = ? AND kind = ? AND month = ?"


# ── how far each account is ───────────────────────────────────────────────────────────────────────────────────────────


class Fold(NamedTuple):
    """How an account's totals stand; see `tables.folds`."""

    account_id: int
    time_zone: str = "UTC"
    last_ms: int = -1
    folded_ms: int = 0
    paired_ms: int = 0
    waiting: int = 0
    recent_ms: int = 0
    pairs_ms: int = 0
    clearing: int = 0
    old_zone: str | None = None
    moved_ms: int = 0

    def hour(self, ms: int) -> int:
        """The hour that a row which started then is counted in."""
        zone = self.time_zone if self.old_zone is None or ms >= self.moved_ms else self.old_zone
        return hour_start(zone, ms)


def find_folds(connection: Connection, account_ids: Iterable[int]) -> dict[int, Fold]:
    """How these accounts' totals stand; those without any begin in their own time zone."""
    ids = sorted(account_ids)
    found: dict[int, Fold] = {}
    for at in range(0, len(ids), _IN):
        some = ids[at : at + _IN]
        standing = select(folds).where(folds.c.account_id.in_(some))
        found.update((row.account_id, Fold(*row)) for row in connection.execute(standing))
        new = [account_id for account_id in some if account_id not in found]
        if new:
            zones = select(accounts.c.id, accounts.c.time_zone).where(accounts.c.id.in_(new))
            own = {row.id: row.time_zone for row in connection.execute(zones)}
            found.update((account_id, Fold(account_id, own.get(account_id, "UTC"))) for account_id in new)
    return found


def save_folds(connection: Connection, standing: Iterable[Fold]) -> None:
    """Keep how accounts' totals stand from now on."""
    connection.exec_driver_sql(_SAVE, [tuple(fold) for fold in standing])


_SAVE = (
    f"INSERT INTO folds ({','.join(Fold._fields)}) VALUES ({','.join('?' * len(Fold._fields))})"  # noqa: S608
    f" ON CONFLICT (account_id) DO UPDATE SET {','.join(f'{name}=excluded.{name}' for name in Fold._fields[1:])}"
)


def set_used(connection: Connection, moments: Mapping[tuple[int, str, str], int]) -> None:
    """Remember when accounts and their stored provider keys were last used: by account, provider and mode, Unix ms."""
    last: dict[int, int] = {}
    for (account_id, _, _), ms in moments.items():
        last[account_id] = max(last.get(account_id, 0), ms)
    connection.execute(_ACCOUNT_USED, [{"of_account": account_id, "ms": ms} for account_id, ms in last.items()])
    keys = [
        {"of_account": account_id, "of_provider": provider, "ms": ms}
        for (account_id, provider, mode), ms in moments.items()
        if mode == "stored"
    ]
    if keys:
        connection.execute(_KEY_USED, keys)


def _later(table: Table) -> Any:
    return or_(table.c.used_ms.is_(None), table.c.used_ms < bindparam("ms"))


_ACCOUNT_USED = (
    update(accounts).where(accounts.c.id == bindparam("of_account"), _later(accounts)).values(used_ms=bindparam("ms"))
)
_KEY_USED = (
    update(provider_keys)
    .where(
        provider_keys.c.account_id == bindparam("of_account"),
        provider_keys.c.provider == bindparam("of_provider"),
        _later(provider_keys),
    )
    .values(used_ms=bindparam("ms"))
)
