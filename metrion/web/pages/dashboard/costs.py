"""Costs: money and tokens by model, provider, requester or class of tokens; the month; how sure the figures are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from metrion.kit.zones import month_start
from metrion.storage import costs, requesters
from metrion.storage.costs import Costs
from metrion.storage.dashboard import MOST_SERIES, Layer, Named, sums
from metrion.storage.database import Connection
from metrion.storage.view import Figures
from metrion.web.cards import Stat
from metrion.web.charts import OTHER, Chart
from metrion.web.figures import day, percent
from metrion.web.known import PROVIDER_COLOURS
from metrion.web.pages.dashboard import views
from metrion.web.pages.dashboard.board import Question
from metrion.web.pages.dashboard.calls import call_lines
from metrion.web.pages.dashboard.overview import cost_stat

_BY = {"model": "Model", "provider": "Provider", "requester": "Requester", "class": "Token class"}
_OF = {"money": "Money", "tokens": "Tokens"}
_FEW_ROWS, _MOST_ROWS = 12, 50
_MOST_CALLS = 10
_HOW = {
    "model": "What each model cost. Input is all prompt tokens, those read from a cache and written to one included.",
    "provider": "What each provider cost. Input is all prompt tokens, cached ones and cache writes included.",
    "requester": "What each requester cost: the header x-metrion-user, or the label behind the Metrion key.",
    "class": "What was for which tokens, where cost was computed. Tools and fees, and what was reported or estimated"
    " as one sum, stand apart.",
}


class TokenClass(NamedTuple):
    """A class of tokens: its name, colour, and what it had."""

    name: str
    colour: str
    tokens: Callable[[Figures], int | None]
    nano: Callable[[Figures], int]


_CLASSES = (
    TokenClass("Input", "1", lambda one: one.fresh_tokens, lambda one: one.input_nano),
    TokenClass("Cached input", "3", lambda one: one.cached_input_tokens, lambda one: one.cached_nano),
    TokenClass("Cache writes", "5", lambda one: one.written_tokens, lambda one: one.written_nano),
    TokenClass("Output", "2", lambda one: one.output_tokens, lambda one: one.output_nano),
    TokenClass("Not by class", OTHER, lambda one: None, lambda one: one.unsplit_nano),
)


class Row(NamedTuple):
    """A line of the table: a name with its figures; `unpriced`: why there is no cost, or ""."""

    name: str
    colour: str
    href: str
    cost: str
    exact: str
    unpriced: str
    part: float
    counts: list[tuple[str, int | None]]


def read(connection: Connection, question: Question) -> dict[str, Any] | None:
    """The context of dashboard/costs.html; None where no call matches."""
    asked = (connection, question.account_id, question.range, question.filters)
    found = costs.costs(*asked)
    if not (found.all.now.requests or found.all.now.refused):
        return None
    by = question.own.get("by", "")
    by = by if by in _BY else "model"
    of = "tokens" if question.own.get("of") == "tokens" else "money"
    colours = _colours(question, found, by)
    rows, note = _rows(question, found, by, colours)
    few = rows if question.own.get("all") else rows[:_FEW_ROWS]
    dearest = costs.dearest(*asked, _MOST_CALLS)
    return {
        "stats": _stats(connection, question, found),
        "compared": views.compared(question),
        "chart": _chart(connection, question, found, by, of, colours),
        "by_items": [
            (label, question.choose(by="" if name == "model" else name), name == by) for name, label in _BY.items()
        ],
        "of_items": [
            (label, question.choose(of="" if name == "money" else name), name == of) for name, label in _OF.items()
        ],
        "by_label": f"By {_BY[by].lower()}",
        "by_column": _BY[by],
        "table_how": _HOW[by],
        "rows": few,
        "note": note if len(few) == len(rows) else "",
        "more": (f"Show all {len(rows)}", question.choose(all="yes")) if len(few) < len(rows) else (),
        "sources": _sources(found.all.now),
        "top": call_lines(question, dearest.rows, "cost"),
        "top_of": dearest.latest,
    }


def _colours(question: Question, found: Costs, by: str) -> dict[str, str]:
    if by == "provider":
        return PROVIDER_COLOURS
    if by == "class":
        return {one.name: one.colour for one in _CLASSES}
    if by == "requester":
        return dict(zip((one.name for one in found.requesters), "12345678", strict=False))
    return views.model_colours(question, found.cost_by_model, found.models)


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _stats(connection: Connection, question: Question, found: Costs) -> list[Stat]:
    now, before = found.all.now, found.all.before
    money, zone, now_ms = question.money, question.zone, question.range.now_ms
    so_far = costs.month_to_date(connection, question.account_id, zone, now_ms, question.filters)
    forecast = costs.forecast(connection, question.account_id, zone, now_ms, question.filters)
    return [
        cost_stat(question, found.all, found.over_time),
        Stat(
            "month",
            "This month so far",
            money.text(so_far),
            "The cost since the first of the month, whatever range is shown. The filters hold.",
            exact=money.exact(so_far),
            beside=f"since {day(month_start(zone, now_ms), zone)}",
        ),
        Stat(
            "forecast",
            "Forecast of the month",
            money.text(forecast.expected_nano) if forecast else "–",
            "So far, and each day to come at the mean of its weekday over the last 28 days. The range holds four of"
            " five months whose days are drawn from these.",
            exact=money.exact(forecast.expected_nano) if forecast else "",
            beside=f"80 % likely {money.text(forecast.low_nano)} to {money.text(forecast.high_nano)}"
            if forecast
            else f"after {costs.FEWEST_DAYS} whole days of data",
        ),
        Stat(
            "saved",
            "Saved by caching",
            money.text(now.saved_nano),
            "Cached tokens times what they were cheaper than input, less cache writes times what they were dearer.",
            exact=money.exact(now.saved_nano),
            beside=f"{percent(now.cache_hit_rate)} of input came from a cache",
            change=views.against(
                question, now.saved_nano, before.saved_nano, money.text, any_before=before.requests, up="good"
            ),
            lines=views.trend(question, [max(one.saved_nano, 0) for one in found.over_time]),
        ),
    ]


def _sources(now: Figures) -> Any:
    known = views.sources_of(now)
    return views.bars(
        {name: number for name, _, number in known},
        views.COUNT,
        {name: colour for name, colour, _ in known},
    )


# ── the chart ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _chart(
    connection: Connection, question: Question, found: Costs, by: str, of: str, colours: dict[str, str]
) -> Chart:
    unit = views.money_unit(question) if of == "money" else views.COUNT
    title = f"{'Cost' if of == 'money' else 'Tokens'} by {by if by == 'class' else _BY[by].lower()}"
    name = views.provider_name if by == "provider" else lambda name: name or views.UNNAMED
    others = "" if by in ("provider", "class") else "other"
    found_layers = _layers(connection, question, found, by, of)
    return views.stacked(question, "costs", title, unit, found_layers, colours, name=name, others=others)


def _layers(connection: Connection, question: Question, found: Costs, by: str, of: str) -> list[Layer]:
    if by == "class":
        return _by_class(found, of)
    if by == "model" and of == "money":
        return found.cost_by_model
    figures, value = _FIGURES[of]
    every = [value(one) for one in found.over_time]
    account_id, range, filters = question.account_id, question.range, question.filters
    if by == "provider":
        told = sums(connection, account_id, range, filters, ("provider", "start_ms"), figures)
        return _stack(question, _greatest(found.providers, value), told, value, every)
    if by == "requester":
        names = _greatest(found.requesters, value)
        told = (
            {(names[0], start): one for start, one in zip(found.starts, found.over_time, strict=True)}
            if filters.requester and names
            else requesters.series(connection, account_id, range, filters, names, figures)
        )
        return _stack(question, names, told, value, every)
    names = _greatest(found.models, value)
    only = msgspec.structs.replace(filters, models=tuple(names))
    told = sums(connection, account_id, range, only, ("model", "start_ms"), figures) if names else {}
    return _stack(question, names, told, value, every)


_FIGURES: dict[str, tuple[tuple[str, ...], Callable[[Figures], int]]] = {
    "money": (("cost_nano",), lambda one: one.cost_nano),
    "tokens": (("input_tokens", "output_tokens"), lambda one: one.total_tokens),
}


def _greatest(found: Sequence[Named], value: Callable[[Figures], int]) -> list[str]:
    sums = views.sums_by_name(found, value)
    return [name for name in sorted(sums, key=lambda name: (-sums[name], name)) if sums[name] > 0][:MOST_SERIES]


def _stack(
    question: Question,
    names: Sequence[str],
    told: dict[Any, Figures],
    value: Callable[[Figures], int],
    every: Sequence[int],
) -> list[Layer]:
    """The named, and what is left of all, as layers."""
    starts = question.range.starts
    found = [
        Layer(name, [value(told[name, start]) if (name, start) in told else 0 for start in starts]) for name in names
    ]
    rest = [whole - sum(column) for whole, *column in zip(every, *(one.values for one in found), strict=True)]
    return [*found, Layer("", rest)] if any(rest) else found


def _by_class(found: Costs, of: str) -> list[Layer]:
    value = (lambda one: one.nano) if of == "money" else (lambda one: lambda figures: one.tokens(figures) or 0)
    all_layers = [Layer(one.name, [value(one)(figures) for figures in found.over_time]) for one in _CLASSES]
    return [one for one in all_layers if any(one.values)]


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rows(question: Question, found: Costs, by: str, colours: dict[str, str]) -> tuple[list[Row], str]:
    """Lines of the table, and what is not among them."""
    if by == "class":
        return _class_rows(question, found.all.now), ""
    named = {"model": found.models, "provider": found.providers, "requester": found.requesters}[by]
    if by == "requester" and not named:
        return (
            [],
            "Which requester used a model or met a status is only known of one at a time: choose a requester too.",
        )
    hrefs = {"model": views.model_href, "provider": views.provider_href, "requester": views.requester_href}
    whole = found.all.now.cost_nano
    rows = [
        _row(
            question,
            views.provider_name(one.name) if by == "provider" else one.name or views.UNNAMED,
            one.figures,
            whole,
            colours.get(one.name, OTHER) if by != "requester" else "",
            hrefs[by](question, one.name),
        )
        for one in named[:_MOST_ROWS]
    ]
    return rows, f"The {_MOST_ROWS} that cost most." if len(named) >= _MOST_ROWS else ""


def _row(question: Question, name: str, figures: Figures, whole: int, colour: str, href: str) -> Row:
    none_known = bool(figures.requests) and figures.without_cost == figures.requests
    return Row(
        name,
        colour,
        href,
        question.money.text(figures.cost_nano),
        question.money.exact(figures.cost_nano),
        "No price is known for it, or its usage was not told." if none_known else "",
        figures.cost_nano / whole if whole else 0.0,
        [
            ("Requests", figures.requests),
            ("Input", figures.input_tokens),
            ("Cached", figures.cached_input_tokens),
            ("Cache writes", figures.written_tokens),
            ("Output", figures.output_tokens),
            ("Reasoning", figures.reasoning_tokens),
        ],
    )


def _class_rows(question: Question, now: Figures) -> list[Row]:
    return [
        Row(
            one.name,
            one.colour,
            "",
            question.money.text(one.nano(now)),
            question.money.exact(one.nano(now)),
            "",
            one.nano(now) / now.cost_nano if now.cost_nano else 0.0,
            [("Tokens", one.tokens(now))],
        )
        for one in _CLASSES
        if one.nano(now) or one.tokens(now)
    ]
