"""What requesters used since their month began, up to some of its days: any range is a few of these sums.

Such a sum has a row for each requester, so it is made in steps. Until it is whole, nothing reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, func, insert, literal, select, tuple_, union_all, update

from metrion.storage.database import Connection
from metrion.storage.rows import Row
from metrion.storage.tables import requester_dates, requester_days, requester_running
from metrion.storage.totals import ALL, Fold, add_sums

_FEWEST = 1000  # rows of days that are not summed up to a date: few enough to add up each time
_UNDER_WAY = -1  # `running` of a date whose sum is not whole yet


class _Date(NamedTuple):
    start_ms: int
    since_ms: int
    rows: int
    running: int


Key = tuple[str, str]  # provider and requester, in the order of the table


# ── days ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def begin_day(connection: Connection, account_id: int, day_ms: int, since_ms: int) -> None:
    """Let requesters have that day, of the month that began at `since_ms`, if they have not."""
    dates = _dates(connection, account_id, since_ms)
    if all(date.start_ms != day_ms for date in dates):
        connection.execute(insert(requester_dates).values(account_id=account_id, start_ms=day_ms, since_ms=since_ms))
        if dates and dates[-1].start_ms < day_ms:
            _run_up_to(connection, account_id, dates)


def count_day(connection: Connection, account_id: int, day_ms: int) -> None:
    """Count how many requesters that day has, after something was added to it."""
    connection.exec_driver_sql(_COUNT_DAY, (account_id, day_ms))


def add_late(connection: Connection, account_id: int, day_ms: int, since_ms: int, sums: Sequence[Row]) -> None:
    """Add to a day, and to the sums that run past it; a row is provider, requester and the sums."""
    begin_day(connection, account_id, day_ms, since_ms)
    add_sums(connection, "requester_days", [(account_id, day_ms, *row) for row in sums])
    count_day(connection, account_id, day_ms)
    for date in _dates(connection, account_id, since_ms):
        if date.running and date.start_ms >= day_ms:
            last = _last_made(connection, account_id, date.start_ms) if date.running == _UNDER_WAY else None
            # What is behind the last one will be made of the days.
            made = [row for row in sums if date.running != _UNDER_WAY or (last is not None and row[:2] <= last)]
            add_sums(connection, "requester_running", [(account_id, date.start_ms, *row) for row in made])


def _dates(connection: Connection, account_id: int, since_ms: int) -> list[_Date]:
    column = requester_dates.c
    query = select(*(column[name] for name in _Date._fields))
    mine = (column.account_id == account_id) & (column.since_ms == since_ms)
    return [_Date(*row) for row in connection.execute(query.where(mine).order_by(column.start_ms))]


def _run_up_to(connection: Connection, account_id: int, dates: Sequence[_Date]) -> None:
    """Have a month summed up to the last of its dates, where what came since the last time is at least half as much."""
    last = max((date for date in dates if date.running > 0), key=lambda date: date.start_ms, default=None)
    since = [date for date in dates if last is None or date.start_ms > last.start_ms]
    under_way = any(date.running == _UNDER_WAY for date in since)
    if not under_way and sum(date.rows for date in since) >= max(_FEWEST, last.running // 2 if last else 0):
        _set_running(connection, account_id, dates[-1].start_ms, _UNDER_WAY)


def _set_running(connection: Connection, account_id: int, start_ms: int, running: int) -> None:
    mine = (requester_dates.c.account_id == account_id) & (requester_dates.c.start_ms == start_ms)
    connection.execute(update(requester_dates).where(mine).values(running=running))


_COUNT_DAY = (
    "UPDATE requester_dates SET (rows, requesters) = (SELECT COUNT(*), COALESCE(SUM("  # noqa: S608
    f"CASE WHEN provider = '{ALL}' AND requester <> '' AND requests > 0 THEN 1 ELSE 0 END), 0)"
    " FROM requester_days AS day WHERE day.account_id = requester_dates.account_id"
    " AND day.start_ms = requester_dates.start_ms) WHERE account_id = ? AND start_ms = ?"
)


# ── a sum, in steps ───────────────────────────────────────────────────────────────────────────────────────────────────


def run_on(connection: Connection, fold: Fold, rows: int) -> int:
    """Make some more of a sum that is not whole, of about so many rows; returns how many, 0 where there is none."""
    account_id = fold.account_id
    found = connection.exec_driver_sql(_FIRST_UNDER_WAY, (account_id,)).first()
    if found is None:
        return 0
    to_ms, since_ms = found
    dates = [date for date in _dates(connection, account_id, since_ms) if date.start_ms <= to_ms]
    base = next((date for date in reversed(dates) if date.running > 0), None)
    days = [date for date in dates if base is None or date.start_ms > base.start_ms]
    after = _last_made(connection, account_id, to_ms)
    upto = _key_ahead(connection, account_id, base, days, after, max(rows // (len(days) + 1), 1))
    _make(connection, account_id, to_ms, base, days, after, upto)
    if upto is None:
        whole = select(func.count()).where(_of(requester_running, account_id, to_ms))
        _set_running(connection, account_id, to_ms, connection.execute(whole).scalar_one())
    return rows


_FIRST_UNDER_WAY = (
    "SELECT start_ms, since_ms FROM requester_dates"  # noqa: S608
    f" WHERE account_id = ? AND running = {_UNDER_WAY} ORDER BY start_ms LIMIT 1"
)


def _of(table: Table, account_id: int, start_ms: int) -> ColumnElement[bool]:
    of: ColumnElement[bool] = (table.c.account_id == account_id) & (table.c.start_ms == start_ms)
    return of


def _last_made(connection: Connection, account_id: int, to_ms: int) -> Key | None:
    """The key up to which a sum is made."""
    key = requester_running.c.provider, requester_running.c.requester
    query = select(*key).where(_of(requester_running, account_id, to_ms)).order_by(*(one.desc() for one in key))
    found = connection.execute(query.limit(1)).one_or_none()
    return None if found is None else (found[0], found[1])


def _key_ahead(
    connection: Connection,
    account_id: int,
    base: _Date | None,
    days: Sequence[_Date],
    after: Key | None,
    keys: int,
) -> Key | None:
    """The key that is so many behind `after`, in the longest of what is summed up; None where there are fewer."""
    longest = max(days, key=lambda date: date.rows)
    table, start_ms = requester_days, longest.start_ms
    if base is not None and base.running >= longest.rows:
        table, start_ms = requester_running, base.start_ms
    key = table.c.provider, table.c.requester
    query = select(*key).where(_of(table, account_id, start_ms))
    if after is not None:
        query = query.where(tuple_(*key) > after)
    found = connection.execute(query.order_by(*key).offset(keys - 1).limit(1)).one_or_none()
    return None if found is None else (found[0], found[1])


_ADDS = [column.name for column in requester_days.columns if not column.primary_key]


def _make(
    connection: Connection,
    account_id: int,
    to_ms: int,
    base: _Date | None,
    days: Sequence[_Date],
    after: Key | None,
    upto: Key | None,
) -> None:
    """Sum up the keys behind `after` to `upto`: the sum up to `base`, and the days since."""
    parts = [(requester_days, date.start_ms) for date in days]
    if base is not None:
        parts.append((requester_running, base.start_ms))
    asked = []
    for table, start_ms in parts:
        both = tuple_(table.c.provider, table.c.requester)
        query = select(*(table.c[name] for name in _BOTH)).where(_of(table, account_id, start_ms))
        if after is not None:
            query = query.where(both > after)
        asked.append(query if upto is None else query.where(both <= upto))
    every = union_all(*asked).subquery().c
    sums = (func.sum(every[name]) for name in _ADDS)
    key = every.provider, every.requester
    summed = select(literal(account_id), literal(to_ms), *key, *sums).group_by(*key)
    connection.execute(insert(requester_running).from_select(["account_id", "start_ms", *_BOTH], summed))


_BOTH = ("provider", "requester", *_ADDS)
