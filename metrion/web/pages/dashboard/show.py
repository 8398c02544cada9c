"""`/dashboard` and its tabs: what is asked, read in one go, and shown: as a page, or as the update of an open one."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from metrion.accounts.plans import plans_of, visible_since
from metrion.kit.clock import now_ms
from metrion.storage.database import Connection
from metrion.storage.pulse import has_calls, pulse
from metrion.storage.totals import find_folds
from metrion.storage.view import Range
from metrion.web import filters
from metrion.web.currency import money_in
from metrion.web.filters import Asked
from metrion.web.pages.dashboard import costs, empty, errors, latency, nothing, overview, source, sources
from metrion.web.pages.dashboard.board import Board, Question, Tab, TabLink, source_path
from metrion.web.visit import Visit

_OVERVIEW = Tab("/dashboard", "Overview", "dashboard/overview.html", overview.read)
_COSTS = Tab("/dashboard/costs", "Costs", "dashboard/costs.html", costs.read, own=("by", "of", "all"))
_LATENCY = Tab("/dashboard/latency", "Latency", "dashboard/latency.html", latency.read, own=("all",))
_ERRORS = Tab("/dashboard/errors", "Errors", "dashboard/errors.html", errors.read)
_SOURCES = Tab("/dashboard/sources", "Sources", "dashboard/sources.html", sources.read, own=("sort",))
_SOURCE = Tab("/dashboard/sources", "Sources", "dashboard/source.html", source.read)
_TABS = (_OVERVIEW, _COSTS, _LATENCY, _ERRORS, _SOURCES)
_LONGEST = 256


async def show_overview(visit: Visit) -> Response:
    """What was spent, whether that is more than before and why; on which model, for whom; what failed or got slow."""
    return await _show(visit, _OVERVIEW)


async def show_costs(visit: Visit) -> Response:
    """Money and tokens, by model, provider, requester or class of tokens."""
    return await _show(visit, _COSTS)


async def show_latency(visit: Visit) -> Response:
    """How long answers took, by model and provider."""
    return await _show(visit, _LATENCY)


async def show_errors(visit: Visit) -> Response:
    """What failed, and what was said of it."""
    return await _show(visit, _ERRORS)


async def show_sources(visit: Visit) -> Response:
    """Who used how much."""
    return await _show(visit, _SOURCES)


async def show_source(visit: Visit) -> Response:
    """One requester."""
    return await _show(visit, _SOURCE, visit.request.path_params["requester"][:_LONGEST])


async def show_live(visit: Visit) -> Response:
    """A tab anew where something was recorded since, else 204: asked every two seconds while it is looked at."""
    given = visit.request.query_params
    name, requester = given.get("tab", ""), given.get("source", "")[:_LONGEST]
    tab = _SOURCE if requester else next((one for one in _TABS if one.title.lower() == name), None)
    if tab is None:
        raise HTTPException(404)
    found = await visit.site.read(partial(_read, visit, tab, requester, given.get("seen", "")))
    if found is None:
        return visit.finish(Response(status_code=204))
    return visit.render("dashboard/board.html", **found)


async def _show(visit: Visit, tab: Tab, requester: str = "") -> Response:
    found = await visit.site.read(partial(_read, visit, tab, requester, ""))
    assert found is not None
    return visit.render("dashboard/page.html", **found)


def _read(visit: Visit, tab: Tab, requester: str, seen: str, connection: Connection) -> dict[str, Any] | None:
    """The template's context; None where nothing changed since `seen`."""
    account, now = visit.account, now_ms()
    zone = find_folds(connection, [account.id])[account.id].time_zone
    asked = filters.read(visit.request.query_params)
    kept_ms = visible_since(visit.site.settings, account.plan, now)
    span = asked.span(zone, now, kept_ms)
    beats = f"{pulse(connection, account.id, now)}-{span.to_ms}"
    if seen == beats:
        return None
    given = visit.request.query_params
    question = Question(
        account.id,
        asked.but(requester=requester, problems=asked.problems) if requester else asked,
        span,
        Range(zone, span.from_ms, span.to_ms, span.hourly, now),
        money_in(visit.account.currency, visit.site.rates),
        visit.site.known.of(connection, account.id, now),
        kept_ms,
        source_path(requester) if requester else tab.path,
        {name: given[name][:_LONGEST] for name in tab.own if given.get(name)},
        requester,
    )
    return _tell(visit, tab, question, beats, connection)


def _tell(visit: Visit, tab: Tab, question: Question, seen: str, connection: Connection) -> dict[str, Any]:
    started = has_calls(connection, question.account_id)
    template, context = tab.template, None
    if not started:
        template, context = "dashboard/empty.html", empty.read(visit, connection)
    elif not question.span.empty:
        context = tab.read(connection, question)
    if context is None:
        template, context = "dashboard/nothing.html", nothing.read(connection, question)
    board = Board(
        tab,
        _links(question.asked, tab),
        question,
        started,
        template,
        seen,
        visit.account.plan,
        plans_of(visit.site.settings),
    )
    return {"board": board, **context}


def _links(asked: Asked, active: Tab) -> list[TabLink]:
    query = asked.query()
    return [TabLink(tab.title, tab.path + query, tab.path == active.path) for tab in _TABS]
