"""The log: an account's calls, filtered and found, a page at a time.

Pages go by key, never by number, so that the last is as quick as the first. Nothing looks at more than so many rows:
where these hold too few matches, a page is shorter and says how far it looked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Row, Select, Subquery, and_, func, literal_column, null, or_, select

from metrion.call import Outcome
from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.kit.ids import first_id
from metrion.kit.zones import day_start, hour_start
from metrion.storage.database import Connection
from metrion.storage.folding import next_row
from metrion.storage.memory import remembered
from metrion.storage.reports import call_query
from metrion.storage.tables import calls, names, recent_tops, top_days
from metrion.storage.totals import MOST_NAMES, find_folds
from metrion.storage.view import Filters, Range, read

PAGE = 50
COUNTED = 10_000  # matches; beyond, "10,000+"
SORTED = 100_000  # rows that are sorted; beyond, the greatest of each day are
TOPS = 100
_LOOKED = 20_000  # rows one page looks at
_LOOKED_FEW = 8000  # those that a short list does, or a number
_FEW, _MORE = 200, 2000  # the same by an index, before as many as that
_UNWELL = (0, 4, 5)  # classes of a status that no call which ended well has
_OF_INDEX = 2  # columns that an index tells: the id, and what it is of
_LONGEST_DAY_MS = 2 * DAY_MS  # whatever its time zone does with its clocks
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
    """A page of the log, newest first.

    `older`, `newer`: the ids that the pages next to it begin behind and end in front of; None where none is.
    """

    rows: Sequence[Row[Any]]
    older: bytes | None = None
    newer: bytes | None = None


class Greatest(NamedTuple):
    """A page of the greatest calls. `more`: another follows; `of_tops`: only the greatest 100 were looked at."""

    rows: Sequence[Row[Any]]
    more: bool
    of_tops: bool


class Few(NamedTuple):
    """The greatest calls of all that match, or where `latest` is a number of so many that were looked at first."""

    rows: Sequence[Row[Any]]
    latest: int = 0


class Step(NamedTuple):
    """Some calls of many, in the order asked for. `after`: the id to go on behind; None at the end."""

    rows: Sequence[Row[Any]]
    after: bytes | None


class Count(NamedTuple):
    """How many match; `more`: at least."""

    number: int
    more: bool


def find(connection: Connection, account_id: int, wanted: Wanted, *, before: bytes | None = None) -> Found:
    """The newest calls that match, older than the one of id `before`."""
    rows = _rows(connection, account_id, wanted, PAGE + 1, before=before)
    newer = None if before is None else rows[0].request_id if rows else _beside(before, -1)
    if len(rows) > PAGE:
        return Found(rows[:PAGE], rows[PAGE - 1].request_id, newer)
    return Found(rows, _last_looked_at(connection, account_id, wanted, _LOOKED, before=before), newer)


def find_newer(connection: Connection, account_id: int, wanted: Wanted, after: bytes) -> Found:
    """The page before: the oldest calls that match and are newer than the one of id `after`, newest first."""
    rows = _rows(connection, account_id, wanted, PAGE + 1, after=after)
    older = rows[0].request_id if rows else _beside(after, 1)
    newer = rows[PAGE - 1].request_id if len(rows) > PAGE else None
    if newer is None:
        newer = _last_looked_at(connection, account_id, wanted, _LOOKED, after=after)
    return Found(list(reversed(rows[:PAGE])), older, newer)


def count(connection: Connection, account_id: int, wanted: Wanted) -> Count:
    """How many calls match: by totals where these can tell, else at most 10,000, of the rows that a page looks at."""
    filters = _filters(calls.c, wanted)
    most = _LOOKED
    if _indexed(wanted) and len(_named_in(wanted)) > _OF_INDEX:  # ids out of the index first, as for rows
        most = _LOOKED_FEW  # each is looked up, and no row of them is shown
        looked = _looked_in_index(account_id, wanted, most)
        same = (calls.c.account_id == account_id) & (calls.c.request_id == looked.c.request_id)
        matching = select(calls.c.request_id).join(looked, same).where(*filters)
    else:
        looked = _looked_at(account_id, wanted, _LOOKED, columns=_named_in(wanted))
        matching = _matches(looked, wanted).with_only_columns(looked.c.request_id)
    inner = matching.limit(COUNTED + 1).subquery()
    number = int(connection.execute(select(func.count()).select_from(inner)).scalar_one())
    more = number > COUNTED
    if not more:
        more = bool(filters) and _last_looked_at(connection, account_id, wanted, most) is not None
    if not more:
        return Count(number, False)
    return _count_by_totals(connection, account_id, wanted) or Count(min(number, COUNTED), True)


def _count_by_totals(connection: Connection, account_id: int, wanted: Wanted) -> Count | None:
    """How many calls match; None where totals cannot tell: their hours are not those asked for, or hold other names."""
    fold = find_folds(connection, [account_id])[account_id]
    whole = all(hour_start(fold.time_zone, ms) == ms for ms in (wanted.from_ms, wanted.to_ms))
    if wanted.text.strip() or wanted.stream is not None or wanted.requester or not whole or fold.old_zone is not None:
        return None
    if wanted.models and _has_other_models(connection, account_id):
        return None
    hours = Range(fold.time_zone, wanted.from_ms, wanted.to_ms, hourly=bool(fold.clearing), now_ms=wanted.to_ms)
    asked = Filters(wanted.provider, wanted.models, status=wanted.status)
    sums = read(connection, account_id, hours, asked, figures=("requests", "refused")).values()
    number, refused = sum(one.requests for one in sums), sum(one.refused for one in sums)
    if refused:  # by the thousand, only totals tell of them: then the log has fewer
        failed: tuple[ColumnElement[bool], ...] = (
            literal_column("calls.outcome <> 'ok'"),
            calls.c.outcome == Outcome.REJECTED.value,
        )
        some = _select(account_id, wanted).where(*failed).with_only_columns(calls.c.request_id).limit(COUNTED + 1)
        refused = int(connection.execute(select(func.count()).select_from(some.subquery())).scalar_one())
    return Count(number + min(refused, COUNTED), refused > COUNTED)


def _has_other_models(connection: Connection, account_id: int) -> bool:
    """Whether totals count some of the account's models as "(other)"."""
    mine = (names.c.account_id == account_id) & (names.c.kind == "model")
    full = select(names.c.month).where(mine).group_by(names.c.month).having(func.count() >= MOST_NAMES["model"])
    return connection.execute(full.limit(1)).first() is not None


