"""Errors: how calls failed, at their provider or here, what was said of it, and the latest."""

from __future__ import annotations

from typing import Any, NamedTuple

from metrion.call import Outcome
from metrion.storage import failures
from metrion.storage.database import Connection
from metrion.storage.failures import Errors, Failure
from metrion.web.cards import Stat
from metrion.web.charts import Chart
from metrion.web.figures import count, percent
from metrion.web.pages.dashboard import views
from metrion.web.pages.dashboard.board import Question
from metrion.web.pages.dashboard.overview import error_stat, status_colours, status_name

_MOST_ROWS = 30
_LONGEST = 300


class Row(NamedTuple):
    """Calls that failed alike. `kind` colours the status."""

    kind: str
    status: str
    code: str
    message: str
    provider: str
    part: float
    number: int


class Line(NamedTuple):
    """One call that failed."""

    href: str
    kind: str
    status: str
    message: str
    model: str
    requester: str
    started_ms: int


def read(connection: Connection, question: Question) -> dict[str, Any] | None:
    """The context of dashboard/errors.html; None where no call matches."""
    found = failures.errors(connection, question.account_id, question.range, question.filters)
    now = found.all.now
    if not (now.requests or now.refused):
        return None
    said = [one for one in found.failures if one.outcome != Outcome.REJECTED.value]
    refused = [one for one in found.failures if one.outcome == Outcome.REJECTED.value]
    return {
        "stats": _stats(question, found),
        "compared": views.compared(question),
        "chart": _chart(question, found),
        "said": _rows(said),
        "refused": _rows(refused),
        "of_all": found.failures_of_all,
        "latest": [_line(row) for row in found.latest],
    }


def _stats(question: Question, found: Errors) -> list[Stat]:
    now, before = found.all.now, found.all.before
    rates = [one.error_rate for one in found.over_time]
    own = [one for one in found.failures if one.own and one.outcome != Outcome.REJECTED.value]
    cut = sum(one.requests for one in own)
    return [
        error_stat(question, found.all, found.over_time)._replace(href=question.link("/dashboard/errors")),
        Stat(
            "rate",
            "Error rate",
            percent(now.error_rate),
            "Errors by requests that reached a provider.",
            beside=f"of {views.requests_words(now.requests)}",
            change=views.against(
                question, now.error_rate, before.error_rate, percent, any_before=before.requests, up="bad", down="good"
            ),
            lines=views.trend(question, rates),
        ),
        Stat(
            "silent",
            "Without a provider’s answer",
            count(cut),
            "Errors where the provider fell silent, could not be reached or broke off, or Metrion was stopped.",
            exact=f"{cut:,}",
            beside="timeouts, broken connections",
        ),
        Stat(
            "refused",
            "Refused by Metrion",
            count(now.refused),
            "Requests that never reached a provider: a wrong key, a limit, a body no provider would take. They cost"
            " nothing and are in no other figure.",
            exact=f"{now.refused:,}",
            change=views.against(
                question, now.refused, before.refused, count, any_before=before.requests or before.refused
            ),
            lines=views.trend(question, [one.refused for one in found.over_time]),
        ),
    ]


def _chart(question: Question, found: Errors) -> Chart:
    names = {one.name: _long_name(one.name) for one in found.by_status}
    colours = status_colours([name for name in names if name])
    return views.stacked(
        question, "errors", "Errors", views.COUNT, found.by_status, colours, name=lambda name: names[name]
    )


def _long_name(name: str) -> str:
    """How a layer of storage's is called: "429" becomes 429 Too Many Requests."""
    if name.isdigit():
        return status_name(int(name), Outcome.PROVIDER_ERROR.value)
    if name.endswith("xx") or name == "no answer":
        return name.capitalize()
    return status_name(0, name)


def _rows(found: list[Failure]) -> list[Row]:
    whole = sum(one.requests for one in found)
    return [
        Row(
            _kind(one.status),
            str(one.status or "–"),
            one.error_code,
            one.message or status_name(one.status, one.outcome),
            views.provider_name(one.provider) if one.provider else "–",
            one.requests / whole,
            one.requests,
        )
        for one in found[:_MOST_ROWS]
    ]


def _line(row: Any) -> Line:
    return Line(
        f"/logs/{row.request_id.hex()}",
        _kind(row.status),
        str(row.status or "–"),
        (row.error_message or status_name(row.status, row.outcome))[:_LONGEST],
        row.model or row.requested_model,
        row.requester,
        row.started_ms,
    )


def _kind(status: int) -> str:
    return "warn" if 400 <= status < 500 else "bad"
