"""Reading an address: the same names as on the pages, but what is not understood, or not known at all, is refused."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from metrion.accounts.plans import visible_since
from metrion.kit.clock import iso
from metrion.storage.view import Filters, Range
from metrion.web import filters
from metrion.web.api.access import Problem, Question
from metrion.web.filters import LONGEST_NAME, STATUS, Asked

COMMON = ("range", "from", "to", "provider", "model", "requester", "status")
_MANY = ("model",)


class Bounds(NamedTuple):
    """[from, to) in Unix ms; nothing before what the account's plan keeps. `hourly`: whether its buckets are hours."""

    from_ms: int
    to_ms: int
    hourly: bool


def read(question: Question, more: Collection[str] = ()) -> Asked:
    """What is asked for; a Problem where a name or a value is not one of ours."""
    given = question.visit.request.query_params
    unknown = sorted(set(given) - {*COMMON, *more})
    if unknown:
        raise Problem(400, f"There is no parameter {unknown[0][:40]!r}. There are {', '.join((*COMMON, *more))}.")
    for name in given:
        values = given.getlist(name)
        if len(values) > 1 and name not in _MANY:
            raise Problem(400, f"{name} can be given once.")
        if not all(value.strip() for value in values):
            raise Problem(400, f"{name} is empty. Leave it out.")
        if any("\0" in value for value in values):
            raise Problem(400, f"{name} holds a zero byte.")
        if name in ("model", "requester") and max(map(len, values)) > LONGEST_NAME:
            raise Problem(400, f"{name} has at most {LONGEST_NAME} characters.")
    if "range" in given and ("from" in given or "to" in given):
        raise Problem(400, "Give either range, or from and to.")
    asked = filters.read(given)
    if asked.problems:
        raise Problem(400, asked.problems[0].partition(" Showing ")[0])
    return asked


def one_of(question: Question, name: str, values: Collection[str], default: str) -> str:
    """A parameter that is one of `values`."""
    given = question.visit.request.query_params.get(name, default)
    if given not in values:
        raise Problem(400, f"{name} is one of {', '.join(values)}.")
    return given


def number(question: Question, name: str, most: int, default: int) -> int:
    """A parameter that is a number from 1 to `most`."""
    given = question.visit.request.query_params.get(name, str(default))
    if not (given.isascii() and given.isdigit() and len(given) <= len(str(most)) and 1 <= int(given) <= most):
        raise Problem(400, f"{name} is a number from 1 to {most}.")
    return int(given)


def bounds(question: Question, asked: Asked) -> Bounds:
    """The range as moments."""
    reader = question.reader
    span = asked.span(
        reader.time_zone, question.now, visible_since(question.visit.site.settings, reader.plan, question.now)
    )
    return Bounds(span.from_ms, max(span.to_ms, span.from_ms), span.hourly)


def range_of(question: Question, found: Bounds) -> Range:
    """The range as totals are asked for it."""
    return Range(question.reader.time_zone, found.from_ms, found.to_ms, found.hourly, question.now)


def filters_of(asked: Asked) -> Filters:
    """The filters as totals are asked for them."""
    return Filters(asked.provider, asked.models, asked.requester, STATUS.get(asked.status))


def head(question: Question, found: Bounds) -> dict[str, Any]:
    """What each answer begins with."""
    return {"from": iso(found.from_ms), "to": iso(found.to_ms), "time_zone": question.reader.time_zone}
