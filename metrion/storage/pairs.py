"""Rows into pairs and tops, as SQL: which requester used which model, and which calls were the greatest."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from sqlalchemy import Table

from metrion.call import NOT_ERRORS
from metrion.kit.clock import HOUR_MS
from metrion.kit.ids import first_id
from metrion.kit.zones import QUARTER_MS, utc_month
from metrion.storage.database import Connection
from metrion.storage.rows import Row
from metrion.storage.steps import delete_first
from metrion.storage.tables import SUMS, pair_days, recent_pairs, recent_tops
from metrion.storage.totals import MOST_NAMES, OTHER, Fold

TOP = 100  # calls of a day, by each measure
RECENT_MS = 72 * HOUR_MS  # how long pairs and tops are kept by the quarter of an hour


def _figure_sql(name: str) -> str:
    """What a row adds to one of SUMS, or to "errors"."""
    of_source, _, unit = name.rpartition("_")
    if name == "requests":
        return "1"
    if name == "errors":
        return f"outcome NOT IN ({','.join(map(repr, sorted(NOT_ERRORS)))})"
    if name in ("provider_nano", "estimated_nano"):
        return f"CASE WHEN cost_source = '{of_source}' THEN COALESCE(cost_nano, 0) ELSE 0 END"
    if name.startswith("cost_") and unit != "nano":
        return f"cost_source = '{unit}'"
    if name.startswith("streamed_"):
        figure = {"tokens": "output_tokens", "us": "latency_us - ttft_us"}[unit]
        return f"CASE WHEN stream = 1 AND outcome = 'ok' THEN {figure} ELSE 0 END"
    return "COALESCE(cost_nano, 0)" if name == "cost_nano" else name


_ADDED = (*SUMS, "errors")
_ROWS = (
    "FROM calls WHERE account_id = :account_id AND request_id >= :first AND request_id < :end AND outcome <> 'rejected'"
)
_QUARTER = f"started_ms - started_ms % {QUARTER_MS}"


@lru_cache(maxsize=8)
def _pair_sql(table: Table, start: str, full: tuple[str, ...]) -> str:
    """Adds rows to a table of pairs; `full`: the kinds of names of which some may be counted as "(other)"."""
    keys = [column.name for column in table.primary_key]
    told = {"start_ms": start, "class": "status / 100", **{kind: _named(kind) for kind in full}}
    parts = [told.get(name, name) for name in keys] + list(map(_figure_sql, _ADDED))
    adds = ",".join(f"{name} = {name} + excluded.{name}" for name in _ADDED)
    return (  # row by row: nearly every row is a pair of its own
        f"INSERT INTO {table.name} ({','.join((*keys, *_ADDED))}) SELECT {','.join(parts)} {_ROWS}"
        f" ON CONFLICT ({','.join(keys)}) DO UPDATE SET {adds}"
    )


def _named(column: str) -> str:
    """A name as totals count it."""
    return (
        f"CASE WHEN {column} = '' OR EXISTS (SELECT 1 FROM names WHERE names.account_id = calls.account_id"  # noqa: S608
        f" AND kind = '{column}' AND month = :month AND name = calls.{column}) THEN {column} ELSE '{OTHER}' END"
    )


def _full(connection: Connection, account_id: int, month: int) -> tuple[str, ...]:
    """The kinds of names of which an account had so many in a month that no more were taken."""
    return tuple(
        kind
        for kind in ("requester", "model")
        if connection.exec_driver_sql(_IS_FULL, (account_id, kind, month, MOST_NAMES[kind] - 1)).first()
    )


_IS_FULL = "SELECT 1 FROM names WHERE account_id = ? AND kind = ? AND month = ? LIMIT 1 OFFSET ?"
_VALUES = {"cost": "cost_nano", "latency": "latency_us", "tokens": "input_tokens + output_tokens"}
MEASURES = tuple(_VALUES)
_IN_ITS_PLACE = "ON CONFLICT (account_id, measure, start_ms, request_id) DO UPDATE SET value = excluded.value"


def pair_rows(connection: Connection, account_id: int, from_ms: int, to_ms: int, day_ms: int, recent_ms: int) -> None:
    """Add an account's rows between these times, of one UTC month, to the pairs and tops of the day that began then.

    Those from `recent_ms` on are also added to the pairs and tops of their quarters.
    """
    month = utc_month(from_ms // QUARTER_MS)
    full = _full(connection, account_id, month)
    mine = {"account_id": account_id, "first": first_id(from_ms), "end": first_id(to_ms), "month": month}
    of_day = {**mine, "day_ms": day_ms}
    connection.exec_driver_sql(_pair_sql(pair_days, ":day_ms", full), of_day)
    connection.exec_driver_sql(_TOP_DAY, of_day)
    for measure in MEASURES:
        _shorten(connection, (account_id, measure, day_ms))
    if to_ms > recent_ms:
        recent = {**mine, "first": first_id(max(from_ms, recent_ms))}
        connection.exec_driver_sql(_pair_sql(recent_pairs, _QUARTER, full), recent)
        connection.exec_driver_sql(_RECENT_TOPS, recent)


# Rows are wide: they are read once for all measures.
_VALUED = (
    f"WITH valued AS MATERIALIZED (SELECT account_id, {_QUARTER} AS start_ms, request_id,"
    f" {', '.join(f'{value} AS {measure}' for measure, value in _VALUES.items())} {_ROWS})"
)
_OF_DAY = (
    "SELECT * FROM (SELECT account_id, '{measure}', :day_ms, request_id, {measure} FROM valued WHERE {measure} > 0"  # noqa: S608  our own names
    " AND {measure} >= COALESCE((SELECT value FROM top_days WHERE account_id = :account_id AND measure = '{measure}'"
    f" AND start_ms = :day_ms ORDER BY value DESC LIMIT 1 OFFSET {TOP - 1}), 0)"
    f" ORDER BY {{measure}} DESC, request_id DESC LIMIT {TOP}) WHERE TRUE"
)
_OF_QUARTERS = (
    "SELECT account_id, '{measure}', start_ms, request_id, {measure} FROM (SELECT *, ROW_NUMBER() OVER"  # noqa: S608
    " (PARTITION BY start_ms ORDER BY {measure} DESC, request_id DESC) AS rank FROM valued WHERE {measure} > 0)"
    f" WHERE rank <= {TOP}"
)


def _top_sql(table: str, greatest: str) -> str:
    """Puts the greatest by each measure among the tops."""
    every = " UNION ALL ".join(greatest.format(measure=measure) for measure in MEASURES)
    return f"{_VALUED} INSERT INTO {table} {every} {_IN_ITS_PLACE}"


_TOP_DAY, _RECENT_TOPS = _top_sql("top_days", _OF_DAY), _top_sql("recent_tops", _OF_QUARTERS)


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


def forget_recent(connection: Connection, fold: Fold, limit: int) -> int:
    """Delete some of what is kept by the quarter of an hour and began before `recent_ms`; returns how many rows."""
    of = (fold.account_id, fold.recent_ms)
    if not connection.exec_driver_sql(_SOME_OLD, of).first():
        return 0
    pairs, tops = recent_pairs.c, recent_tops.c
    for measure in MEASURES:  # tops before pairs, which tell whether there is anything left
        old = (tops.account_id == fold.account_id) & (tops.measure == measure) & (tops.start_ms < fold.recent_ms)
        if deleted := delete_first(connection, recent_tops, old, limit):
            return deleted
    old = (pairs.account_id == fold.account_id) & (pairs.start_ms < fold.recent_ms)
    return delete_first(connection, recent_pairs, old, limit)


_SOME_OLD = "SELECT 1 FROM recent_pairs WHERE account_id = ? AND start_ms < ? LIMIT 1"
