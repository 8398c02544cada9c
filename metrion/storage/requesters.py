"""Requesters: what each used, from the sums that run through each month, and the pairs with models behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, CompoundSelect, Select, func, select, union_all

from metrion.call import Outcome
from metrion.kit.clock import DAY_MS
from metrion.storage.database import Connection
from metrion.storage.tables import requester_hours, requester_running, snapshots
from metrion.storage.totals import ALL as EVERY_PROVIDER
from metrion.storage.totals import Fold
from metrion.storage.view import ALL, Figures, Filters, Key, Piece, Range, add, pieces, standing, sum_of, whole_days

_LONGEST_RUN_MS = 32 * DAY_MS


class Snapshot(NamedTuple):
    """Sums at the end of a day that run since a month's beginning, and how many requesters the day had."""

    start_ms: int
    since_ms: int
    requesters: int


def snapshots_of(connection: Connection, account_id: int, fold: Fold, range: Range) -> list[Snapshot]:
    """Those of the whole days of a range, the oldest first, and of the month before them."""
    first, end = whole_days(range)
    if range.hourly or fold.folded_ms == 0 or first >= end:
        return []
    column = snapshots.c
    within = (column.start_ms >= first - _LONGEST_RUN_MS) & (column.start_ms < end)
    query = select(column.start_ms, column.since_ms, column.requesters).where(column.account_id == account_id, within)
    found = [Snapshot(*row) for row in connection.execute(query.order_by(column.start_ms))]
    since = next((one.since_ms for one in found if one.start_ms >= first), None)
    return [] if since is None else [one for one in found if one.since_ms >= since]


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
) -> dict[Key, Figures]:
    """Sums by "requester", "provider", both or neither, of one provider or requester where the filters name one.

    The first `limit`, the greatest of `order` (one of `figures`) first.
    """
    both = _everything(connection, account_id, range, filters, by, figures).subquery()
    keys = [both.c[name] for name in by]
    columns = [func.sum(both.c[name]).label(name) for name in figures]
    query = select(*keys, *columns).group_by(*keys).order_by(columns[list(figures).index(order)].desc(), *keys)
    found: dict[Key, Figures] = {}
    for row in connection.execute(query.limit(limit)):
        told = row[len(by) :]
        if any(told):
            found[tuple(row[: len(by)])] = _figures(figures, told)
    return found


def count(connection: Connection, account_id: int, range: Range, filters: Filters) -> int:
    """How many requesters that have a name sent a request to a provider."""
    both = _everything(connection, account_id, range, filters, ("requester",), ("requests",)).subquery()
    named = select(both.c.requester).where(both.c.requester != "").group_by(both.c.requester)
    active = named.having(func.sum(both.c.requests) > 0).subquery()
    return connection.execute(select(func.count()).select_from(active)).scalar_one()


def count_by_bucket(connection: Connection, account_id: int, range: Range) -> list[int]:
    """How many requesters each bucket of a range had."""
    fold = standing(connection, account_id, range.zone)
    found = {one.start_ms: one.requesters for one in snapshots_of(connection, account_id, fold, range)}
    starts = range.starts
    ends = [*starts[1:], range.to_ms]
    return [
        found[start]
        if start in found and end <= fold.folded_ms
        else _count_in_hours(connection, account_id, start, end)
        for start, end in zip(starts, ends, strict=True)
    ]


def _count_in_hours(connection: Connection, account_id: int, from_ms: int, to_ms: int) -> int:
    column = requester_hours.c
    within = (column.start_ms >= from_ms) & (column.start_ms < to_ms) & (column.outcome != Outcome.REJECTED.value)
    named = (column.account_id == account_id) & within & (column.requester != "")
    query = select(func.count(column.requester.distinct())).where(named)
    return connection.execute(query).scalar_one()


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
    found: defaultdict[Key, Figures] = defaultdict(Figures)
    by = ("requester", "start_ms")
    for piece in pieces(fold, range):
        if not piece.days:
            query = _hours(account_id, piece, filters, by, figures).where(requester_hours.c.requester.in_(names))
            for name, start_ms, *told in connection.execute(query):
                bucket = max(start for start in starts if start <= start_ms)
                found[name, bucket] = add(found[name, bucket], _figures(figures, told))
    shots = snapshots_of(connection, account_id, fold, range)
    if shots:
        first = whole_days(range)[0]
        running = _running(account_id, [one.start_ms for one in shots], filters, by, figures)
        rows = connection.execute(running.where(requester_running.c.requester.in_(names)))
        told_at = {(name, start_ms): _figures(figures, told) for name, start_ms, *told in rows}
        for name in names:
            before: dict[int, Figures] = {}  # by run
            for shot in shots:
                now = told_at.get((name, shot.start_ms), Figures())
                if shot.start_ms >= first:
                    day = add(now, before.get(shot.since_ms, Figures()), -1)
                    found[name, shot.start_ms] = add(found[name, shot.start_ms], day)
                before[shot.since_ms] = now
    return dict(found)


def _figures(names: Sequence[str], told: Sequence[Any]) -> Figures:
    return Figures()._replace(**dict(zip(names, told, strict=True)))


def _everything(
    connection: Connection, account_id: int, range: Range, filters: Filters, by: Sequence[str], figures: Sequence[str]
) -> Select[Any] | CompoundSelect[Any]:
    """Rows whose sums are those of the range."""
    fold = standing(connection, account_id, range.zone)
    asked = [_hours(account_id, piece, filters, by, figures) for piece in pieces(fold, range) if not piece.days]
    shots = snapshots_of(connection, account_id, fold, range)
    first = whole_days(range)[0]
    # The last of each run holds all of it; what had run before the range is taken off.
    plus = {one.since_ms: one.start_ms for one in shots if one.start_ms >= first}
    minus = {one.since_ms: one.start_ms for one in shots if one.start_ms < first}
    if plus:
        asked.append(_running(account_id, list(plus.values()), filters, by, figures))
    if minus:
        asked.append(_running(account_id, list(minus.values()), filters, by, figures, sign=-1))
    return union_all(*asked) if asked else _hours(account_id, Piece(False, 0, 0), filters, by, figures)


def _hours(account_id: int, piece: Piece, filters: Filters, by: Sequence[str], figures: Sequence[str]) -> Select[Any]:
    column = requester_hours.c
    where = [column.account_id == account_id, column.start_ms >= piece.from_ms, column.start_ms < piece.to_ms]
    where += _named(column, filters)
    keys = [column[name] for name in by]
    return select(*keys, *(sum_of(requester_hours, name).label(name) for name in figures)).where(*where).group_by(*keys)


def _running(
    account_id: int,
    starts: Sequence[int],
    filters: Filters,
    by: Sequence[str],
    figures: Sequence[str],
    sign: int = 1,
) -> Select[Any]:
    column = requester_running.c
    where = [column.account_id == account_id, column.start_ms.in_(starts), *_named(column, filters)]
    if not filters.provider:
        every = column.provider == EVERY_PROVIDER
        where.append(~every if "provider" in by else every)
    return select(*(column[name] for name in by), *((sign * column[name]).label(name) for name in figures)).where(
        *where
    )


def _named(column: Any, filters: Filters) -> list[ColumnElement[bool]]:
    terms = []
    if filters.provider:
        terms.append(column.provider == filters.provider)
    if filters.requester:
        terms.append(column.requester == filters.requester)
    return terms
