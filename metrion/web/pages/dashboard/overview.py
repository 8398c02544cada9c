"""Overview: what was spent, whether that is more than before and why; on which model, for whom; what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from metrion.call import Outcome
from metrion.storage import costs, dashboard
from metrion.storage.dashboard import Compared, Layer, Overview, Status
from metrion.storage.database import Connection
from metrion.storage.view import Figures
from metrion.web.cards import Stat
from metrion.web.charts import OTHER
from metrion.web.figures import count, duration, percent
from metrion.web.known import PROVIDER_COLOURS
from metrion.web.pages.dashboard import views
from metrion.web.pages.dashboard.board import Question

_TOKENS = (  # what a chart of tokens stacks, with its colour
    ("Input", "1", "fresh_tokens"),
    ("Cached input", "3", "cached_input_tokens"),
    ("Cache writes", "5", "written_tokens"),
    ("Output", "2", "output_tokens"),
)
_TOP_REQUESTERS = 5


class Pair(NamedTuple):
    """What a requester on a model cost more or less than before."""

    text: str
    exact: str
    requester: str
    requester_href: str
    model: str
    model_href: str


class Why(NamedTuple):
    """Why the cost changed: by how much, the pairs that explain most, and how much that is."""

    total: str
    exact: str
    pairs: list[Pair]
    rest: str


def read(connection: Connection, question: Question) -> dict[str, Any] | None:
    """The context of dashboard/overview.html; None where no call matches."""
    asked = (connection, question.account_id, question.range, question.filters)
    found = dashboard.overview(*asked)
    now = found.all.now
    if not (now.requests or now.refused):
        return None
    money = views.money_unit(question)
    colours = views.model_colours(question, found.cost_by_model, found.models)
    each = found.each_requester
    top = each[0].dearest(_TOP_REQUESTERS) if each else None
    dearest = costs.by_requester(*asked, limit=_TOP_REQUESTERS, names=top)
    by_requester = views.sums_by_name(dearest, lambda one: one.cost_nano)
    return {
        "stats": main_stats(question, found),
        "compared": views.compared(question),
        "requests": now.requests,
        "cost_how": views.COST_HOW,
        "sources": views.sources_text(question, now),
        "cost_chart": views.stacked(question, "cost", "Cost by model", money, found.cost_by_model, colours),
        "why": _why(question, costs.why_it_changed(*asked, found)),
        "tokens_chart": tokens_chart(question, found.over_time),
        "providers": views.bars(
            views.sums_by_name(found.providers, lambda one: one.cost_nano),
            money,
            PROVIDER_COLOURS,
            name=views.provider_name,
            href=lambda name: views.provider_href(question, name),
        ),
        "models": views.bars(
            views.sums_by_name(found.models, lambda one: one.requests),
            views.COUNT,
            colours,
            href=lambda name: views.model_href(question, name),
        ),
        "statuses": status_bars(question, found.statuses),
        "requester_stat": _requesters(question, found),
        "requesters": views.bars(
            by_requester,
            money,
            {},
            href=lambda name: views.requester_href(question, name),
            whole=now.cost_nano,
        ),
    }


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def main_stats(question: Question, found: Any) -> list[Stat]:
    """Cost, requests, errors and latency; `found`: an answer of storage's with `all` and `over_time`."""
    over_time = found.over_time
    return [
        cost_stat(question, found.all, over_time),
        Stat(
            "requests",
            "Requests",
            count(found.all.now.requests),
            "Calls that reached a provider. What Metrion refused is counted apart.",
            exact=f"{found.all.now.requests:,}",
            beside=f"{count(found.all.now.total_tokens)} tokens",
            href=question.logs(),
            change=views.against(
                question, found.all.now.requests, found.all.before.requests, count, any_before=found.all.before.requests
            ),
            lines=views.trend(
                question, [one.requests - one.errors for one in over_time], [one.errors for one in over_time]
            ),
        ),
        error_stat(question, found.all, over_time),
        Stat(
            "latency",
            "Mean latency",
            duration(_whole(found.all.now.mean_latency_us)),
            "From a request's arrival to the last byte of its answer, over all that reached a provider.",
            href=question.link("/dashboard/latency"),
            change=views.against(
                question,
                found.all.now.mean_latency_us,
                found.all.before.mean_latency_us,
                lambda us: duration(_whole(us)),
                up="warn",
                down="good",
            ),
            lines=views.trend(question, [one.mean_latency_us for one in over_time]),
        ),
    ]


def cost_stat(question: Question, all: Compared, over_time: Sequence[Figures] = ()) -> Stat:
    """What it cost."""
    now, before = all.now, all.before
    left_out = f"{views.requests_words(now.without_cost)} without a known cost" if now.without_cost else ""
    return Stat(
        "cost",
        "Cost",
        views.cost_text(question, now),
        f"{views.COST_HOW} {views.sources_text(question, now)}",
        exact=question.money.exact(now.cost_nano),
        beside=left_out,
        href=question.logs(sort="cost"),
        change=views.against(
            question, now.cost_nano, before.cost_nano, question.money.text, any_before=before.requests, up="warn"
        ),
        lines=views.trend(question, [one.cost_nano for one in over_time]),
    )


