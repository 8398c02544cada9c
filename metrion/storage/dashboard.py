"""What the dashboard's pages ask of what was used. Each function is named after its answer.

All read totals (`storage.view`, `storage.requesters`), whatever the number of calls; where filters need more than
totals can tell, `Basis` says what the answer rests on. Money: `storage.costs`; durations: `storage.latencies`; errors:
`storage.failures`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from metrion.storage import requesters
from metrion.storage.database import Connection
from metrion.storage.requesters import Each
from metrion.storage.view import ALL, COUNTS, NOTHING, Figures, Filters, Key, Range, read, read_pairs, total

MOST_SERIES = 6  # layers of a chart; what is left is one more


class Basis(StrEnum):
    """What an answer rests on."""

    TOTALS = "totals"
    PAIRS = "pairs"  # of model and requester: without what was refused


class Named(NamedTuple):
    """What one model, provider or requester used; `provider` of a model."""

    name: str
    figures: Figures
    provider: str = ""


class Layer(NamedTuple):
    """A named series, one value a bucket. The name "" is that of all others."""

    name: str
    values: list[int]


class Compared(NamedTuple):
    """A range beside the period before (`Range.before`)."""

    now: Figures
    before: Figures
    basis: Basis


class Whole(NamedTuple):
    """All of a range, each of its buckets, and each provider, the dearest first."""

    all: Compared
    over_time: list[Figures]
    providers: list[Named]


# ── sums ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def basis_of(filters: Filters) -> Basis:
    """Of models or a status class, only pairs know who the requester was."""
    return Basis.PAIRS if filters.requester and (filters.models or filters.status is not None) else Basis.TOTALS


def sums(
    connection: Connection,
    account_id: int,
    range: Range,
    filters: Filters,
    by: Sequence[str] = (),
    figures: Sequence[str] = ALL,
) -> dict[Key, Figures]:
    """Sums by "start_ms", "provider" or "model", or two of these, with whatever filters."""
    if not filters.requester:
        return read(connection, account_id, range, filters, by, figures)
    if basis_of(filters) is Basis.PAIRS or "model" in by:
        return read_pairs(connection, account_id, range, filters, by, figures)
    if "start_ms" not in by:
        return requesters.sums(connection, account_id, range, filters, by, figures, order=figures[0])
    if "provider" in by:
        return read_pairs(connection, account_id, range, filters, by, figures)
    found = requesters.series(connection, account_id, range, filters, [filters.requester], figures)
    return {(start,): told for (_, start), told in found.items()}


def compared(connection: Connection, account_id: int, range: Range, filters: Filters) -> Compared:
    """All of a range, and of the period before."""
    now, before = (sums(connection, account_id, one, filters).get((), NOTHING) for one in (range, range.before))
    return Compared(now, before, basis_of(filters))


def whole(connection: Connection, account_id: int, range: Range, filters: Filters) -> Whole:
    """What a range had, all together, by bucket and by provider, from one look at the totals where that can tell."""
    asked = (connection, account_id, range, filters)
    if filters.requester:
        return Whole(compared(*asked), over_time(*asked), by_provider(*asked))
    found = read(*asked, ("start_ms", "provider"))
    starts, providers = ({key[at] for key in found} for at in (0, 1))
    of_start = {one: total(told for (start, _), told in found.items() if start == one) for one in starts}
    before = sums(connection, account_id, range.before, filters).get((), NOTHING)
    return Whole(
        Compared(total(of_start.values()), before, Basis.TOTALS),
        [of_start.get(start, NOTHING) for start in range.starts],
        _dearest(
            Named(one, total(told for (_, provider), told in found.items() if provider == one), one)
            for one in providers
        ),
    )


def over_time(
    connection: Connection, account_id: int, range: Range, filters: Filters, figures: Sequence[str] = ALL
) -> list[Figures]:
    """What each bucket of a range had."""
    found = sums(connection, account_id, range, filters, ("start_ms",), figures)
    return [found.get((start,), NOTHING) for start in range.starts]


def by_model(
    connection: Connection, account_id: int, range: Range, filters: Filters, figures: Sequence[str] = ALL
) -> list[Named]:
    """What each model had, the dearest first."""
    found = sums(connection, account_id, range, filters, ("provider", "model"), figures)
    return _dearest(Named(model, told, provider) for (provider, model), told in found.items())


def by_provider(
    connection: Connection, account_id: int, range: Range, filters: Filters, figures: Sequence[str] = ALL
) -> list[Named]:
    """What each provider had, the dearest first."""
    found = sums(connection, account_id, range, filters, ("provider",), figures)
    return _dearest(Named(provider, told, provider) for (provider,), told in found.items())


def _dearest(found: Iterable[Named]) -> list[Named]:
    return sorted(found, key=lambda one: (-one.figures.cost_nano, -one.figures.requests, one.name))


def layers(
    connection: Connection,
    account_id: int,
    range: Range,
    filters: Filters,
    dearest: Sequence[Named],
    buckets: Sequence[Figures],
    figure: str = "cost_nano",
) -> list[Layer]:
    """A figure of each bucket by model: the MOST_SERIES greatest of `dearest`, and the rest of `buckets` together."""
    shown = sorted(dearest, key=lambda one: -getattr(one.figures, figure))[:MOST_SERIES]
    chosen = [one.name for one in shown if getattr(one.figures, figure)]
    starts = range.starts
    values: defaultdict[str, dict[int, int]] = defaultdict(dict)
    if chosen:
        only = Filters(filters.provider, tuple(chosen), filters.requester, filters.status)
        for (start, model), told in sums(connection, account_id, range, only, ("start_ms", "model"), (figure,)).items():
            values[model][start] = getattr(told, figure)
    found = [Layer(name, [values[name].get(start, 0) for start in starts]) for name in dict.fromkeys(chosen)]
    every = [getattr(told, figure) for told in buckets]
    rest = [all - sum(column) for all, *column in zip(every, *(layer.values for layer in found), strict=True)]
    return [*found, Layer("", rest)] if any(rest) else found


# ── the overview ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Status(NamedTuple):
    """How many calls ended so. `outcome` is "" and `status` only its class (400) where that is all that is known."""

    status: int
    outcome: str
    requests: int
    refused: int
    errors: int


class Overview(NamedTuple):
    """The first page. Lists with a value a bucket go with `starts`."""

    all: Compared
    starts: list[int]
    over_time: list[Figures]
    models: list[Named]  # by requests
    cost_by_model: list[Layer]
    providers: list[Named]  # by cost
    statuses: list[Status]  # of errors and refusals
    requesters: int | None  # that have a name; None where the filters are of models or a status
    requesters_before: int | None
    requesters_by_bucket: list[int] | None  # None under any filter
    each_requester: tuple[Each, Each] | None  # now and before; None under filters but of a provider


def overview(connection: Connection, account_id: int, range: Range, filters: Filters) -> Overview:
    """What a range had, beside the period before."""
    models = by_model(connection, account_id, range, filters, _OF_MODELS)
    found = whole(connection, account_id, range, filters)
    told = filters.models or filters.status is not None
    both = (range, range.before)
    each = None
    if not (told or filters.requester):
        now, before = (requesters.each(connection, account_id, one, filters) for one in both)
        each = now, before
        active: list[int | None] = [now.active, before.active]
    else:
        active = [None if told else requesters.count(connection, account_id, one, filters) for one in both]
    return Overview(
        all=found.all,
        starts=range.starts,
        over_time=found.over_time,
        models=sorted(models, key=lambda one: -one.figures.requests),
        cost_by_model=layers(connection, account_id, range, filters, models, found.over_time),
        providers=[one for one in found.providers if one.figures.requests],
        statuses=statuses(connection, account_id, range, filters),
        requesters=active[0],
        requesters_before=active[1],
        requesters_by_bucket=(
            requesters.count_by_bucket(connection, account_id, range) if filters == Filters() else None
        ),
        each_requester=each,
    )


_OF_MODELS = ("requests", "errors", "cost_nano", "cost_unpriced", "cost_unknown")


def statuses(connection: Connection, account_id: int, range: Range, filters: Filters) -> list[Status]:
    """How calls failed or were refused, the most frequent first."""
    if filters.requester:
        by_class = read_pairs(connection, account_id, range, filters, ("class",), COUNTS)
        found = [Status(100 * one, "", *told[:3]) for (one,), told in by_class.items() if told.errors]
    else:
        by_status = read(connection, account_id, range, filters, ("status", "outcome"), COUNTS)
        found = [
            Status(status, outcome, *told[:3])
            for (status, outcome), told in by_status.items()
            if told.errors or told.refused
        ]
    return sorted(found, key=lambda one: (-one.errors - one.refused, one.status))
