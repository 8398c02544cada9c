"""`/logs`: every request, found and filtered; one opens into everything that was recorded of it."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date, datetime
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import Response

from metrion.accounts.plans import PLANS, plans_of, visible_since
from metrion.kit.clock import now_ms
from metrion.kit.ids import first_id
from metrion.kit.zones import local_date
from metrion.ledger.explain import Explained, explain_row
from metrion.providers import PROVIDERS
from metrion.storage import search
from metrion.storage.database import Connection
from metrion.storage.pulse import Names, has_calls
from metrion.storage.reports import CALL_FIELDS, call_fields, cost_history
from metrion.storage.search import Count, Found, Sort, Wanted
from metrion.web import filters
from metrion.web.currency import money_in
from metrion.web.download import Download, SignedInReads
from metrion.web.figures import zone
from metrion.web.filters import RANGES, STATUS, Asked, Chip
from metrion.web.visit import Visit

_SORTS: dict[str, Sort] = {"cost": "cost", "latency": "latency", "tokens": "tokens"}
_SORT_WORDS = {"": "Newest first", "cost": "Highest cost", "latency": "Slowest", "tokens": "Most tokens"}
CSV_FIELDS = tuple(name for name in CALL_FIELDS if name != "usage_raw")
_CELLS = itemgetter(*CSV_FIELDS)
_FORMULA = "=+-@\t\r\n"  # what a spreadsheet takes for the beginning of one (OWASP, CSV injection)
_TEXTS = ("model", "requested_model", "requester", "endpoint", "error_message", "service_tier", "upstream_request_id")
_OBJECTS = ("tool_calls", "quantities")
_LONGEST_TEXT = 256
_CSV_ROWS = 500
_MINUTE_MS = 60_000


class _Query(NamedTuple):
    """What the address of a log page asks for."""

    asked: Asked
    text: str
    stream: bool | None
    sort: Sort
    at: str  # the page that begins at a moment of the account's zone: 2026-11-21T09:30
    before: bytes | None  # the page behind this id
    after: bytes | None  # the page in front of it
    page: int  # where it is not sorted by time

    @property
    def own(self) -> dict[str, str]:
        """What the log asks for beside range and filters, as it stands in an address."""
        stream = "" if self.stream is None else "yes" if self.stream else "no"
        return {"q": self.text, "stream": stream, "sort": "" if self.sort == "time" else self.sort}

    def link(self, **changed: str) -> str:
        """The query string of this page with something changed."""
        return self.asked.query(**(self.own | changed))

    @property
    def chips(self) -> list[Chip]:
        """The filters that hold, with the way to drop each."""
        chips = self.asked.chips_with(**self.own)
        if self.stream is not None:
            chips.append(Chip("Streamed", self.own["stream"], self.link(stream="")))
        return chips


def _query(visit: Visit) -> _Query:
    given = visit.request.query_params
    page = given.get("page", "")
    return _Query(
        filters.read(given),
        given.get("q", "")[:_LONGEST_TEXT],
        {"yes": True, "no": False}.get(given.get("stream", "")),
        _SORTS.get(given.get("sort", ""), "time"),
        given.get("at", "")[:16],
        _id(given.get("before", "")),
        _id(given.get("after", "")),
        int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 0,
    )


def _id(text: str) -> bytes | None:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return None
    return found if len(found) == 16 else None


def _moment(text: str, zone_name: str) -> int | None:
    """The end of a minute (2026-11-21T09:30) of a zone in Unix ms; None where that is none."""
    try:
        at = datetime.fromisoformat(text).replace(tzinfo=zone(zone_name))
        return int(at.timestamp() * 1000) + _MINUTE_MS
    except (ValueError, OverflowError):
        return None


def _wanted(visit: Visit, query: _Query, now: int) -> Wanted:
    asked = query.asked
    kept = visible_since(visit.site.settings, visit.account.plan, now)
    span = asked.span(visit.account.time_zone, now, kept)
    first = max(span.asked_ms, kept)  # rows need no whole days
    return Wanted(
        first,
        max(span.to_ms, first),
        asked.provider,
        asked.models,
        asked.requester,
        STATUS.get(asked.status),
        query.stream,
        query.text,
    )


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Shown(NamedTuple):
    """The lines of a page, what leads to the pages beside it, and what stands above."""

    rows: Sequence[Any]
    counted: Count
    newer: str = ""  # query strings
    older: str = ""
    newest: bool = True  # whether nothing stands before it
    of_tops: bool = False


async def show(visit: Visit) -> Response:
    """The log, or for htmx its lines alone."""
    query, now = _query(visit), now_ms()
    moment = _moment(query.at, visit.account.time_zone)
    if moment is not None and query.sort == "time":
        query = query._replace(before=first_id(moment))
    wanted = _wanted(visit, query, now)
    account_id = visit.account.id

    def read(connection: Connection) -> tuple[_Shown, bool, Names]:
        shown = _shown(connection, account_id, query, wanted)
        ever = bool(shown.rows) or has_calls(connection, account_id)
        return shown, ever, visit.site.known.of(connection, account_id, now).names

    shown, any_ever, names = await visit.site.read(read)
    asked = query.asked
    context: dict[str, Any] = {
        "query": query,
        "asked": asked,
        "shown": shown,
        "any_ever": any_ever,
        "names": names,
        "days": _days(visit, asked, wanted),
        "providers": PROVIDERS,
        "statuses": STATUS,
        "ranges": RANGES,
        "sorts": _SORT_WORDS,
        "with_requester": any(row.requester for row in shown.rows) or bool(asked.requester),
        "plan": plans_of(visit.site.settings)[visit.account.plan],
        "money": money_in(visit.account.currency, visit.site.rates),
        "cut": wanted.from_ms > asked.span(visit.account.time_zone, now, 0).from_ms,
    }
    response = visit.render("logs/rows.html" if visit.by_htmx else "logs/page.html", **context)
    if visit.by_htmx:
        response.headers[_history(visit, query)] = "/logs" + query.link(at=query.at)
    return response


def _shown(connection: Connection, account_id: int, query: _Query, wanted: Wanted) -> _Shown:
    if query.sort != "time":
        return _greatest(connection, account_id, query, wanted)
    found = Found([])
    if query.after is not None:
        found = search.find_newer(connection, account_id, wanted, query.after)
    newest = query.before is None and found.newer is None and len(found.rows) < search.PAGE
    if newest or query.before is not None:  # of a last page that is not full, the first one takes the place
        found = search.find(connection, account_id, wanted, before=query.before)
    if newest and len(found.rows) < search.PAGE:
        counted = Count(len(found.rows), found.older is not None)
    else:
        counted = search.count(connection, account_id, wanted)
    newer = "" if found.newer is None else query.link(after=found.newer.hex())
    older = "" if found.older is None else query.link(before=found.older.hex())
    return _Shown(found.rows, counted, newer, older, newest)


def _greatest(connection: Connection, account_id: int, query: _Query, wanted: Wanted) -> _Shown:
    found = search.find_greatest(connection, account_id, wanted, query.sort, query.page)
    counted = search.count(connection, account_id, wanted)
    before = query.link(page=str(query.page - 1)) if query.page else ""
    after = query.link(page=str(query.page + 1)) if found.more else ""
    return _Shown(found.rows, counted, before, after, query.page == 0, found.of_tops)


def _days(visit: Visit, asked: Asked, wanted: Wanted) -> tuple[date, date]:
    """The range as days, both included: what days of one's own begin with."""
    if not asked.range:
        return asked.first, asked.last
    zone_name = visit.account.time_zone
    return local_date(zone_name, wanted.from_ms), local_date(zone_name, max(wanted.to_ms - 1, 0))