def find_greatest(connection: Connection, account_id: int, wanted: Wanted, sort: Sort, page: int) -> Greatest:
    """The page of that number (from 0) by cost, latency or tokens, the greatest first.

    Beyond 100,000 rows in the range these are the greatest 100 of it, as far as they match.
    """
    of_tops = _has_many(connection, account_id, wanted)
    tops = _tops(connection, account_id, wanted, sort) if of_tops or not (page or _is_filtered(wanted)) else []
    if not of_tops and len(tops) > PAGE:  # the first page is among them
        return Greatest(_these(connection, account_id, tops[:PAGE], sort), True, False)
    value, ids = _VALUES[sort], calls.c.request_id
    query = select(ids).where(*_filters(calls.c, wanted), value.is_not(None))
    if of_tops:  # with the range beside its ids, SQLite would walk through the range
        query = query.where(calls.c.account_id == account_id, ids.in_(tops))
    elif _indexed(wanted):  # as it would beside an index
        looked = _looked_in_index(account_id, wanted, SORTED)
        query = query.join(looked, (calls.c.account_id == account_id) & (ids == looked.c.request_id))
    else:
        query = query.where(*_range(account_id, wanted))
    ordered = query.order_by(value.desc(), ids.desc()).offset(page * PAGE).limit(PAGE + 1)
    found = list(connection.execute(ordered).scalars())
    return Greatest(_these(connection, account_id, found[:PAGE], sort), len(found) > PAGE, of_tops)


def find_few_greatest(connection: Connection, account_id: int, wanted: Wanted, sort: Sort, number: int) -> Few:
    """The greatest by cost, latency or tokens, for a list beside other figures: at most `number`, the greatest first.

    Of a requester or a failure only the latest rows are looked at, and the greatest of each day.
    """
    if not _is_filtered(wanted):
        tops = _tops(connection, account_id, wanted, sort)[:number]
        if len(tops) == number:
            return Few(_these(connection, account_id, tops, sort))
    if not _indexed(wanted):
        return Few(find_greatest(connection, account_id, wanted, sort, 0).rows[:number])
    rows = remembered(
        connection,
        account_id,
        ("few greatest", wanted, sort, number),
        wanted.to_ms,
        lambda: [tuple(_few_greatest(connection, account_id, wanted, sort, number))],
    )
    return Few(*rows[0])


def _few_greatest(connection: Connection, account_id: int, wanted: Wanted, sort: Sort, number: int) -> Few:
    """The same where an index leads to them."""
    value, ids = _VALUES[sort], calls.c.request_id
    looked = _looked_in_index(account_id, wanted, _LOOKED_FEW)
    query = select(ids, value.label("value")).where(calls.c.account_id == account_id, *_filters(calls.c, wanted))
    ordered = (value.desc(), ids.desc())
    latest = query.join(looked, ids == looked.c.request_id).where(value.is_not(None))
    found = {row.request_id: row.value for row in connection.execute(latest.order_by(*ordered).limit(number))}
    more = _last_looked_at(connection, account_id, wanted, _LOOKED_FEW) is not None
    if more:
        of_days = query.where(ids.in_(_tops(connection, account_id, wanted, sort)))
        found |= {row.request_id: row.value for row in connection.execute(of_days)}
    greatest = sorted(found, key=lambda request_id: (found[request_id], request_id), reverse=True)[:number]
    return Few(_these(connection, account_id, greatest, sort), _LOOKED_FEW if more else 0)