def error_stat(question: Question, all: Compared, over_time: Sequence[Figures] = ()) -> Stat:
    """How many requests failed."""
    now, before = all.now, all.before
    refused = f" · {count(now.refused)} refused" if now.refused else ""
    return Stat(
        "errors",
        "Errors",
        count(now.errors),
        "Requests that reached a provider and failed: it answered with an error, fell silent, or could not be reached."
        " What Metrion refused never got there, and is counted apart.",
        exact=f"{now.errors:,}",
        beside=f"{percent(now.error_rate)} of requests{refused}",
        href=question.link("/dashboard/errors"),
        change=views.against(
            question, now.errors, before.errors, count, any_before=before.requests, up="bad", down="good"
        ),
        lines=views.trend(question, [one.errors for one in over_time]),
        kind="bad" if now.errors else "",
    )


def _requesters(question: Question, found: Overview) -> Stat:
    by_bucket = found.requesters_by_bucket
    change = (
        views.against(question, found.requesters, found.requesters_before, count, any_before=found.all.before.requests)
        if found.requesters is not None
        else None
    )
    return Stat(
        "requesters",
        "Requesters",
        count(found.requesters),
        "How many different names requests gave by header or label; those without one are not counted.",
        exact="" if found.requesters is None else f"{found.requesters:,}",
        change=change,
        lines=views.trend(question, by_bucket) if by_bucket is not None else (),
    )


def _whole(us: float | None) -> int | None:
    return None if us is None else round(us)


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def tokens_chart(question: Question, over_time: Any) -> Any:
    """Tokens by class, stacked."""
    layers = [Layer(name, [getattr(one, figure) for one in over_time]) for name, _, figure in _TOKENS]
    colours = {name: colour for name, colour, _ in _TOKENS}
    return views.stacked(question, "tokens", "Tokens", views.COUNT, [one for one in layers if any(one.values)], colours)


_STATUS_COLOURS = {"429": "2", "500": "4", "503": "1", "529": "5", "400": "6", "404": "7", "502": "8", "401": "3"}
_WORDS = {
    Outcome.TIMEOUT.value: "No answer in time",
    Outcome.UPSTREAM_FAILED.value: "Not reached, or broken off",
    Outcome.INTERRUPTED.value: "Metrion was stopped",
}


def status_name(status: int, outcome: str) -> str:
    """How an error is called: by its status, or by what happened where none came."""
    if outcome in _WORDS:
        return _WORDS[outcome]
    if not outcome:
        return f"{status // 100}xx" if status else "No answer"
    if status < 400:
        return f"{status}, failed in its stream"
    phrase = "Overloaded" if status == 529 else HTTPStatus(status).phrase if status in _KNOWN else ""
    return f"{status} {phrase}".strip()


_KNOWN = {one.value for one in HTTPStatus}


def status_colours(names: list[str]) -> dict[str, str]:
    """A colour for each name of a status, the same on every page."""
    found = {name: _STATUS_COLOURS[name[:3]] for name in names if name[:3] in _STATUS_COLOURS}
    free = [colour for colour in "12345678" if colour not in found.values()]
    rest = [name for name in names if name not in found]
    return found | dict(zip(rest, [*free, *[OTHER] * len(rest)], strict=False))


def status_bars(question: Question, statuses: list[Status]) -> Any:
    """Errors by status; a click leads to those of its class."""
    values: dict[str, int] = {}
    classes: dict[str, str] = {}
    for one in statuses:
        if one.errors:
            name = status_name(one.status, one.outcome)
            values[name] = values.get(name, 0) + one.errors
            classes[name] = f"{one.status // 100}xx" if one.status else "none"
    return views.bars(
        values,
        views.COUNT,
        status_colours(list(values)),
        href=lambda name: question.link("/dashboard/errors", status=classes[name]),
    )


# ── why ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _why(question: Question, found: costs.Why) -> Why:
    text = question.money.text
    pairs = [
        Pair(
            _signed(text, one.by_nano),
            f"{question.money.exact(one.before_nano)} before, {question.money.exact(one.now_nano)} now",
            one.requester or "Without a requester",
            views.requester_href(question, one.requester),
            one.model or views.UNNAMED,
            views.model_href(question, one.model),
        )
        for one in found.changes
    ]
    before = views.compared(question)
    if not found.before_nano:
        rest = f"Nothing was spent in the {before.removeprefix('the ')}, so there is nothing to explain."
    elif not pairs:
        rest = f"It cost the same as in the {before.removeprefix('the ')}."
    else:
        explained = _signed(text, sum(one.by_nano for one in found.changes))
        others = found.by_nano - sum(one.by_nano for one in found.changes)
        rest = f"Together {explained}; all others {_signed(text, others)}." if others else "That is all of it."
        if not found.whole:
            rest += " Looked for among the requesters and models whose cost changed most."
    return Why(
        _signed(text, found.by_nano),
        question.money.exact(found.by_nano),
        pairs if found.before_nano else [],
        rest,
    )


def _signed(text: Any, nano: int) -> str:
    return f"+{text(nano)}" if nano > 0 else text(nano).replace("-", "−", 1)