def _history(visit: Visit, query: _Query) -> str:
    """The header that gives the browser its new address: who goes on typing makes no new entry of its history."""
    before = QueryParams(urlsplit(visit.request.headers.get("hx-current-url", "")).query)
    typing = bool(before.get("q")) and bool(query.text)
    same = _Query(filters.read(before), query.text, *_query(visit)[2:]).link() == query.link()
    return "hx-replace-url" if typing and same else "hx-push-url"


async def newer(visit: Visit) -> Response:
    """204, or how many calls came since the page was made: asked every two seconds while it is looked at."""
    query = _query(visit)
    wanted = _wanted(visit, query, now_ms())
    if query.after is None:
        raise HTTPException(400)
    after = query.after
    found = await visit.site.read(lambda connection: search.find_newer(connection, visit.account.id, wanted, after))
    if not found.rows:
        return Response(status_code=204)
    more = found.newer is not None
    return visit.render("logs/newer.html", query=query, number=len(found.rows), more=more)


# ── one request ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def show_one(visit: Visit) -> Response:
    """Everything that was recorded of a request; for htmx the panel alone."""
    request_id = _id(visit.request.path_params["request_id"])
    if request_id is None:
        raise HTTPException(404)
    since = visible_since(visit.site.settings, visit.account.plan, now_ms())
    book = visit.site.models.book(now_ms())

    def read(connection: Connection) -> tuple[Any, Explained, list[dict[str, Any]]] | None:
        row = search.get(connection, visit.account.id, request_id, since)
        return None if row is None else (row, explain_row(book, row), cost_history(connection, row))

    found = await visit.site.read(read)
    if found is None:
        raise HTTPException(404)
    row, explained, history = found
    call = call_fields(row)
    context = {
        "row": row,
        "call": call,
        "explained": explained,
        "history": history,
        "bar": _bar(row),
        "raw": _pretty(row.usage_raw),
        "money": money_in(visit.account.currency, visit.site.rates),
        "provider": PROVIDERS[row.provider].label if row.provider in PROVIDERS else row.provider,
    }
    return visit.render("logs/panel.html" if visit.by_htmx else "logs/one.html", **context)