def _these(connection: Connection, account_id: int, ids: Sequence[bytes], sort: Sort) -> Sequence[Row[Any]]:
    """The calls of these ids, the greatest first."""
    query = select(*(calls.c[name] for name in _COLUMNS))
    query = query.where(calls.c.account_id == account_id, calls.c.request_id.in_(ids))
    return connection.execute(query.order_by(_VALUES[sort].desc(), calls.c.request_id.desc())).all()


def _is_filtered(wanted: Wanted) -> bool:
    return bool(_filters(calls.c, wanted)) or bool(_id_prefix(wanted))


def _has_many(connection: Connection, account_id: int, wanted: Wanted) -> bool:
    """Whether more than SORTED rows would be looked at: by totals where these can tell, else by counting."""
    if not _indexed(wanted) and not _id_prefix(wanted):
        first = next_row(connection, account_id, wanted.from_ms)
        fold = find_folds(connection, [account_id])[account_id]
        # Totals also tell of rows that are deleted, which are older than any that is there.
        since = wanted.from_ms if first is None else max(wanted.from_ms, hour_start(fold.time_zone, first) + HOUR_MS)
        counted = _count_by_totals(connection, account_id, Wanted(since, max(wanted.to_ms, since)))
        if counted is not None and counted.number > SORTED:
            return True
    return _last_looked_at(connection, account_id, wanted, SORTED + 1) is not None


def _tops(connection: Connection, account_id: int, wanted: Wanted, sort: Sort) -> list[bytes]:
    """The greatest calls of the range: from those of its days, of the quarters of an hour around them, and the rest."""
    fold = find_folds(connection, [account_id])[account_id]
    first, end = first_id(wanted.from_ms), first_id(wanted.to_ms)
    whole = all(day_start(fold.time_zone, ms) == ms for ms in (wanted.from_ms, wanted.to_ms))
    found: dict[bytes, int] = {}
    for table in (top_days,) if whole else (top_days, recent_tops):
        of = table.c
        mine = (of.account_id == account_id) & (of.measure == sort)
        mine &= (of.start_ms > wanted.from_ms - _LONGEST_DAY_MS) & (of.start_ms < wanted.to_ms)
        query = select(of.request_id, of.value).where(mine, of.request_id >= first, of.request_id < end)
        query = query.order_by(of.value.desc(), of.request_id.desc()).limit(TOPS)
        found |= {row.request_id: row.value for row in connection.execute(query)}
    latest = msgspec.structs.replace(wanted, from_ms=max(wanted.from_ms, fold.paired_ms))
    value, ids = _VALUES[sort], calls.c.request_id
    query = select(ids, value.label("value")).where(*_range(account_id, latest), value > 0)
    query = query.order_by(value.desc(), ids.desc()).limit(TOPS)
    found |= {row.request_id: row.value for row in connection.execute(query)}
    return sorted(found, key=lambda request_id: (found[request_id], request_id), reverse=True)[:TOPS]


def find_older_first(connection: Connection, account_id: int, wanted: Wanted, after: bytes, limit: int) -> Step:
    """The oldest calls that match, behind the one of id `after`, but for usage objects; at most `limit`."""
    ids = _rows(connection, account_id, wanted, limit, after=after, columns=("request_id",))
    if not ids:
        return Step([], _last_looked_at(connection, account_id, wanted, _LOOKED, after=after))
    return Step(_whole(connection, account_id, wanted, ids[0].request_id, ids[-1].request_id), ids[-1].request_id)


def find_newest_first(
    connection: Connection, account_id: int, wanted: Wanted, before: bytes | None, limit: int
) -> Step:
    """The newest calls that match, older than the one of id `before`, but for usage objects; at most `limit`."""
    ids = _rows(connection, account_id, wanted, limit, before=before, columns=("request_id",))
    if not ids:
        return Step([], _last_looked_at(connection, account_id, wanted, _LOOKED, before=before))
    rows = _whole(connection, account_id, wanted, ids[-1].request_id, ids[0].request_id)
    return Step(list(reversed(rows)), ids[-1].request_id)


