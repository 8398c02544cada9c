"""`/settings/statements`: links to a month's figures; `/statement/…`: what such a link shows to whoever has it."""

from __future__ import annotations

from typing import Any

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
from metrion.kit.clock import now_ms
from metrion.kit.zones import local_date, next_day
from metrion.storage.dashboard import by_model
from metrion.storage.database import Connection
from metrion.storage.sources import sources
from metrion.storage.view import Filters, Range
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
    links = await visit.site.read(lambda connection: list_statements(connection, account.id, now))
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
    return visit.render(
        "statement.html",
        statement=statement,
        money=money_in(statement.currency, visit.site.rates),
        month=month_words(statement.time_zone, statement.month_ms),
        **figures,
    )


def _figures(connection: Connection, of: Statement, now: int) -> dict[str, Any]:
    end = of.month_ms
    month = local_date(of.time_zone, end).month
    while local_date(of.time_zone, end).month == month:
        end = next_day(of.time_zone, end)
    range = Range(of.time_zone, of.month_ms, end, hourly=False, now_ms=now)
    found = sources(connection, of.account_id, range, Filters())
    return {
        "all": found.all.now,
        "requesters": found.sources,
        "count": found.requesters,
        "models": by_model(connection, of.account_id, range, Filters()),
        "open_until": end if now < end else None,
    }
