"""Requesters: what each used, from the sums that run through each month, and the pairs with models behind them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache, partial
from heapq import nsmallest
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, func, select, union, union_all

from metrion.call import Outcome
from metrion.kit.clock import DAY_MS
from metrion.kit.zones import next_day
from metrion.storage.database import Connection
from metrion.storage.tables import model_hours, requester_dates, requester_days, requester_hours, requester_running
from metrion.storage.totals import ALL as EVERY_PROVIDER
from metrion.storage.totals import Fold
from metrion.storage.view import (
    ALL,
    Figures,
    Filters,
    Key,
    Piece,
    Range,
    add_to,
    columns_of,
    maker,
    over_ms,
    part_of,
    pieces,
    quarters,
    rows_of,
    standing,
    whole_days,
)

_LONGEST_MONTH_MS = 32 * DAY_MS
_FEW_HOURS_MS = 3 * DAY_MS
_EACH = ("cost_nano", "requests", "refused")  # what is asked of all requesters: the same, so that it is read once


class Date(NamedTuple):
    """A day that requesters have; see `tables.requester_dates`."""

    start_ms: int
    since_ms: int
    requesters: int
    rows: int
    running: int  # not above 0: none that is whole


class Parts(NamedTuple):
    """What adds up to some days: days, and sums since a month's beginning up to a day; by their starts."""

    days: list[int]
    running: list[int]
    less_days: list[int]  # to be taken off
    less_running: list[int]

    @classmethod
    def none(cls) -> Parts:
        return cls([], [], [], [])


def dates_of(connection: Connection, account_id: int, fold: Fold, range: Range) -> list[Date]:
    """The dates in a range's whole days, and those before in the month of the first; the oldest first."""
    first, end = whole_days(range)
    if range.hourly or fold.folded_ms == 0 or first >= end:
        return []
    column = requester_dates.c
    within = (column.start_ms >= first - _LONGEST_MONTH_MS) & (column.start_ms < end)
    query = select(*(column[name] for name in Date._fields)).where(column.account_id == account_id, within)
    found = [Date._make(row) for row in connection.execute(query.order_by(column.start_ms))]
    since = next((one.since_ms for one in found if one.start_ms >= first), None)
    return [] if since is None else [one for one in found if one.since_ms >= since]


def parts_of(dates: Sequence[Date], first: int) -> Parts:
    """What adds up to all days from `first` on, of each month the fewest rows."""
    parts = Parts.none()
    for _, month in groupby(dates, key=lambda date: date.since_ms):
        for mine, own in zip(parts, _parts_of_month(list(month), first), strict=True):
            mine += own
    return parts


def _parts_of_month(dates: list[Date], first: int) -> Parts:
    plain = [date for date in dates if date.start_ms >= first]
    running = [date for date in plain if date.running > 0]
    if not running:
        return Parts(_starts(plain), [], [], [])
    last = running[-1]
    before = [date for date in dates if date.start_ms < first]
    run_before = [date for date in before if date.running > 0][-1:]
    less = [date for date in before if not run_before or date.start_ms > run_before[0].start_ms]
    rest = [date for date in plain if date.start_ms > last.start_ms]
    cost = last.running + sum(one.running for one in run_before) + sum(one.rows for one in (*less, *rest))
    if cost >= sum(one.rows for one in plain):
        return Parts(_starts(plain), [], [], [])
    return Parts(_starts(rest), [last.start_ms], _starts(less), _starts(run_before))


def _starts(dates: Sequence[Date]) -> list[int]:
    return [date.start_ms for date in dates]


