"""Single calls as the dashboard lists them: the dearest, the slowest, the latest of a requester."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from metrion.storage.search import Wanted
from metrion.web.figures import count, duration
from metrion.web.pages.dashboard.board import Question


class CallLine(NamedTuple):
    """A call: what it is measured by, and where all of it is told."""

    href: str
    started_ms: int
    model: str
    requester: str
    tokens: str
    tokens_exact: str
    value: str
    exact: str


def call_lines(question: Question, rows: Sequence[Any], measure: str) -> list[CallLine]:
    """Rows of `storage.search`, measured by "cost" or "latency"."""
    return [_line(question, row, measure) for row in rows]


def _line(question: Question, row: Any, measure: str) -> CallLine:
    tokens = row.input_tokens + row.output_tokens
    if measure == "latency":
        value, exact = duration(row.latency_us), ""
    elif row.cost_nano is None:
        value, exact = row.cost_source, "Its cost is not known"
    else:
        value, exact = question.money.of_call(row.cost_nano), question.money.exact(row.cost_nano)
    return CallLine(
        f"/logs/{row.request_id.hex()}",
        row.started_ms,
        row.model or row.requested_model,
        row.requester,
        count(tokens),
        f"{tokens:,}",
        value,
        exact,
    )


def wanted(question: Question) -> Wanted:
    """The calls a question is about, as `storage.search` is asked for them."""
    asked = question.filters
    return Wanted(
        question.range.from_ms, question.range.to_ms, asked.provider, asked.models, asked.requester, asked.status
    )
