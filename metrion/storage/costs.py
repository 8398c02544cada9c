"""What the Costs page asks: where the money goes, why it changed, and what the month will have cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from itertools import repeat
from random import Random
from typing import Any, NamedTuple

import msgspec

from metrion.kit.zones import day_start, local_date, midnight, month_start, next_day
from metrion.storage import requesters
from metrion.storage.dashboard import Compared, Layer, Named, by_model, layers, over_time, sums, whole
from metrion.storage.database import Connection
from metrion.storage.folding import next_hour
from metrion.storage.requesters import Each
from metrion.storage.search import Greatest, Wanted, find_greatest
from metrion.storage.view import NOTHING, Figures, Filters, Range, read, read_pairs

MOST_REQUESTERS = 50


class Costs(NamedTuple):
    """Where the money went. Lists with a value a bucket go with `starts`."""

    all: Compared
    starts: list[int]
    over_time: list[Figures]
    models: list[Named]
    providers: list[Named]
    requesters: list[Named]  # the dearest; empty where the filters are of models or a status but of no requester
    cost_by_model: list[Layer]


def costs(connection: Connection, account_id: int, range: Range, filters: Filters) -> Costs:
    """Where the money of a range went, beside the period before."""
    models = by_model(connection, account_id, range, filters)
    found = whole(connection, account_id, range, filters)
    return Costs(
        all=found.all,
        starts=range.starts,
        over_time=found.over_time,
        models=models,
        providers=found.providers,
        requesters=by_requester(connection, account_id, range, filters),
        cost_by_model=layers(connection, account_id, range, filters, models, found.over_time),
    )


def by_requester(
    connection: Connection,
    account_id: int,
    range: Range,
    filters: Filters,
    order: str = "cost_nano",
    limit: int = MOST_REQUESTERS,
    names: Sequence[str] | None = None,
) -> list[Named]:
    """What the greatest requesters had, by one of the figures; [] where no total can tell within these filters.

    `names`: those, where it is known already who they are.
    """
    if filters.models or filters.status is not None:
        if not filters.requester:
            return []
        found = read_pairs(connection, account_id, range, filters, ("requester",))
    else:
        found = requesters.sums(connection, account_id, range, filters, order=order, limit=limit, names=names)
    return [Named(name, told) for (name,), told in found.items()]


def dearest(connection: Connection, account_id: int, range: Range, filters: Filters) -> Greatest:
    """The requests that cost most."""
    wanted = Wanted(range.from_ms, range.to_ms, filters.provider, filters.models, filters.requester, filters.status)
    return find_greatest(connection, account_id, wanted, "cost", 0)


# ── why it changed ────────────────────────────────────────────────────────────────────────────────────────────────────


class Change(NamedTuple):
    """What one requester cost on one model, before and now."""

    requester: str
    provider: str
    model: str
    now_nano: int
    before_nano: int

    @property
    def by_nano(self) -> int:
        return self.now_nano - self.before_nano


class Why(NamedTuple):
    """The pairs that explain most of a difference in cost. `whole`: every pair was looked at."""

    now_nano: int
    before_nano: int
    changes: list[Change]
    whole: bool

    @property
    def by_nano(self) -> int:
        return self.now_nano - self.before_nano


_CHANGES = 3
_LOOKED_AT = 100  # requesters
_READ = 60_000  # rows of pairs, about


def why_it_changed(
    connection: Connection, account_id: int, range: Range, filters: Filters, each: tuple[Each, Each] | None = None
) -> Why:
    """The three pairs of model and requester that explain most of the cost's difference from the period before.

    Of more requesters than can be looked at at once, those that cost most in either period are. `each`: what all cost
    now and before, where that is known already.
    """
    both = (range, range.before)
    now, before = (
        sums(connection, account_id, one, filters, (), ("cost_nano",)).get((), NOTHING).cost_nano for one in both
    )
    candidates, every = _greatest(connection, account_id, range, filters, each)
    pairs: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    if candidates:
        only = filters if filters.requester else msgspec.structs.replace(filters, among=tuple(candidates))
        for at, one in enumerate(both):
            found = read_pairs(connection, account_id, one, only, ("requester", "provider", "model"), ("cost_nano",))
            for pair, told in found.items():
                pairs[pair][at] += told.cost_nano
    changes = [Change(*pair, *costs) for pair, costs in pairs.items()]
    direction = -1 if now < before else 1
    changes.sort(key=lambda one: (-one.by_nano * direction, one.requester, one.model))
    return Why(now, before, [one for one in changes[:_CHANGES] if one.by_nano * direction > 0], every)


def _greatest(
    connection: Connection, account_id: int, range: Range, filters: Filters, each: tuple[Each, Each] | None
) -> tuple[list[str], bool]:
    """Requesters to look at, those that cost most first, and whether that is all of them."""
    if filters.requester:
        return [filters.requester], True
    only = Filters(filters.provider)
    cost: dict[str, int] = {}
    for told in each or (requesters.each(connection, account_id, one, only) for one in (range, range.before)):
        for name in told.dearest(_LOOKED_AT + 1):
            if told.cost_nano[name]:
                cost[name] = max(cost.get(name, 0), told.cost_nano[name])
    models = len(read(connection, account_id, range, filters, ("provider", "model"), ("requests",)))
    most = min(max(_READ // max(2 * len(range.starts) * models, 1), 3), _LOOKED_AT)
    names = sorted(cost, key=lambda name: (-cost[name], name))
    return names[:most], len(names) <= most


# ── the month ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Forecast(NamedTuple):
    """What the month will have cost, in nano-dollars: with 80 % likelihood between `low` and `high`."""

    so_far_nano: int
    expected_nano: int
    low_nano: int
    high_nano: int


FEWEST_DAYS = 7
_SAMPLE_DAYS = 28
_DRAWS = 1000
_SEED = 20_261


def month_to_date(connection: Connection, account_id: int, zone: str, now_ms: int, filters: Filters) -> int:
    """What the month has cost so far, in nano-dollars; months and days are those of the zone."""
    month = Range(zone, month_start(zone, now_ms), next_day(zone, now_ms), False, now_ms)
    return sums(connection, account_id, month, filters, (), ("cost_nano",)).get((), NOTHING).cost_nano


def forecast(connection: Connection, account_id: int, zone: str, now_ms: int, filters: Filters) -> Forecast | None:
    """What the month will have cost; None while there are fewer than FEWEST_DAYS whole days to tell by.

    Each day to come costs the mean of its weekday over the last 28 whole days; today what it has cost, or that if it is
    more. The range is that of the middle 80 % of months in which each day is drawn from its weekday's.
    """
    today = local_date(zone, now_ms)
    tomorrow = next_day(zone, now_ms)
    sample = Range(zone, midnight(zone, today - timedelta(_SAMPLE_DAYS)), tomorrow, False, now_ms)
    *daily, this_day = (told.cost_nano for told in over_time(connection, account_id, sample, filters, ("cost_nano",)))
    began = next_hour(connection, account_id, 0)
    first = tomorrow if began is None else day_start(zone, began)
    known = [(day, cost) for day, cost in zip(sample.starts, daily, strict=False) if day >= first]
    if len(known) < FEWEST_DAYS:
        return None
    by_weekday: defaultdict[int, list[int]] = defaultdict(list)
    for day, cost in known:
        by_weekday[local_date(zone, day).weekday()].append(cost)
    so_far = month_to_date(connection, account_id, zone, now_ms, filters)
    to_come = [by_weekday[weekday] for weekday in _weekdays_left(zone, now_ms)]
    mean = by_weekday[today.weekday()]
    spent = so_far + max(round(sum(mean) / len(mean)) - this_day, 0)
    expected = spent + sum(round(sum(costs) / len(costs)) for costs in to_come)
    chance = Random(_SEED)  # noqa: S311  for a picture of chance, the same each time
    draws = sorted(spent + sum(map(chance.choice, to_come)) for _ in repeat(None, _DRAWS))
    return Forecast(so_far, expected, draws[_DRAWS // 10], draws[_DRAWS - _DRAWS // 10 - 1])


def _weekdays_left(zone: str, now_ms: int) -> list[int]:
    """The weekdays of the month's days after today."""
    found, day = [], next_day(zone, now_ms)
    while local_date(zone, day).month == local_date(zone, now_ms).month:
        found.append(local_date(zone, day).weekday())
        day = next_day(zone, day)
    return found