class _Part(NamedTuple):
    """A part of a call's time: its name, µs, and where it stands in the bar in percent."""

    name: str
    kind: str
    us: int
    x: float
    width: float


def _bar(row: Any) -> list[_Part]:
    """Waiting for the first byte, then the rest of the answer, and Metrion's own share of it."""
    total = max(row.latency_us, 1)
    first = min(row.ttft_us or row.latency_us, row.latency_us)
    own = max(row.latency_us - row.provider_us, 0) if row.provider_us else row.latency_us
    waiting = max(first - own, 0)
    parts = [("Metrion's own", "own", min(own, total)), ("To the first byte", "wait", waiting)]
    parts.append(("Streaming" if row.stream else "Reading", "stream", max(total - own - waiting, 0)))
    found, x = [], 0.0
    for name, kind, us in parts:
        width = us * 100 / total
        found.append(_Part(name, kind, us, round(x, 2), round(width, 2)))
        x += width
    return found


def _pretty(raw: str | None) -> str:
    """The provider's usage object, verbatim but indented; as it is where it is no JSON."""
    if not raw:
        return ""
    try:
        return orjson.dumps(orjson.loads(raw), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return raw


# ── CSV ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def export(visit: Visit) -> Response:
    """Every match as CSV (RFC 4180, UTC), oldest first, in steps; 403 where the plan has none."""
    if not PLANS[visit.account.plan].csv:
        raise HTTPException(403, "The CSV export is part of the Pro plan. The rows stay on the Logs page.")
    wanted = _wanted(visit, _query(visit), now_ms())
    name = f"metrion-{wanted.from_ms}-{wanted.to_ms}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Download(_lines(visit, wanted), media_type="text/csv; charset=utf-8", headers=headers)


async def _lines(visit: Visit, wanted: Wanted) -> AsyncIterator[bytes]:
    """Each step reads for a moment and lets go, so that a slow reader holds nothing up."""
    yield _written([CSV_FIELDS])
    read = SignedInReads(visit)
    after: bytes | None = bytes(16)
    while after is not None:
        text, after = await read(partial(_step, visit.account.id, wanted, after))
        if text:
            yield text


def _step(account_id: int, wanted: Wanted, after: bytes, connection: Connection) -> tuple[bytes, bytes | None]:
    step = search.find_older_first(connection, account_id, wanted, after, _CSV_ROWS)
    return _written(map(_line, step.rows)), step.after


def _written(lines: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def _line(row: Any) -> Sequence[Any]:
    """A row's cells; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    call = call_fields(row)
    for name in _TEXTS:
        if (text := call[name]) and text[0] in _FORMULA:
            call[name] = "'" + text
    for name in _OBJECTS:
        call[name] = orjson.dumps(call[name]).decode() if call[name] else ""
    call["stream"] = "true" if call["stream"] else "false"
    cells: tuple[Any, ...] = _CELLS(call)
    return cells
