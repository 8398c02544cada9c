"""Where no call matches: which filter excludes everything, and what would show something."""

from __future__ import annotations

from typing import Any, NamedTuple

from metrion.storage.dashboard import sums
from metrion.storage.database import Connection
from metrion.storage.totals import find_folds
from metrion.storage.view import NOTHING
from metrion.web.filters import RANGES
from metrion.web.pages.dashboard.board import Question


class Drop(NamedTuple):
    """A filter without which there would be calls."""

    name: str
    value: str
    number: int
    href: str


class Wider(NamedTuple):
    """A range that has some."""

    label: str
    href: str


def read(connection: Connection, question: Question) -> dict[str, Any]:
    """The context of dashboard/nothing.html."""
    asked = question.asked
    without: list[tuple[str, str, dict[str, Any]]] = [
        ("Provider", asked.provider, {"provider": ""}),
        ("Models" if len(asked.models) > 1 else "Model", ", ".join(asked.models), {"models": ()}),
        ("Requester", "" if question.source else asked.requester, {"requester": ""}),
        ("Status", asked.status, {"status": ""}),
    ]
    drops = []
    for name, value, changes in without:
        if value:
            left = question._replace(asked=asked.but(**changes))
            number = _count(connection, left)
            drops.append(Drop(name, value, number, question.here(**changes)))
    none = {"provider": "", "models": (), "status": ""} | ({} if question.source else {"requester": ""})
    last_ms = find_folds(connection, [question.account_id])[question.account_id].last_ms
    return {
        "drops": [one for one in drops if one.number],
        "others": _count(connection, question._replace(asked=asked.but(**none))) if drops else 0,
        "last_ms": last_ms if last_ms >= question.kept_ms else 0,
        "wider": _wider(question, last_ms),
    }


def _count(connection: Connection, question: Question) -> int:
    if question.span.empty:
        return 0
    told = sums(connection, question.account_id, question.range, question.filters, (), ("requests", "refused")).get(
        (), NOTHING
    )
    return told.requests + told.refused


def _wider(question: Question, last_ms: int) -> Wider | None:
    """The shortest range that holds the last call, where the one that is shown does not."""
    if not question.kept_ms <= last_ms or question.span.from_ms <= last_ms < question.span.to_ms:
        return None
    for name, label in RANGES.items():
        span = question.asked.but(range=name).span(question.zone, question.range.now_ms, question.kept_ms)
        if span.from_ms <= last_ms:
            return Wider(label, question.here(range=name))
    return None