def sums(
    connection: Connection,
    account_id: int,
    range: Range,
    filters: Filters,
    by: Sequence[str] = ("requester",),
    figures: Sequence[str] = ALL,
    *,
    order: str = "requests",
    limit: int | None = None,
    names: Sequence[str] | None = None,
) -> dict[Key, Figures]:
    """Sums by "requester", "provider", both or neither, of one provider or requester where the filters name one.

    The first `limit`, the greatest of `order` (one of `figures`) first; only of `names`, where these are given.
    """
    if names is None and limit is not None and tuple(by) == ("requester",) and len(figures) > 1:
        # One figure of all requesters, then all figures of the greatest: most of the work is adding up.
        names = _greatest(connection, account_id, range, filters, order, limit)
    found = _added_up(connection, account_id, range, filters, by, figures, names)
    at = list(figures).index(order)
    ranked = sorted((-told[at], key) for key, told in found.items() if any(told))
    make = maker(figures)
    return {key: make(found[key]) for _, key in ranked[:limit]}


def _greatest(
    connection: Connection, account_id: int, range: Range, filters: Filters, order: str, limit: int
) -> list[str]:
    """The names of the requesters that are greatest by a figure."""
    figures = _EACH if order in _EACH else (order,)
    found, at = _added_up(connection, account_id, range, filters, ("requester",), figures), figures.index(order)
    return [name for _, name in nsmallest(limit, ((-told[at], name) for (name,), told in found.items()))]


class Each(NamedTuple):
    """What each requester of a range cost and how many requests of it reached a provider."""

    cost_nano: dict[str, int]
    requests: dict[str, int]

    @property
    def active(self) -> int:
        """How many that have a name sent a request to a provider."""
        return sum(bool(name) and requests > 0 for name, requests in self.requests.items())

    def dearest(self, number: int) -> list[str]:
        """Those that cost most."""
        return nsmallest(number, self.cost_nano, key=lambda name: (-self.cost_nano[name], name))


def each(connection: Connection, account_id: int, range: Range, filters: Filters) -> Each:
    """Every requester that had anything, refusals too."""
    found = _added_up(connection, account_id, range, filters, ("requester",), _EACH)
    had = Each({}, {})
    for (name,), (nano, requests, refused) in found.items():
        if nano or requests or refused:
            had.cost_nano[name] = nano
            had.requests[name] = requests
    return had


def count(connection: Connection, account_id: int, range: Range, filters: Filters) -> int:
    """How many requesters that have a name sent a request to a provider."""
    return each(connection, account_id, range, filters).active


def count_by_bucket(connection: Connection, account_id: int, range: Range) -> list[int]:
    """How many requesters each bucket of a range had."""
    fold = standing(connection, account_id, range.zone)
    found = {one.start_ms: one.requesters for one in dates_of(connection, account_id, fold, range)}
    starts = range.starts
    if range.hourly:
        hours = _count_each_hour(connection, account_id, fold, range)
        if hours.keys() <= set(starts):  # while totals are of another time zone, their hours begin at other minutes
            return [hours.get(start, 0) for start in starts]
    ends = [*starts[1:], range.to_ms]
    return [
        found[start]
        if start in found and end <= fold.folded_ms
        else _count_in_day(connection, account_id, start, fold.folded_ms, end)
        if start in found
        else _count_in_hours(connection, account_id, start, end)
        for start, end in zip(starts, ends, strict=True)
    ]


def _count_each_hour(connection: Connection, account_id: int, fold: Fold, range: Range) -> dict[int, int]:
    column = requester_hours.c

    def query(piece: Piece) -> Select[Any]:
        named = _named_in_hours(account_id, piece.from_ms, piece.to_ms)
        return select(column.start_ms, func.count(column.requester.distinct())).where(named).group_by(column.start_ms)

    found: dict[int, int] = {}
    for piece in pieces(fold, range):
        part = part_of(fold, piece.to_ms, ("number of requesters", piece), partial(query, piece))
        found.update(rows_of(connection, account_id, part))
    return found


def _count_in_hours(connection: Connection, account_id: int, from_ms: int, to_ms: int) -> int:
    query = select(func.count(requester_hours.c.requester.distinct()))
    return connection.execute(query.where(_named_in_hours(account_id, from_ms, to_ms))).scalar_one()


