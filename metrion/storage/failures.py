"""What the Errors page asks: how calls failed, at the provider or here, what was said, and the latest of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, func, literal_column, or_, select

from metrion.call import NOT_ERRORS, Outcome
from metrion.kit.ids import first_id
from metrion.storage.dashboard import Compared, Layer, compared, over_time
from metrion.storage.database import Connection
from metrion.storage.search import has_failed
from metrion.storage.tables import calls, error_days, error_hours
from metrion.storage.view import (
    Figures,
    Filters,
    Piece,
    Range,
    part_of,
    pieces,
    read,
    read_pairs,
    rows_of,
    standing,
)

LATEST = 50
MOST_LAYERS = 8
_LOOKED_AT = (200, 2000, 20_000)  # of those that did not end well or the requester's: more where few match


class Failure(NamedTuple):
    """Calls that failed alike. `message` without the numbers and ids that differ from call to call."""

    status: int
    outcome: str
    error_code: str  # Metrion's own
    message: str
    provider: str
    requests: int

    @property
    def own(self) -> bool:
        """Whether Metrion answered, not the provider: refusals, silence, broken connections."""
        return self.outcome != Outcome.PROVIDER_ERROR.value


class Errors(NamedTuple):
    """How calls failed. Lists with a value a bucket go with `starts`."""

    all: Compared
    starts: list[int]
    over_time: list[Figures]  # requests, refusals and errors
    by_status: list[Layer]  # over time, the most frequent first: "429", or "timeout" where no status came
    failures: list[Failure]  # the most frequent first
    failures_of_all: bool  # filters of models or a requester do not hold for `failures`: totals do not know these
    latest: Sequence[Row[Any]]


def errors(connection: Connection, account_id: int, range: Range, filters: Filters) -> Errors:
    """How the calls of a range failed."""
    counts = ("requests", "refused", "errors")
    return Errors(
        all=compared(connection, account_id, range, filters),
        starts=range.starts,
        over_time=over_time(connection, account_id, range, filters, counts),
        by_status=by_status(connection, account_id, range, filters),
        failures=failures(connection, account_id, range, filters),
        failures_of_all=bool(filters.models or filters.requester),
        latest=latest(connection, account_id, range, filters),
    )


def by_status(connection: Connection, account_id: int, range: Range, filters: Filters) -> list[Layer]:
    """Errors of each bucket by status; of a requester only by its class ("4xx")."""
    found: defaultdict[str, dict[int, int]] = defaultdict(dict)
    if filters.requester:
        for (start, one), told in read_pairs(
            connection, account_id, range, filters, ("start_ms", "class"), ("errors",)
        ).items():
            found[f"{one}xx" if one else "no answer"][start] = told.errors
    else:
        for (start, status, outcome), told in read(
            connection, account_id, range, filters, ("start_ms", "status", "outcome"), ("errors",)
        ).items():
            if told.errors:
                name = str(status) if outcome == Outcome.PROVIDER_ERROR.value and status else outcome
                found[name][start] = found[name].get(start, 0) + told.errors
    order = sorted(found, key=lambda name: (-sum(found[name].values()), name))
    starts = range.starts
    shown = [Layer(name, [found[name].get(start, 0) for start in starts]) for name in order[:MOST_LAYERS]]
    rest = [sum(found[name].get(start, 0) for name in order[MOST_LAYERS:]) for start in starts]
    return [*shown, Layer("", rest)] if any(rest) else shown


def failures(connection: Connection, account_id: int, range: Range, filters: Filters) -> list[Failure]:
    """Calls that failed or were refused, by what was said of it; only provider and status class filter them."""
    found: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    fold = standing(connection, account_id, range.zone)
    for piece in pieces(fold, range):
        question = ("failures", piece, filters.provider, filters.status)
        query = partial(_failures, account_id, piece, filters)
        for row in rows_of(connection, account_id, part_of(fold, piece.to_ms, question, query)):
            found[row[:-1]] += row[-1]
    alike = [Failure(*key, requests=requests) for key, requests in found.items() if requests]  # type: ignore[misc]
    return sorted(alike, key=lambda one: (-one.requests, one))


def _failures(account_id: int, piece: Piece, filters: Filters) -> Select[Any]:
    column = (error_days if piece.days else error_hours).c
    where = [column.account_id == account_id, column.start_ms >= piece.from_ms, column.start_ms < piece.to_ms]
    if filters.provider:
        where.append(column.provider == filters.provider)
    if filters.status is not None:
        where.append(column.status.between(100 * filters.status, 100 * filters.status + 99))
    keys = (column.status, column.outcome, column.error_code, column.message, column.provider)
    return select(*keys, func.sum(column.requests)).where(*where).group_by(*keys)


def latest(connection: Connection, account_id: int, range: Range, filters: Filters) -> Sequence[Row[Any]]:
    """The latest calls that failed or were refused, all columns, newest first; of those an index leads to at once."""
    ids, column = calls.c.request_id, calls.c
    near = [column.account_id == account_id, ids >= first_id(range.from_ms), ids < first_id(range.to_ms)]
    if filters.requester:  # each index's own words
        near += [column.requester == filters.requester, literal_column("calls.requester <> ''")]
    else:
        near.append(literal_column("calls.outcome <> 'ok'"))
    wanted = [column.account_id == account_id, or_(column.outcome.not_in(NOT_ERRORS), column.outcome == _REJECTED)]
    if filters.provider:
        wanted.append(column.provider == filters.provider)
    if filters.models:
        wanted.append(column.model.in_(filters.models))
    if filters.requester:
        wanted.append(column.requester == filters.requester)
    if filters.status is not None:
        wanted.append(column.status.between(100 * filters.status, 100 * filters.status + 99))
    found: Sequence[Row[Any]] = []
    for most in _LOOKED_AT:  # what is joined is sorted, all columns of it
        looked = select(ids).where(*near).order_by(ids.desc()).limit(most).subquery()
        if filters.requester:
            failed = has_failed(account_id, looked.c.request_id, filters.status)
            looked = select(looked.c.request_id).where(failed).subquery()
        query = select(calls).join(looked, looked.c.request_id == ids).where(*wanted).order_by(ids.desc()).limit(LATEST)
        found = connection.execute(query).all()
        if len(found) == LATEST:
            break
    return found


_REJECTED = Outcome.REJECTED.value
