"""The log: an account's calls, filtered and found, a page at a time.

Pages go by key, never by number, so that the last is as quick as the first. Nothing looks at more than so many rows:
where these hold too few matches, a page is shorter and says how far it looked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Row, Select, Subquery, and_, func, literal_column, or_, select

from metrion.kit.ids import first_id
from metrion.storage.database import Connection
from metrion.storage.reports import call_query
from metrion.storage.tables import calls, top_days, top_hours

PAGE = 50
COUNTED = 10_000  # matches; beyond, "10,000+"
SORTED = 100_000  # rows that are sorted; beyond, the greatest of each day are
TOPS = 100
_LOOKED = 20_000  # rows one page looks at
_FEW = 200
_ID_PREFIX = re.compile(r"[0-9a-f]{6,32}")
Sort = Literal["time", "cost", "latency", "tokens"]

_VALUES: dict[str, ColumnElement[Any]] = {
    "cost": calls.c.cost_nano,
    "latency": calls.c.latency_us,
    "tokens": calls.c.input_tokens + calls.c.output_tokens,
}
_COLUMNS = (
    "request_id",
    "started_ms",
    "provider",
    "endpoint",
    "model",
    "requested_model",
    "requester",
    "stream",
    "status",
    "outcome",
    "error_message",
    "input_tokens",
    "output_tokens",
    "cost_nano",
    "cost_source",
    "latency_us",
)


class Wanted(msgspec.Struct, frozen=True):
    """Which calls: of [from_ms, to_ms) in Unix ms, that match everything that is not empty."""

    from_ms: int
    to_ms: int
    provider: str = ""
    models: tuple[str, ...] = ()
    requester: str = ""
    status: int | None = None  # the first digit; 0: no answer came
    stream: bool | None = None
    text: str = ""  # a part of the model's or the requester's name, or the beginning of the request's id


class Found(NamedTuple):
    """A page of the log, newest first. `more`: whether older ones may follow behind `last`, the last row looked at."""

    rows: Sequence[Row[Any]]
    more: bool
    last: bytes


class Count(NamedTuple):
    """How many match; `more`: at least."""

    number: int
    more: bool


def find(connection: Connection, account_id: int, wanted: Wanted, *, before: bytes | None = None) -> Found:
    """The newest calls that match, older than the one of id `before`."""
    rows = _rows(connection, account_id, wanted, PAGE + 1, before=before)
    if len(rows) > PAGE:
        return Found(rows[:PAGE], True, rows[PAGE - 1].request_id)
    last = _last_looked_at(connection, account_id, wanted, _LOOKED, before=before)
    return Found(rows, last is not None, last or (rows[-1].request_id if rows else b""))


def find_newer(connection: Connection, account_id: int, wanted: Wanted, after: bytes) -> Found:
    """The page before: the oldest calls that match and are newer than the one of id `after`, newest first."""
    rows = list(reversed(_rows(connection, account_id, wanted, PAGE, after=after)))
    return Found(rows, bool(rows), rows[-1].request_id if rows else b"")


def count(connection: Connection, account_id: int, wanted: Wanted) -> Count:
    """How many calls match, counted up to 10,000 and not beyond the rows a page looks at."""
    filters = _filters(calls.c, wanted)
    looked = _looked_at(account_id, wanted, _LOOKED, columns=_named_in(wanted))
    inner = _matches(looked, wanted).with_only_columns(looked.c.request_id).limit(COUNTED + 1).subquery()
    number = int(connection.execute(select(func.count()).select_from(inner)).scalar_one())
    if number > COUNTED:
        return Count(COUNTED, True)
    return Count(number, bool(filters) and _last_looked_at(connection, account_id, wanted, _LOOKED) is not None)


def find_greatest(connection: Connection, account_id: int, wanted: Wanted, sort: Sort, page: int) -> Found:
    """The page of that number (from 0) by cost, latency or tokens, the greatest first.

    Beyond 100,000 rows in the range these are the greatest 100 of it, as far as they match.
    """
    value = _VALUES[sort]
    if _last_looked_at(connection, account_id, wanted, SORTED + 1) is None:
        query = _select(account_id, wanted)
    else:
        tops = _tops(connection, account_id, wanted, sort)
        if not tops:
            return Found([], False, b"")
        query = _select(account_id, wanted).where(calls.c.request_id.in_(tops))
    query = query.where(value.is_not(None)).order_by(value.desc(), calls.c.request_id.desc())
    rows = connection.execute(query.offset(page * PAGE).limit(PAGE + 1)).all()
    return Found(rows[:PAGE], len(rows) > PAGE, b"")


def _tops(connection: Connection, account_id: int, wanted: Wanted, sort: Sort) -> list[bytes]:
    """The greatest calls of the range, from the greatest of each of its hours and days."""
    first, end = first_id(wanted.from_ms), first_id(wanted.to_ms)
    found: dict[bytes, int] = {}
    for table in (top_days, top_hours):
        of = table.c
        query = select(of.request_id, of.value).where(
            of.account_id == account_id, of.measure == sort, of.request_id >= first, of.request_id < end
        )
        found |= {row.request_id: row.value for row in connection.execute(query)}
    return sorted(found, key=found.__getitem__, reverse=True)[:TOPS]


def find_older_first(
    connection: Connection, account_id: int, wanted: Wanted, after: bytes | None, limit: int
) -> Sequence[Row[Any]]:
    """The oldest calls that match, behind the one of id `after`, with all their columns; `limit` of them."""
    query = call_query().where(*_range(account_id, wanted, after=after), *_filters(calls.c, wanted))
    return connection.execute(query.order_by(calls.c.request_id).limit(limit)).all()


def get(connection: Connection, account_id: int, request_id: bytes, since_ms: int) -> Row[Any] | None:
    """A call with all its columns; None where the account has no such one that began at `since_ms` or later."""
    ids = calls.c.request_id
    query = call_query().where(calls.c.account_id == account_id, ids == request_id, ids >= first_id(since_ms))
    return connection.execute(query).one_or_none()


# ── how rows are come by ──────────────────────────────────────────────────────────────────────────────────────────────


def _range(
    account_id: int, wanted: Wanted, before: bytes | None = None, after: bytes | None = None
) -> list[ColumnElement[bool]]:
    """The one range of ids; of several bounds SQLite would look for one and walk through the rest."""
    first, end = first_id(wanted.from_ms), first_id(wanted.to_ms)
    if after is not None:
        first = max(first, _next(after))
    if before is not None:
        end = min(end, before)
    if prefix := _id_prefix(wanted):
        first = max(first, bytes.fromhex(prefix.ljust(32, "0")))
        end = min(end, _next(bytes.fromhex(prefix.ljust(32, "f"))))
    ids = calls.c.request_id
    return [calls.c.account_id == account_id, ids >= first, ids < end]


def _next(request_id: bytes) -> bytes:
    return (int.from_bytes(request_id, "big") + 1).to_bytes(len(request_id) + 1, "big")[1:]


def _id_prefix(wanted: Wanted) -> str:
    """What was typed, where it can only be the beginning of an id: ids begin with the time, in hex digits."""
    text = wanted.text.strip().lower()
    return text if _ID_PREFIX.fullmatch(text) and text.startswith("0") else ""


def _indexed(wanted: Wanted) -> list[ColumnElement[bool]]:
    """What an index leads to; it needs the condition that it was made with, word for word."""
    if wanted.requester:
        return [literal_column("calls.requester <> ''"), calls.c.requester == wanted.requester]
    if wanted.status in (0, 3, 4, 5):
        return [literal_column("calls.outcome <> 'ok'")]
    return []


def _looked_at(
    account_id: int,
    wanted: Wanted,
    most: int,
    *,
    before: bytes | None = None,
    after: bytes | None = None,
    columns: Sequence[str] = _COLUMNS,
) -> Subquery:
    """The rows that are looked at: the newest of the range, or those next to an id; `most` of them."""
    ids = calls.c.request_id
    query = select(*(calls.c[name] for name in columns)).where(*_range(account_id, wanted, before, after))
    query = query.where(*_indexed(wanted)).order_by(ids if after is not None else ids.desc())
    return query.limit(most).subquery("looked")


def _last_looked_at(
    connection: Connection, account_id: int, wanted: Wanted, most: int, before: bytes | None = None
) -> bytes | None:
    """The id where looking at `most` rows ended; None where the range ended before."""
    looked = _looked_at(account_id, wanted, most, before=before, columns=("request_id",))
    found: bytes | None = connection.execute(select(looked.c.request_id).offset(most - 1).limit(1)).scalar()
    return found


def _named_in(wanted: Wanted) -> tuple[str, ...]:
    """The columns that its filters look at: with no others an index may hold all of them."""
    if wanted.text.strip():
        return ("request_id", "provider", "model", "requested_model", "requester", "status", "stream")
    asked = {
        "provider": wanted.provider,
        "model": wanted.models,
        "requester": wanted.requester,
        "status": wanted.status is not None,
        "stream": wanted.stream is not None,
    }
    return ("request_id", *(name for name, value in asked.items() if value))


def _matches(looked: Subquery, wanted: Wanted) -> Select[Any]:
    return select(looked).where(*_filters(looked.c, wanted))


def _rows(
    connection: Connection,
    account_id: int,
    wanted: Wanted,
    limit: int,
    before: bytes | None = None,
    after: bytes | None = None,
) -> list[Row[Any]]:
    """The first `limit` rows that match, in the order they are looked at, with the log's columns."""
    if not _indexed(wanted):
        looked = _looked_at(account_id, wanted, _LOOKED, before=before, after=after)
        return list(connection.execute(_matches(looked, wanted).limit(limit)))
    # Ids out of the index first: asked for all columns at once, SQLite walks through the whole range instead. It sorts
    # what it joins, so few are taken before many.
    rows: list[Row[Any]] = []
    for most in (_FEW, _LOOKED):
        looked = _looked_at(account_id, wanted, most, before=before, after=after, columns=("request_id",))
        same = (calls.c.account_id == account_id) & (calls.c.request_id == looked.c.request_id)
        query = select(*(calls.c[name] for name in _COLUMNS)).select_from(looked.join(calls, same))
        ids = looked.c.request_id
        query = query.where(*_filters(calls.c, wanted)).order_by(ids if after is not None else ids.desc())
        rows = list(connection.execute(query.limit(limit)))
        if len(rows) == limit:
            break
    return rows


def _select(account_id: int, wanted: Wanted) -> Select[Any]:
    columns = (calls.c[name] for name in _COLUMNS)
    return select(*columns).where(*_range(account_id, wanted), *_filters(calls.c, wanted))


def _filters(of: Any, wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.provider:
        found.append(of.provider == wanted.provider)
    if wanted.models:
        found.append(of.model.in_(wanted.models))
    if wanted.requester:
        found.append(of.requester == wanted.requester)
    if wanted.status == 0:
        found.append(of.status == 0)
    elif wanted.status is not None:
        found.append(and_(of.status >= wanted.status * 100, of.status < wanted.status * 100 + 100))
    if wanted.stream is not None:
        found.append(of.stream == int(wanted.stream))
    if wanted.text.strip() and not _id_prefix(wanted):
        part = wanted.text.strip()
        names = (of.model, of.requested_model, of.requester)
        found.append(or_(*(name.icontains(part, autoescape=True) for name in names)))
    return found