def _count_in_day(connection: Connection, account_id: int, day_ms: int, folded_ms: int, to_ms: int) -> int:
    """The same where hours that begin before `folded_ms` are in the day."""
    day = requester_days.c
    mine = (day.account_id == account_id) & (day.start_ms == day_ms) & (day.provider == EVERY_PROVIDER)
    folded = select(day.requester).where(mine, day.requester != "", day.requests > 0)
    rest = select(requester_hours.c.requester).where(_named_in_hours(account_id, folded_ms, to_ms))
    return connection.execute(select(func.count()).select_from(union(folded, rest).subquery())).scalar_one()


def _named_in_hours(account_id: int, from_ms: int, to_ms: int) -> ColumnElement[bool]:
    """Those with a name that sent a request to a provider."""
    column = requester_hours.c
    within = (column.start_ms >= from_ms) & (column.start_ms < to_ms) & (column.outcome != Outcome.REJECTED.value)
    return (column.account_id == account_id) & within & (column.requester != "")


def series(
    connection: Connection,
    account_id: int,
    range: Range,
    filters: Filters,
    names: Sequence[str],
    figures: Sequence[str],
) -> dict[Key, Figures]:
    """Sums of these requesters by (requester, start of the bucket)."""
    fold = standing(connection, account_id, range.zone)
    starts = range.starts
    by = ("requester", "start_ms")
    days = _first_and_rest(fold, range, dates_of(connection, account_id, fold, range))

    def of_hours(piece: Piece) -> Select[Any]:
        query = _hours(account_id, piece, filters, by, figures)
        return query.where(requester_hours.c.requester.in_(names))

    def of_days(days: Sequence[int]) -> Select[Any]:
        query = _sums_of(requester_days, account_id, days, filters, by, figures)
        return query.where(requester_days.c.requester.in_(names))

    key = ("requesters over time", filters, tuple(names), tuple(figures))
    asked = [
        part_of(fold, piece.to_ms, (*key, piece), partial(of_hours, piece))
        for piece in pieces(fold, range)
        if not piece.days
    ]
    asked += [part_of(fold, next_day(range.zone, some[-1]), (*key, *some), partial(of_days, some)) for some in days]
    found: dict[Key, Sequence[int]] = {}
    for part in asked:
        for name, start_ms, *told in rows_of(connection, account_id, part):
            add_to(found, (name, starts[bisect_right(starts, start_ms) - 1]), told)
    make = maker(figures)
    return {key: make(told) for key, told in found.items()}


def _first_and_rest(fold: Fold, range: Range, dates: Sequence[Date]) -> list[list[int]]:
    """The days of a range that are over, and the others, but none of no days."""
    border = over_ms(fold, range.zone, days=True)
    days = [date.start_ms for date in dates if date.start_ms >= range.from_ms]
    both = [day for day in days if day < border], [day for day in days if day >= border]
    return [some for some in both if some]


class _Part(NamedTuple):
    """Some of what adds up to a range: pieces of hours, and days."""

    hours: list[Piece]
    days: Parts


def _added_up(
    connection: Connection,
    account_id: int,
    range: Range,
    filters: Filters,
    by: Sequence[str],
    figures: Sequence[str],
    names: Sequence[str] | None = None,
) -> dict[Key, Sequence[int]]:
    """Sums by what is asked; `names`: only of these requesters."""
    fold = standing(connection, account_id, range.zone)
    found: dict[Key, Sequence[int]] = {}
    for part in _over_and_rest(connection, account_id, fold, range):
        ends = [piece.to_ms for piece in part.hours]
        ends += [next_day(range.zone, start) for starts in part.days for start in starts]
        if not ends:
            continue
        hours, days = tuple(part.hours), tuple(map(tuple, part.days))
        question = ("requesters", hours, days, filters, tuple(by), tuple(figures), None if names is None else (*names,))
        query = partial(_sum_up, account_id, part, filters, by, figures, names)
        rows = rows_of(connection, account_id, part_of(fold, max(ends), question, query))
        if by and not found:
            found = {row[: len(by)]: row[len(by) :] for row in rows}
            continue
        for row in rows:
            if any(row[len(by) :]):  # of no rows at all, perhaps
                add_to(found, row[: len(by)], row[len(by) :])
    return found


