"""Sources: who used how much, with trend, errors and models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from metrion.storage import sources
from metrion.storage.costs import MOST_REQUESTERS
from metrion.storage.database import Connection
from metrion.storage.sources import Source, Sources
from metrion.web.cards import Line, Stat
from metrion.web.figures import count, percent
from metrion.web.pages.dashboard import views
from metrion.web.pages.dashboard.board import Question
from metrion.web.pages.dashboard.overview import cost_stat, error_stat

_SORTS = {"cost_nano": "Cost", "requests": "Requests", "errors": "Errors"}


class Row(NamedTuple):
    """A requester: `lines` draw its cost over time."""

    name: str
    href: str
    lines: Sequence[Line]
    models: list[str]
    requests: int
    errors: int
    rate: float | None
    tokens: int
    part: float
    cost: str
    exact: str


def read(connection: Connection, question: Question) -> dict[str, Any] | None:
    """The context of dashboard/sources.html; None where no call matches."""
    sort = question.own.get("sort", "")
    sort = sort if sort in _SORTS else "cost_nano"
    found = sources.sources(connection, question.account_id, question.range, question.filters, sort)
    now = found.all.now
    if not (now.requests or now.refused):
        return None
    return {
        "stats": _stats(question, found),
        "compared": views.compared(question),
        "known": found.known,
        "sort_items": [
            (label, question.choose(sort="" if name == "cost_nano" else name), name == sort)
            for name, label in _SORTS.items()
        ],
        "rows": [_row(question, one, now.cost_nano) for one in found.sources],
        "more": f"The {MOST_REQUESTERS} greatest of {found.requesters:,}. Find any other by the filter."
        if found.requesters and found.requesters > len(found.sources)
        else "",
    }


def _stats(question: Question, found: Sources) -> list[Stat]:
    now = found.all.now
    first = found.sources[0] if found.sources else None
    return [
        Stat(
            "requesters",
            "Requesters",
            count(found.requesters),
            "How many different names requests gave by header or label; those without one are not counted.",
            exact="" if found.requesters is None else f"{found.requesters:,}",
        ),
        cost_stat(question, found.all),
        Stat(
            "first",
            "The greatest alone",
            percent(first.figures.cost_nano / now.cost_nano) if first and now.cost_nano else "–",
            "The part of the whole cost that the first requester of the list has.",
            beside=(first.name or views.UNNAMED) if first else "",
            href=views.requester_href(question, first.name) if first else "",
        ),
        error_stat(question, found.all),
    ]


def _row(question: Question, one: Source, whole: int) -> Row:
    figures = one.figures
    return Row(
        one.name or views.UNNAMED,
        views.requester_href(question, one.name),
        views.trend(question, one.trend),
        one.models or [],
        figures.requests,
        figures.errors,
        figures.error_rate,
        figures.total_tokens,
        figures.cost_nano / whole if whole else 0.0,
        views.cost_text(question, figures),
        question.money.exact(figures.cost_nano),
    )
