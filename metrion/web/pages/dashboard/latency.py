"""Latency: how long answers took and began to come, how fast they were told, and what Metrion itself added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from metrion.storage import latencies, search
from metrion.storage.database import Connection
from metrion.storage.latencies import MOST_MODELS, MOST_ROWS, Latency, Quantiles, Timed
from metrion.web.cards import Stat
from metrion.web.charts import OTHER, Chart, Series
from metrion.web.figures import MISSING, count, duration
from metrion.web.known import PROVIDER_COLOURS
from metrion.web.pages.dashboard import views
from metrion.web.pages.dashboard.board import Question
from metrion.web.pages.dashboard.calls import call_lines, wanted

_PERCENTILES = (("p50", "1"), ("p95", "2"), ("p99", "4"))
_MOST_CALLS = 10
_FEW_ROWS = 12


class Row(NamedTuple):
    """A model's or provider's times as text."""

    name: str
    colour: str
    href: str
    requests: int
    p50: str
    p95: str
    p99: str
    ttft50: str
    ttft95: str
    speed: str


def read(connection: Connection, question: Question) -> dict[str, Any] | None:
    """The context of dashboard/latency.html; None where no call that matches reached a provider."""
    most = MOST_MODELS if question.own.get("all") else _FEW_ROWS
    found = latencies.latency(connection, question.account_id, question.range, question.filters, most)
    if not found.figures.requests:
        return None
    colours = question.known.models.of(one.name for one in found.models)
    slowest = search.find_few_greatest(connection, question.account_id, wanted(question), "latency", _MOST_CALLS)
    return {
        "stats": _stats(question, found),
        "compared": views.compared(question),
        "sample": _sample(found),
        "latency_chart": _chart(
            question, "latency", "Latency", [one.latency for one in found.over_time], found.all.latency
        ),
        "ttft_chart": _chart(
            question, "ttft", "Time to first byte", [one.first_byte for one in found.over_time], found.all.first_byte
        ),
        "models": [
            _row(one, one.name or views.UNNAMED, colours.get(one.name, OTHER), views.model_href(question, one.name))
            for one in found.models
        ],
        "more": (f"Show all {found.every_model}", question.choose(all="yes"))
        if len(found.models) < found.every_model
        else (),
        "providers": [
            _row(
                one,
                views.provider_name(one.name),
                PROVIDER_COLOURS.get(one.name, OTHER),
                views.provider_href(question, one.name),
            )
            for one in found.providers
        ],
        "top": call_lines(question, slowest.rows, "latency"),
        "top_of": slowest.latest,
    }


def _sample(found: Latency) -> str:
    """What percentiles rest on, where that is not every call."""
    if found.all_rows:
        return ""
    return (
        f"Percentiles under a requester or a status are those of the latest {MOST_ROWS:,} requests: totals know them by"
        " model and provider only."
    )


def _stats(question: Question, found: Latency) -> list[Stat]:
    now, before = found.all, found.before
    speed = found.figures.tokens_a_second

    def against(at: float | None, then: float | None) -> Any:
        if before is None:
            return None
        return views.against(question, at, then, lambda us: _text(us), up="warn", down="good")

    return [
        Stat(
            "p50",
            "Latency, median",
            _text(now.latency[0]),
            "Half of the requests were answered sooner: from a request's arrival to the last byte of its answer.",
            beside=f"{_text(now.latency[1])} p95 · {_text(now.latency[2])} p99",
            href=question.logs(sort="latency"),
            change=against(now.latency[0], before.latency[0] if before else None),
            lines=views.trend(question, [one.latency[0] for one in found.over_time]),
        ),
        Stat(
            "ttft",
            "Time to first byte, median",
            _text(now.first_byte[0]),
            "From a request's arrival to the first byte of its answer's body. For streams, that is when text appears.",
            beside=f"{_text(now.first_byte[1])} p95 · {_text(now.first_byte[2])} p99",
            change=against(now.first_byte[0], before.first_byte[0] if before else None),
            lines=views.trend(question, [one.first_byte[0] for one in found.over_time]),
        ),
        Stat(
            "speed",
            "Output speed",
            MISSING if speed is None else f"{_speed(speed)}/s",
            "Output tokens of streams that ended well, by the time from their first byte to their last.",
            beside="tokens, in streams",
            lines=views.trend(question, found.speed),
        ),
        Stat(
            "overhead",
            "Metrion’s own share, median",
            _text(now.overhead[0]),
            "What a request took without waiting for its provider: receiving it, recording it, passing the answer on."
            " A client that reads slowly counts too.",
            beside=f"{_text(now.overhead[1])} p95 · {_text(now.overhead[2])} p99",
            change=against(now.overhead[0], before.overhead[0] if before else None),
            lines=views.trend(question, [one.overhead[0] for one in found.over_time]),
        ),
    ]


def _chart(question: Question, id: str, title: str, over_time: Sequence[Quantiles], whole: Quantiles) -> Chart:
    series = [Series(name, colour, _text(all_of)) for (name, colour), all_of in zip(_PERCENTILES, whole, strict=True)]
    columns = [[one[at] for one in over_time] for at in range(len(_PERCENTILES))]
    return views.chart(question, id, title, views.DURATION, series, columns, kind="lines")


def _row(one: Timed, name: str, colour: str, href: str) -> Row:
    latency, first_byte = one.times.latency, one.times.first_byte
    speed = one.figures.tokens_a_second
    return Row(
        name,
        colour,
        href,
        one.figures.requests,
        _text(latency[0]),
        _text(latency[1]),
        _text(latency[2]),
        _text(first_byte[0]),
        _text(first_byte[1]),
        MISSING if speed is None else _speed(speed),
    )


def _text(us: float | None) -> str:
    return duration(None if us is None else round(us))


def _speed(tokens: float) -> str:
    return f"{tokens:.1f}" if tokens < 9.95 else count(round(tokens))
