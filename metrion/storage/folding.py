"""Folding, as SQL: hours into days, rows into pairs and tops, and days cleared away to be folded again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, func, insert, literal_column, null, or_, select, tuple_, update

from metrion.call import NOT_ERRORS
from metrion.kit.clock import HOUR_MS
from metrion.kit.ids import first_id
from metrion.kit.zones import QUARTER_MS, utc_month
from metrion.storage.database import Connection
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.tables import (
    SUMS,
    accounts,
    calls,
    error_days,
    folds,
    latency_days,
    latency_hours,
    metadata,
    model_days,
    model_hours,
    pair_days,
    provider_days,
    recent_pairs,
    recent_tops,
    requester_dates,
    requester_days,
    requester_running,
    top_days,
)
from metrion.storage.totals import ALL, OTHER, Fold, add_sums

TOP = 100  # calls of a day, by each measure
MANY = 5000  # rows that wait are folded at once; fewer when they are a day old
RECENT_MS = 72 * HOUR_MS  # how long pairs and tops are kept by the quarter of an hour


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
    """When the row with that number, from 0, of an account's rows between these times started."""
    ids = calls.c.request_id
    mine = (calls.c.account_id == account_id) & (ids >= first_id(from_ms)) & (ids < first_id(to_ms))
    query = select(calls.c.started_ms).where(mine).order_by(ids).offset(number).limit(1)
    return connection.execute(query).scalar()


# ── hours ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

_KINDS = ("latency", "ttft", "overhead", "model_latency", "model_ttft")  # of latencies
_UNREAD = {"usage_raw", "rare"}  # by no total, and long
_FOR_TOTALS = select(*(null().label(name) if name in _UNREAD else calls.c[name] for name in COLUMNS))


def sums_of_hours(connection: Connection, table: str, account_id: int, from_ms: int, to_ms: int) -> list[Row]:
    """The rows of one of `totals.HOURS` for the hours that begin then."""
    hours = metadata.tables[table]
    within = (hours.c.account_id == account_id) & (hours.c.start_ms >= from_ms) & (hours.c.start_ms < to_ms)
    if hours is latency_hours:  # its key has the kind first
        within &= hours.c.kind.in_(_KINDS)
    return [tuple(row) for row in connection.execute(select(hours).where(within))]


def rows_between(connection: Connection, account_id: int, from_ms: int, to_ms: int) -> list[Row]:
    """An account's rows that started then, but for their usage objects."""
    ids = calls.c.request_id
    query = _FOR_TOTALS.where(calls.c.account_id == account_id, ids >= first_id(from_ms), ids < first_id(to_ms))
    return [tuple(row) for row in connection.execute(query)]


def delete_empty_hour(connection: Connection, account_id: int, start_ms: int) -> None:
    """Delete the sums of an hour all of whose rows are counted in others now."""
    for table in (model_hours, metadata.tables["requester_hours"], metadata.tables["error_hours"], latency_hours):
        mine = (table.c.account_id == account_id) & (table.c.start_ms == start_ms)
        if table is latency_hours:
            mine &= table.c.kind.in_(_KINDS)
        counts = [column for column in table.c if column.name == "requests" or column.name.startswith("bucket_")]
        connection.execute(delete(table).where(mine, *(count == 0 for count in counts)))


# ── requesters ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Date(NamedTuple):
    start_ms: int
    rows: int
    running: int


_FEWEST = 1000  # rows of days that are not summed up to a date: few enough to add up each time


def add_requesters(connection: Connection, account_id: int, day_ms: int, since_ms: int, sums: Sequence[Row]) -> None:
    """Add a day's sums of requesters, also to what runs from `since_ms`; a row is provider, requester and the sums."""
    column = requester_dates.c
    month = (column.account_id == account_id) & (column.since_ms == since_ms)
    query = select(column.start_ms, column.rows, column.running).where(month).order_by(column.start_ms)
    dates = {row.start_ms: _Date(*row) for row in connection.execute(query)}
    if day_ms not in dates:
        connection.execute(insert(requester_dates).values(account_id=account_id, start_ms=day_ms, since_ms=since_ms))
        if dates and max(dates) < day_ms:
            _run_up_to(connection, account_id, list(dates.values()))
    add_sums(connection, "requester_days", [(account_id, day_ms, *row) for row in sums])
    for date in dates.values():
        if date.running and date.start_ms >= day_ms:
            add_sums(connection, "requester_running", [(account_id, date.start_ms, *row) for row in sums])
    connection.exec_driver_sql(_COUNT_DAY, (account_id, day_ms))