def _whole(connection: Connection, account_id: int, wanted: Wanted, first: bytes, last: bytes) -> Sequence[Row[Any]]:
    """The calls that match from one id to another, oldest first, but for their usage objects, which may be large."""
    of = calls.c.request_id
    query = call_query()
    columns = (null().label(one.name) if one.name == "usage_raw" else one for one in query.selected_columns)
    query = query.with_only_columns(*columns).where(calls.c.account_id == account_id, of >= first, of <= last)
    return connection.execute(query.where(*_filters(calls.c, wanted)).order_by(of)).all()


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
        first = max(first, _beside(after, 1))
    if before is not None:
        end = min(end, before)
    if prefix := _id_prefix(wanted):
        first = max(first, bytes.fromhex(prefix.ljust(32, "0")))
        end = min(end, _beside(bytes.fromhex(prefix.ljust(32, "f")), 1))
    ids = calls.c.request_id
    return [calls.c.account_id == account_id, ids >= first, ids < end]


def _beside(request_id: bytes, step: int) -> bytes:
    """The next id (1) or the one before (-1); of the last and the first, themselves."""
    number = int.from_bytes(request_id, "big") + step
    return min(max(number, 0), 2**128 - 1).to_bytes(16, "big")


def _id_prefix(wanted: Wanted) -> str:
    """What was typed, where it can only be the beginning of an id: ids begin with the time, in hex digits."""
    text = wanted.text.strip().lower()
    return text if _ID_PREFIX.fullmatch(text) and text.startswith("0") else ""


def _indexed(wanted: Wanted) -> list[ColumnElement[bool]]:
    """What an index leads to; it needs the condition that it was made with, word for word."""
    if wanted.requester:
        return [literal_column("calls.requester <> ''"), calls.c.requester == wanted.requester]
    if wanted.status in _UNWELL:
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


def _looked_in_index(
    account_id: int, wanted: Wanted, most: int, *, before: bytes | None = None, after: bytes | None = None
) -> Subquery:
    """The ids of the rows that the index leads to, but of those that by an index do not match."""
    columns = ("request_id",) if wanted.requester else ("request_id", "status")  # that the index holds
    looked = _looked_at(account_id, wanted, most, before=before, after=after, columns=columns)
    ids = looked.c.request_id
    if not wanted.requester:
        return select(ids).where(*_of_status(looked.c, wanted)).subquery("matching")
    if wanted.status in _UNWELL:
        return select(ids).where(has_failed(account_id, ids, wanted.status)).subquery("matching")
    return looked


def has_failed(account_id: int, ids: ColumnElement[bytes], status: int | None = None) -> ColumnElement[bool]:
    """Whether a call is in the index of those that did not end well, with that class of its status if one is given."""
    failed = calls.alias("failed")
    # A range of one id: by the id alone, SQLite would look up the row.
    same = (failed.c.account_id == account_id) & (failed.c.request_id >= ids) & (failed.c.request_id <= ids)
    terms = [same, literal_column("failed.outcome <> 'ok'")]
    if status is not None:
        terms.append(failed.c.status.between(100 * status, 100 * status + 99))
    return select(failed.c.status).where(*terms).exists()


def _last_looked_at(
    connection: Connection,
    account_id: int,
    wanted: Wanted,
    most: int,
    *,
    before: bytes | None = None,
    after: bytes | None = None,
) -> bytes | None:
    """The id where looking at `most` rows ended; None where the range ended before."""
    looked = _looked_at(account_id, wanted, most, before=before, after=after, columns=("request_id",))
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
    columns: Sequence[str] = _COLUMNS,
) -> list[Row[Any]]:
    """The first `limit` rows that match, in the order they are looked at."""
    if not _indexed(wanted):
        needed = tuple(dict.fromkeys((*columns, *_named_in(wanted))))
        looked = _looked_at(account_id, wanted, _LOOKED, before=before, after=after, columns=needed)
        return list(connection.execute(_matches(looked, wanted).limit(limit)))
    # Ids out of the index first: asked for all columns at once, SQLite walks through the whole range instead. It sorts
    # what it joins, so few are taken before many.
    rows: list[Row[Any]] = []
    for most in (_FEW, _MORE, _LOOKED):
        looked = _looked_in_index(account_id, wanted, most, before=before, after=after)
        same = (calls.c.account_id == account_id) & (calls.c.request_id == looked.c.request_id)
        query = select(*(calls.c[name] for name in columns)).select_from(looked.join(calls, same))
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
    found += _of_status(of, wanted)
    if wanted.stream is not None:
        found.append(of.stream == int(wanted.stream))
    if wanted.text.strip() and not _id_prefix(wanted):
        part = wanted.text.strip()
        where = (of.model, of.requested_model, of.requester)
        # SQLite's LIKE takes no notice of the case of ASCII letters, as `icontains` would with twice the work.
        found.append(or_(*(name.contains(part, autoescape=True) for name in where)))
    return found


def _of_status(of: Any, wanted: Wanted) -> list[ColumnElement[bool]]:
    if wanted.status is None:
        return []
    if wanted.status == 0:
        return [of.status == 0]
    return [and_(of.status >= wanted.status * 100, of.status < wanted.status * 100 + 100)]
