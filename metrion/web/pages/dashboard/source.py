"""One requester on a page of its own."""

from __future__ import annotations

from typing import Any

from metrion.storage import search, sources
from metrion.storage.database import Connection
from metrion.web.pages.dashboard import views
from metrion.web.pages.dashboard.board import Question
from metrion.web.pages.dashboard.calls import call_lines, wanted
from metrion.web.pages.dashboard.overview import main_stats, tokens_chart

_MOST_CALLS = 10


def read(connection: Connection, question: Question) -> dict[str, Any] | None:
    """The context of dashboard/source.html; None where no call of it matches."""
    found = sources.source(connection, question.account_id, question.range, question.filters)
    now = found.all.now
    if not (now.requests or now.refused):
        return None
    money = views.money_unit(question)
    colours = views.model_colours(question, found.cost_by_model, found.models)
    latest = search.find(connection, question.account_id, wanted(question))
    return {
        "stats": main_stats(question, found),
        "compared": views.compared(question),
        "cost_how": views.COST_HOW,
        "sources": views.sources_text(question, now),
        "cost_chart": views.stacked(question, "cost", "Cost by model", money, found.cost_by_model, colours),
        "tokens_chart": tokens_chart(question, found.over_time),
        "models": views.bars(
            views.sums_by_name(found.models, lambda one: one.cost_nano),
            money,
            colours,
            href=lambda name: views.model_href(question, name),
        ),
        "latest": call_lines(question, latest.rows[:_MOST_CALLS], "cost"),
    }