def _run_up_to(connection: Connection, account_id: int, dates: Sequence[_Date]) -> None:
    """Sum up a month to the last of its dates, where what came since it was summed up last is at least half as much."""
    last = max((date for date in dates if date.running), key=lambda date: date.start_ms, default=None)
    since = [date for date in dates if last is None or date.start_ms > last.start_ms]
    if sum(date.rows for date in since) < max(_FEWEST, last.running // 2 if last else 0):
        return
    to_ms = dates[-1].start_ms
    values = (to_ms, account_id, last.start_ms if last else -1, account_id, since[0].start_ms, to_ms)
    made = connection.exec_driver_sql(_RUN, values).rowcount
    mine = (requester_dates.c.account_id == account_id) & (requester_dates.c.start_ms == to_ms)
    connection.execute(update(requester_dates).where(mine).values(running=made))


_ADDS = [column.name for column in requester_days.columns if not column.primary_key]
_BOTH = ",".join(("account_id", "provider", "requester", *_ADDS))
_RUN = (
    f"INSERT INTO requester_running (account_id, start_ms, provider, requester, {','.join(_ADDS)})"  # noqa: S608  our own names
    f" SELECT account_id, ?, provider, requester, {','.join(f'SUM({name})' for name in _ADDS)} FROM ("
    f"SELECT {_BOTH} FROM requester_running WHERE account_id = ? AND start_ms = ? UNION ALL"
    f" SELECT {_BOTH} FROM requester_days WHERE account_id = ? AND start_ms >= ? AND start_ms <= ?)"
    " GROUP BY account_id, provider, requester"
)
_COUNT_DAY = (
    "UPDATE requester_dates SET (rows, requesters) = (SELECT COUNT(*), COALESCE(SUM("  # noqa: S608
    f"CASE WHEN provider = '{ALL}' AND requester <> '' AND requests > 0 THEN 1 ELSE 0 END), 0)"
    " FROM requester_days AS day WHERE day.account_id = requester_dates.account_id"
    " AND day.start_ms = requester_dates.start_ms) WHERE account_id = ? AND start_ms = ?"
)


# ── pairs and tops ────────────────────────────────────────────────────────────────────────────────────────────────────


def _sum_sql(name: str) -> str:
    """What one of SUMS, or "errors", is of rows."""
    of_source, _, unit = name.rpartition("_")
    if name == "requests":
        return "COUNT(*)"
    if name == "errors":
        return f"SUM(CASE WHEN outcome IN ({','.join(map(repr, sorted(NOT_ERRORS)))}) THEN 0 ELSE 1 END)"
    if name in ("provider_nano", "estimated_nano"):
        return f"SUM(CASE WHEN cost_source = '{of_source}' THEN COALESCE(cost_nano, 0) ELSE 0 END)"
    if name.startswith("cost_") and unit != "nano":
        return f"SUM(CASE WHEN cost_source = '{unit}' THEN 1 ELSE 0 END)"
    if name.startswith("streamed_"):
        figure = {"tokens": "output_tokens", "us": "latency_us - ttft_us"}[unit]
        return f"SUM(CASE WHEN stream = 1 AND outcome = 'ok' THEN {figure} ELSE 0 END)"
    return f"SUM(COALESCE({name}, 0))"


_ADDED = (*SUMS, "errors")
_ROWS = "FROM calls WHERE account_id = ? AND request_id >= ? AND request_id < ? AND outcome <> 'rejected'"


def _named(column: str) -> str:
    """A name as totals count it."""
    return (
        f"CASE WHEN {column} = '' OR EXISTS (SELECT 1 FROM names WHERE names.account_id = calls.account_id"  # noqa: S608
        f" AND kind = '{column}' AND month = ? AND name = calls.{column}) THEN {column} ELSE '{OTHER}' END"
    )


_QUARTER = f"started_ms - started_ms % {QUARTER_MS}"


def _pair_sql(table: str, start: str) -> str:
    adds = ",".join(f"{name}={table}.{name}+excluded.{name}" for name in _ADDED)
    return (
        f"INSERT INTO {table} SELECT account_id, {_named('requester')}, provider, {_named('model')}, {start},"
        f" status / 100, {','.join(map(_sum_sql, _ADDED))} {_ROWS} GROUP BY 1, 2, 3, 4, 5, 6"
        f" ON CONFLICT (account_id, requester, provider, model, start_ms, class) DO UPDATE SET {adds}"
    )


_PAIR_DAY, _PAIR_QUARTERS = _pair_sql("pair_days", "?"), _pair_sql("recent_pairs", _QUARTER)
_VALUES = {"cost": "cost_nano", "latency": "latency_us", "tokens": "input_tokens + output_tokens"}
MEASURES = tuple(_VALUES)
_IN_ITS_PLACE = "ON CONFLICT (account_id, measure, start_ms, request_id) DO UPDATE SET value = excluded.value"


def pair_rows(connection: Connection, account_id: int, from_ms: int, to_ms: int, day_ms: int) -> None:
    """Add an account's rows between these times, of one UTC month, to the pairs and tops of the day that began then."""
    month, ids = utc_month(from_ms // QUARTER_MS), (account_id, first_id(from_ms), first_id(to_ms))
    connection.exec_driver_sql(_PAIR_DAY, (month, month, day_ms, *ids))
    for measure, value in _VALUES.items():
        connection.exec_driver_sql(
            f"INSERT INTO top_days SELECT account_id, ?, ?, request_id, {value} {_ROWS}"
            f" AND {value} > 0 ORDER BY {value} DESC, request_id DESC LIMIT {TOP} {_IN_ITS_PLACE}",
            (measure, day_ms, *ids),
        )
        _shorten(connection, (account_id, measure, day_ms))


def pair_recent(connection: Connection, account_id: int, from_ms: int, to_ms: int) -> None:
    """Add an account's rows between these times, of one UTC month, to the pairs and tops of their quarters."""
    month, ids = utc_month(from_ms // QUARTER_MS), (account_id, first_id(from_ms), first_id(to_ms))
    connection.exec_driver_sql(_PAIR_QUARTERS, (month, month, *ids))
    for measure, value in _VALUES.items():
        rank = f"ROW_NUMBER() OVER (PARTITION BY {_QUARTER} ORDER BY {value} DESC, request_id DESC)"
        connection.exec_driver_sql(
            f"INSERT INTO recent_tops SELECT account_id, ?, start_ms, request_id, value FROM ("  # noqa: S608
            f"SELECT account_id, {_QUARTER} AS start_ms, request_id, {value} AS value, {rank} AS rank {_ROWS}"
            f" AND {value} > 0) WHERE rank <= {TOP} {_IN_ITS_PLACE}",
            (measure, *ids),
        )


def put_tops(connection: Connection, table: str, tops: Iterable[Row]) -> None:
    """Put calls among the tops, in the place of what they were there: rows of `top_days` or `recent_tops`."""
    rows = list(tops)
    if rows:
        connection.exec_driver_sql(f"INSERT INTO {table} VALUES (?,?,?,?,?) {_IN_ITS_PLACE}", rows)  # noqa: S608
    if table == "top_days":
        for one in {row[:3] for row in rows}:
            _shorten(connection, one)


def _shorten(connection: Connection, top: Row) -> None:
    """Let only the TOP greatest stay of one of a day's tops."""
    mine = "account_id = ? AND measure = ? AND start_ms = ?"
    last = f"SELECT value, request_id FROM top_days WHERE {mine} ORDER BY value DESC, request_id DESC"  # noqa: S608
    found = connection.exec_driver_sql(f"{last} LIMIT 1 OFFSET {TOP - 1}", top).first()
    if found is not None:
        less = f"DELETE FROM top_days WHERE {mine} AND (value, request_id) < (?, ?)"  # noqa: S608
        connection.exec_driver_sql(less, (*top, *found))


def forget_recent(connection: Connection, fold: Fold) -> None:
    """Delete what is kept by the quarter of an hour and began before `recent_ms`."""
    for table in (recent_pairs, recent_tops):
        old = (table.c.account_id == fold.account_id) & (table.c.start_ms < fold.recent_ms)
        connection.execute(delete(table).where(old))


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


def clear_days(connection: Connection, fold: Fold, limit: int) -> bool:
    """Delete some of an account's days, of pairs and tops those from `pairs_ms` on; False where none were left."""
    for table in (*_OF_HOURS, *_OF_ROWS):
        mine = table.c.account_id == fold.account_id
        if table in _OF_ROWS:
            mine &= table.c.start_ms >= fold.pairs_ms
        # Up to the key of the last one, which is one range of the table's tree: of keys in a list it would walk it all.
        rest = tuple(table.primary_key)[1:]
        last = connection.execute(select(*rest).where(mine).order_by(*rest).offset(limit - 1).limit(1)).one_or_none()
        if last is not None:
            mine &= tuple_(*rest) <= tuple_(*last)
        if connection.execute(delete(table).where(mine)).rowcount:
            return True
    return False