def _over_and_rest(connection: Connection, account_id: int, fold: Fold, range: Range) -> list[_Part]:
    """What adds up to a range: of hours and days that are over, and of the others."""
    hours = [piece for piece in pieces(fold, range) if not piece.days]
    days = parts_of(dates_of(connection, account_id, fold, range), whole_days(range)[0])
    last_hour, last_day = (over_ms(fold, range.zone, days=one) for one in (False, True))
    over = Parts(*([start for start in starts if start < last_day] for starts in days))
    rest = Parts(*([start for start in starts if start >= last_day] for starts in days))
    return [
        _Part([piece for piece in hours if piece.to_ms <= last_hour], over),
        _Part([piece for piece in hours if piece.to_ms > last_hour], rest),
    ]


def _sum_up(
    account_id: int,
    part: _Part,
    filters: Filters,
    by: Sequence[str],
    figures: Sequence[str],
    names: Sequence[str] | None,
) -> Select[Any]:
    """A part's sums."""
    asked = [_hours(account_id, piece, filters, by, figures) for piece in part.hours]
    for table, starts, sign in (
        (requester_days, part.days.days, 1),
        (requester_running, part.days.running, 1),
        (requester_days, part.days.less_days, -1),
        (requester_running, part.days.less_running, -1),
    ):
        if starts:
            asked.append(_sums_of(table, account_id, starts, filters, by, figures, sign))
    if names is not None:
        asked = [one.where(one.selected_columns.requester.in_(names)) for one in asked]
    both = union_all(*asked).subquery()
    keys = [both.c[name] for name in by]
    return select(*keys, *(func.sum(both.c[name]) for name in figures)).group_by(*keys)


def _hours(account_id: int, piece: Piece, filters: Filters, by: Sequence[str], figures: Sequence[str]) -> Select[Any]:
    column = requester_hours.c
    where = [column.account_id == account_id, *_named(column, filters)]
    if filters.requester and piece.to_ms - piece.from_ms <= _FEW_HOURS_MS:
        # Through each start that there may be and each provider: of a range, SQLite would walk through all requesters.
        where.append(column.start_ms.in_(quarters(piece)))
        if not filters.provider:
            where.append(column.provider.in_(_providers(account_id, piece)))
    else:
        where += [column.start_ms >= piece.from_ms, column.start_ms < piece.to_ms]
    columns = columns_of(requester_hours, tuple(by), tuple(figures))
    return select(*columns).where(*where).group_by(*columns[: len(by)])


def _providers(account_id: int, piece: Piece) -> Select[Any]:
    column = model_hours.c
    within = (column.start_ms >= piece.from_ms) & (column.start_ms < piece.to_ms)
    return select(column.provider).where(column.account_id == account_id, within).distinct()


def _sums_of(
    table: Table,
    account_id: int,
    starts: Sequence[int],
    filters: Filters,
    by: Sequence[str],
    figures: Sequence[str],
    sign: int = 1,
) -> Select[Any]:
    column = table.c
    where = [column.account_id == account_id, column.start_ms.in_(starts), *_named(column, filters)]
    if not filters.provider:
        every = column.provider == EVERY_PROVIDER
        where.append(~every if "provider" in by else every)
    return select(*_signed(table, tuple(by), tuple(figures), sign)).where(*where)


@lru_cache(maxsize=256)
def _signed(table: Table, by: tuple[str, ...], figures: tuple[str, ...], sign: int) -> tuple[ColumnElement[Any], ...]:
    """What to select of days: kept, for making it takes a while."""
    return (*(table.c[name] for name in by), *((sign * table.c[name]).label(name) for name in figures))


def _named(column: Any, filters: Filters) -> list[ColumnElement[bool]]:
    terms = []
    if filters.provider:
        terms.append(column.provider == filters.provider)
    if filters.requester:
        terms.append(column.requester == filters.requester)
    return terms
