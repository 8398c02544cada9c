"""Folding, as SQL: what there is to do, hours counted in another time zone, and days cleared to be folded again."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, func, literal_column, null, or_, select

from metrion.kit.ids import first_id
from metrion.storage.database import Connection
from metrion.storage.hours import LATENCIES
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.steps import delete_first
from metrion.storage.tables import (
    accounts,
    calls,
    error_days,
    error_hours,
    folds,
    latency_days,
    latency_hours,
    model_days,
    model_hours,
    pair_days,
    provider_days,
    recent_pairs,
    recent_tops,
    requester_dates,
    requester_days,
    requester_hours,
    requester_running,
    top_days,
)
from metrion.storage.totals import Fold

MANY = 5000  # rows that wait are folded at once; fewer when they are a day old


# ── what there is to do ───────────────────────────────────────────────────────────────────────────────────────────────

_STEADY = (folds.c.clearing == 0) & folds.c.old_zone.is_(None)


def waiting(connection: Connection, since_ms: int, limit: int) -> list[Fold]:
    """Accounts to fold, the longest waiting first: those with rows from before, and those with many."""
    old = (folds.c.paired_ms < since_ms) & literal_column("paired_ms <= last_ms")  # each index's own words
    many: ColumnElement[bool] = literal_column(f"waiting >= {MANY}")
    found: dict[int, Fold] = {}
    for which in (old, many):
        query = select(folds).where(which, _STEADY).order_by(folds.c.paired_ms).limit(limit)
        found.update((row.account_id, Fold(*row)) for row in connection.execute(query))
    return list(found.values())[:limit]


def steady(connection: Connection) -> list[Fold]:
    """All accounts that have totals, but those that change to another time zone."""
    return [Fold(*row) for row in connection.execute(select(folds).where(_STEADY))]


def with_another_zone(connection: Connection) -> list[tuple[Fold, str]]:
    """Accounts whose time zone is another than their totals', or whose totals are on their way to it; with it."""
    other = or_(accounts.c.time_zone != folds.c.time_zone, folds.c.clearing == 1, folds.c.old_zone.is_not(None))
    query = select(*folds.c, accounts.c.time_zone).join(accounts, accounts.c.id == folds.c.account_id).where(other)
    return [(Fold(*row[:-1]), row[-1]) for row in connection.execute(query)]


def next_hour(connection: Connection, account_id: int, from_ms: int) -> int | None:
    """The first hour with calls that begins at `from_ms` or after."""
    mine = (model_hours.c.account_id == account_id) & (model_hours.c.start_ms >= from_ms)
    return connection.execute(select(func.min(model_hours.c.start_ms)).where(mine)).scalar()


def next_row(connection: Connection, account_id: int, from_ms: int) -> int | None:
    """When the first of an account's rows started that did at `from_ms` or after."""
    mine = (calls.c.account_id == account_id) & (calls.c.request_id >= first_id(from_ms))
    return connection.execute(select(calls.c.started_ms).where(mine).order_by(calls.c.request_id).limit(1)).scalar()


def last_row(connection: Connection, account_id: int, before_ms: int) -> int | None:
    """When the last of an account's rows started that did before."""
    mine = (calls.c.account_id == account_id) & (calls.c.request_id < first_id(before_ms))
    query = select(calls.c.started_ms).where(mine).order_by(calls.c.request_id.desc()).limit(1)
    return connection.execute(query).scalar()


def row_number(connection: Connection, account_id: int, from_ms: int, to_ms: int, number: int) -> int | None:
    """When the row with that number of an account's rows between these times started; -1 is the last of them."""
    ids = calls.c.request_id
    mine = (calls.c.account_id == account_id) & (ids >= first_id(from_ms)) & (ids < first_id(to_ms))
    order, offset = (ids, number) if number >= 0 else (ids.desc(), -number - 1)
    query = select(calls.c.started_ms).where(mine).order_by(order).offset(offset).limit(1)
    return connection.execute(query).scalar()


# ── another time zone ─────────────────────────────────────────────────────────────────────────────────────────────────

_UNREAD = {"usage_raw", "rare"}  # by no total, and long
_FOR_TOTALS = select(*(null().label(name) if name in _UNREAD else calls.c[name] for name in COLUMNS))


def rows_between(connection: Connection, account_id: int, from_ms: int, to_ms: int) -> list[Row]:
    """An account's rows that started then, but for their usage objects."""
    ids = calls.c.request_id
    query = _FOR_TOTALS.where(calls.c.account_id == account_id, ids >= first_id(from_ms), ids < first_id(to_ms))
    return [tuple(row) for row in connection.execute(query)]


def delete_empty_hour(connection: Connection, account_id: int, start_ms: int) -> None:
    """Delete the sums of an hour all of whose rows are counted in others now."""
    for table in (model_hours, requester_hours, error_hours, latency_hours):
        mine = (table.c.account_id == account_id) & (table.c.start_ms == start_ms)
        if table is latency_hours:
            mine &= table.c.kind.in_(LATENCIES)  # its key has the kind first
        counts = [column for column in table.c if column.name == "requests" or column.name.startswith("bucket_")]
        connection.execute(delete(table).where(mine, *(count == 0 for count in counts)))


_OF_HOURS = (
    model_days,
    provider_days,
    requester_days,
    requester_running,
    requester_dates,
    latency_days,
    error_days,
)
_OF_ROWS = (pair_days, top_days, recent_pairs, recent_tops)


def clear_days(connection: Connection, fold: Fold, limit: int) -> int:
    """Delete some of an account's days, of pairs and tops those from `pairs_ms` on; returns how many rows."""
    for table in (*_OF_HOURS, *_OF_ROWS):
        mine = table.c.account_id == fold.account_id
        if table in _OF_ROWS:
            mine &= table.c.start_ms >= fold.pairs_ms
        if deleted := delete_first(connection, table, mine, limit):
            return deleted
    return 0
