"""`/logs`: every request, found and filtered; one opens into everything that was recorded of it."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, get_args
from urllib.parse import parse_qsl

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from metrion.accounts.plans import PLANS, visible_since
from metrion.kit.clock import now_ms
from metrion.kit.ids import first_id
from metrion.ledger.explain import Explained, explain_row
from metrion.providers import PROVIDERS
from metrion.storage import search
from metrion.storage.database import Connection
from metrion.storage.reports import CALL_FIELDS, call_fields, cost_history
from metrion.storage.search import Count, Found, Sort, Wanted
from metrion.web import filters
from metrion.web.figures import zone
from metrion.web.filters import STATUS, Asked
from metrion.web.visit import Visit

_SORTS: dict[str, Sort] = {name: name for name in get_args(Sort)}
CSV_FIELDS = tuple(name for name in CALL_FIELDS if name != "usage_raw")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one (OWASP, CSV injection)
_LONGEST_TEXT = 256
_CSV_ROWS = 500
_MINUTE_MS = 60_000


class _Query(NamedTuple):
    """What the address of a log page asks for."""

    asked: Asked
    text: str
    stream: bool | None
    sort: Sort
    before: bytes | None  # the page behind this id
    after: bytes | None  # the page in front of it
    page: int  # where it is not sorted by time

    def link(self, **changed: str) -> str:
        """The query string of this page with something changed."""
        own = {"q": self.text, "sort": "" if self.sort == "time" else self.sort}
        own["stream"] = "" if self.stream is None else "yes" if self.stream else "no"
        return self.asked.query(**(own | changed))

    def fields(self) -> list[tuple[str, str]]:
        """The same as hidden fields of a form."""
        return parse_qsl(self.link().removeprefix("?"))


def _query(visit: Visit) -> _Query:
    given = visit.request.query_params
    sort = given.get("sort", "")
    page = given.get("page", "")
    return _Query(
        filters.read(given),
        given.get("q", "")[:_LONGEST_TEXT],
        {"yes": True, "no": False}.get(given.get("stream", "")),
        _SORTS.get(sort, "time"),
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


def _wanted(visit: Visit, query: _Query, now: int) -> Wanted:
    asked = query.asked
    span = asked.span(visit.account.time_zone, now, visible_since(visit.account.plan, now))
    first = max(span.asked_ms, visible_since(visit.account.plan, now))  # rows need no whole days
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


async def show(visit: Visit) -> Response:
    """The log, or for htmx its lines alone."""
    query, now = _query(visit), now_ms()
    wanted = _wanted(visit, query, now)
    found, counted, any_ever = await visit.site.read(partial(_read, visit.account.id, query, wanted))
    context: dict[str, Any] = {
        "query": query,
        "asked": query.asked,
        "found": found,
        "counted": counted,
        "any_ever": any_ever,
        "providers": PROVIDERS,
        "statuses": STATUS,
        "first_page": query.before is None and query.after is None and query.page == 0,
        "with_requester": any(row.requester for row in found.rows) or bool(query.asked.requester),
        "plan": PLANS[visit.account.plan],
        "cut": wanted.from_ms > query.asked.span(visit.account.time_zone, now, 0).from_ms,
    }
    return visit.render("logs/rows.html" if visit.by_htmx else "logs/page.html", **context)


def _read(account_id: int, query: _Query, wanted: Wanted, connection: Connection) -> tuple[Found, Count, bool]:
    if query.sort != "time":
        found = search.find_greatest(connection, account_id, wanted, query.sort, query.page)
    elif query.after is not None:
        found = search.find_newer(connection, account_id, wanted, query.after)
    else:
        found = search.find(connection, account_id, wanted, before=query.before)
    any_ever = bool(found.rows) or bool(search.find(connection, account_id, Wanted(0, wanted.to_ms)).rows)
    return found, search.count(connection, account_id, wanted), any_ever


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
    return visit.render("logs/newer.html", query=query, number=len(found.rows))


async def jump(visit: Visit) -> Response:
    """To the page that begins at a moment (`at`: 2026-11-21T09:30, in the account's zone)."""
    query = _query(visit)
    try:
        at = datetime.fromisoformat(visit.request.query_params.get("at", "")[:16])
        moment = int(at.replace(tzinfo=zone(visit.account.time_zone)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return visit.redirect("/logs" + query.link())
    return visit.redirect("/logs" + query.link(before=first_id(moment + _MINUTE_MS).hex()))


# ── one request ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def show_one(visit: Visit) -> Response:
    """Everything that was recorded of a request; for htmx the panel alone."""
    request_id = _id(visit.request.path_params["request_id"])
    if request_id is None:
        raise HTTPException(404)
    since = visible_since(visit.account.plan, now_ms())
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
    return StreamingResponse(_lines(visit, wanted), media_type="text/csv; charset=utf-8", headers=headers)


async def _lines(visit: Visit, wanted: Wanted) -> AsyncIterator[bytes]:
    """Each step reads for a moment and lets go, so that a slow reader holds nothing up."""
    yield _written([CSV_FIELDS])
    after: bytes | None = None
    while True:
        text, after = await visit.site.read(partial(_step, visit.account.id, wanted, after))
        if after is None:
            return
        yield text


def _step(account_id: int, wanted: Wanted, after: bytes | None, connection: Connection) -> tuple[bytes, bytes | None]:
    rows = search.find_older_first(connection, account_id, wanted, after, _CSV_ROWS)
    lines = ([cell(call[name]) for name in CSV_FIELDS] for call in map(call_fields, rows))
    return _written(lines), rows[-1].request_id if rows else None


def _written(lines: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def cell(value: Any) -> str:
    """A value as a CSV cell; one that a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return orjson.dumps(value).decode() if value else ""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) and isinstance(value, str) else text
