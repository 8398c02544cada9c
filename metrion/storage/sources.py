"""What the Sources page asks: who used what, each requester's trend and models, and one requester alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metrion.storage import requesters
from metrion.storage.costs import by_requester
from metrion.storage.dashboard import Compared, Layer, Named, by_model, compared, layers, whole
from metrion.storage.database import Connection
from metrion.storage.view import NOTHING, Figures, Filters, Range, read, read_pairs

_MODELS = 3
_READ = 25_000  # rows of pairs, about
_FEW_DAYS, _FEW_MODELS = 45, 500
_ONE = ("requests",)


class Source(NamedTuple):
    """A requester. `trend`: its cost in each bucket; `models`: those it spent most on, None where that is too much to
    read for all that are listed.
    """

    name: str
    figures: Figures
    trend: list[int]
    models: list[str] | None


class Sources(NamedTuple):
    """The greatest requesters; none where filters of models or a status class leave nothing that can be summed."""

    all: Compared
    starts: list[int]
    sources: list[Source]
    requesters: int | None  # of those that have a name; None where that is not known
    known: bool


def sources(
    connection: Connection, account_id: int, range: Range, filters: Filters, order: str = "cost_nano"
) -> Sources:
    """The requesters that are greatest by a figure ("cost_nano", "requests", "errors", …)."""
    known = bool(filters.requester) or not (filters.models or filters.status is not None)
    found = by_requester(connection, account_id, range, filters, order) if known else []
    names = [one.name for one in found]
    trends = requesters.series(connection, account_id, range, filters, names, ("cost_nano",))
    models = _models(connection, account_id, range, filters, names)
    starts = range.starts
    return Sources(
        all=compared(connection, account_id, range, filters),
        starts=starts,
        sources=[
            Source(
                one.name,
                one.figures,
                [trends.get((one.name, start), NOTHING).cost_nano for start in starts],
                models.get(one.name),
            )
            for one in found
        ],
        requesters=None
        if filters.models or filters.status is not None
        else requesters.count(connection, account_id, range, filters),
        known=known,
    )


def _models(
    connection: Connection, account_id: int, range: Range, filters: Filters, names: Sequence[str]
) -> dict[str, list[str]]:
    """The models on which the first of these requesters spent most."""
    every = {model for (model,) in read(connection, account_id, range, Filters(filters.provider), ("model",), _ONE)}
    some = tuple(names[: max(_READ // max(len(range.starts) * len(every), 1), 1)])
    if not some:
        return {}
    few = len(range.starts) <= _FEW_DAYS and len(every) <= _FEW_MODELS  # of a long range, most of their rows are in it
    among = filters.models or (tuple(every) if few else ())
    only = Filters(filters.provider, among, "", filters.status, some)
    found = read_pairs(connection, account_id, range, only, ("requester", "model"), ("cost_nano", "requests"))
    models: dict[str, list[str]] = {name: [] for name in some}
    for requester, model in sorted(found, key=lambda key: (-found[key].cost_nano, -found[key].requests, key)):
        if len(models[requester]) < _MODELS:
            models[requester].append(model)
    return models


class OneSource(NamedTuple):
    """One requester alone. Lists with a value a bucket go with `starts`."""

    all: Compared
    starts: list[int]
    over_time: list[Figures]
    models: list[Named]
    providers: list[Named]
    cost_by_model: list[Layer]


def source(connection: Connection, account_id: int, range: Range, filters: Filters) -> OneSource:
    """What `filters.requester` used, beside the period before."""
    models = by_model(connection, account_id, range, filters)
    found = whole(connection, account_id, range, filters)
    return OneSource(
        all=found.all,
        starts=range.starts,
        over_time=found.over_time,
        models=models,
        providers=found.providers,
        cost_by_model=layers(connection, account_id, range, filters, models, found.over_time),
    )
