"""`/settings/statements`: links to a month's figures; `/statement/…`: what such a link shows to whoever has it."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response

from metrion.accounts.statements import (
    LIFETIMES,
    Statement,
    issue_statement,
    list_statements,
    months,
    read_statement,
    revoke_statement,
)
from metrion.errors import InputError
from metrion.kit.clock import DAY_MS, now_ms
from metrion.kit.zones import local_date, month_start, next_day
from metrion.storage.dashboard import by_model, over_time, sums
from metrion.storage.database import Connection
from metrion.storage.sources import sources
from metrion.storage.view import NOTHING, Figures, Filters, Range
from metrion.web.cards import change
from metrion.web.currency import money_in
from metrion.web.visit import Visit, refused

_NOTES = {"revoked": "The link is revoked. Whoever opens it sees nothing any more."}
_DIGITS = 15


async def show_links(visit: Visit) -> Response:
    """The links that work, and the form for a new one."""
    return await _links(visit)


async def _links(
    visit: Visit, status: int = 200, errors: dict[str, str] | None = None, made: str = "", month_ms: int = 0
) -> Response:
    account, now = visit.account, now_ms()
    links = await visit.site.read(lambda connection: list_statements(connection, account.id, account.time_zone, now))
    return visit.render(
        "settings/statements.html",
        status,
        errors=errors,
        said=visit.take_note(_NOTES),
        links=links,
        made=made,
        chosen=month_ms,
        months=[(ms, month_words(account.time_zone, ms)) for ms in months(account.time_zone, now)],
        lifetimes=LIFETIMES,
        words=lambda ms: month_words(account.time_zone, ms),
    )


def month_words(zone: str, ms: int) -> str:
    """November 2026."""
    return f"{local_date(zone, ms):%B %Y}"


async def create(visit: Visit) -> Response:
    """Make a link and show it: this once, for only its digest is kept."""
    form, account = await visit.form(), visit.account
    month_ms, days = _number(form["month"]), _number(form["days"])

    def act(connection: Connection) -> str:
        return issue_statement(connection, account.id, account.time_zone, month_ms, days, now_ms())

    try:
        token = await visit.site.change(act)
    except InputError as problem:
        return await _links(visit, *refused(problem, "month"), month_ms=month_ms)
    return await _links(visit, made=f"{visit.site.public_url}/statement/{token}", month_ms=month_ms)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0


async def revoke(visit: Visit) -> Response:
    """End a link."""
    form, account_id = await visit.form(), visit.account.id
    if not await visit.site.change(lambda connection: revoke_statement(connection, account_id, form["link"])):
        raise HTTPException(404)
    visit.note("revoked")
    return visit.redirect("/settings/statements")


async def show(visit: Visit) -> Response:
    """A month by requester and model; the same 404 where the link ended and where it never was."""
    visit.limit("statement_address")
    token, now = visit.request.path_params["token"], now_ms()

    def read(connection: Connection) -> tuple[Statement, dict[str, Any]] | None:
        found = read_statement(connection, token, now)
        return None if found is None else (found, _figures(connection, found, now))

    told = await visit.site.read(read)
    if told is None:
        raise HTTPException(404)
    statement, figures = told
    money = money_in(statement.currency, visit.site.rates)
    cost, before = figures["all"].cost_nano, figures["before"]
    return visit.render(
        "statement.html",
        statement=statement,
        money=money,
        month=month_words(statement.time_zone, statement.month_ms),
        change=change(cost, before.cost_nano if before.requests else None, money.text(before.cost_nano), up="warn"),
        **figures,
    )


def _figures(connection: Connection, of: Statement, now: int) -> dict[str, Any]:
    month, month_before = _month(of.time_zone, of.month_ms, now), _month(of.time_zone, of.month_ms - DAY_MS, now)
    found = sources(connection, of.account_id, month, Filters())
    is_over = now >= month.to_ms
    return {
        "all": found.all.now,
        "before": sums(connection, of.account_id, month_before, Filters()).get((), NOTHING) if is_over else NOTHING,
        "before_words": month_words(of.time_zone, month_before.from_ms),
        "days": _days(month, over_time(connection, of.account_id, month, Filters())),
        "requesters": [one for one in found.sources if one.figures.requests],
        "count": found.requesters,
        "models": [one for one in by_model(connection, of.account_id, month, Filters()) if one.figures.requests],
        "is_over": is_over,
    }


def _month(zone: str, ms: int, now: int) -> Range:
    """The month that holds `ms`."""
    from_ms = month_start(zone, ms)
    return Range(zone, from_ms, month_start(zone, from_ms + 32 * DAY_MS), hourly=False, now_ms=now)


class Day(NamedTuple):
    """A day of the month: `part` of the dearest day's cost, and whether it is still going on."""

    starts_ms: int
    figures: Figures
    part: float
    filling: bool


def _days(month: Range, figures: list[Figures]) -> list[Day]:
    """The days that have begun."""
    most = max(max(one.cost_nano for one in figures), 1)
    return [
        Day(start, one, max(one.cost_nano, 0) / most, month.now_ms < next_day(month.zone, start))
        for start, one in zip(month.starts, figures, strict=True)
        if start <= month.now_ms
    ]
