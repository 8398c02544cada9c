"""What the Costs page asks: where the money goes, why it changed, and what the month will have cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import repeat
from random import Random
from typing import Any, NamedTuple

import msgspec

from metrion.kit.zones import day_start, local_date, midnight, month_start, next_day
from metrion.storage import requesters
from metrion.storage.dashboard import (
    Compared,
    Layer,
    Named,
    Overview,
    by_model,
    compared,
    layers,
    over_time,
    sums,
    whole,
)
from metrion.storage.database import Connection
from metrion.storage.folding import next_hour
from metrion.storage.search import Few, Wanted, find_few_greatest
from metrion.storage.view import NOTHING, Figures, Filters, Range, read_pairs

MOST_REQUESTERS = 50
OF_MODELS = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano",
    "cost_unpriced",
    "cost_unknown",
)


class Costs(NamedTuple):
    """Where the money went. Lists with a value a bucket go with `starts`."""

    all: Compared
    starts: list[int]
    over_time: list[Figures]
    models: list[Named]  # with the figures OF_MODELS
    providers: list[Named]
    requesters: list[Named]  # the dearest; empty where the filters are of models or a status but of no requester
    cost_by_model: list[Layer]


def costs(connection: Connection, account_id: int, range: Range, filters: Filters) -> Costs:
    """Where the money of a range went, beside the period before."""
    models = by_model(connection, account_id, range, filters, OF_MODELS)
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


def dearest(connection: Connection, account_id: int, range: Range, filters: Filters, number: int) -> Few:
    """The requests that cost most."""
    wanted = Wanted(range.from_ms, range.to_ms, filters.provider, filters.models, filters.requester, filters.status)
    return find_few_greatest(connection, account_id, wanted, "cost", number)


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
_PAIRS = 500  # that are looked at
_READ = 10_000  # rows of pairs, about
_FEWEST = 100  # pairs, however long the range
_MODELS = 40  # where there are more pairs


def why_it_changed(
    connection: Connection, account_id: int, range: Range, filters: Filters, known: Overview | None = None
) -> Why:
    """The three pairs of model and requester that explain most of the cost's difference from the period before.

    Of more pairs than can be looked at at once, those of the models and requesters are whose own cost changed most that
    way. `known`: the range's overview, where it was read already.
    """
    both = (range, range.before)
    all = known.all if known else compared(connection, account_id, range, filters)
    now, before = all.now.cost_nano, all.before.cost_nano
    direction = -1 if now < before else 1
    only, every = _changed_most(connection, account_id, range, filters, known, direction)
    pairs: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    if only is not None:
        for at, one in enumerate(both):
            found = read_pairs(connection, account_id, one, only, ("requester", "provider", "model"), ("cost_nano",))
            for pair, told in found.items():
                pairs[pair][at] += told.cost_nano
    changes = [Change(*pair, *costs) for pair, costs in pairs.items()]
    changes.sort(key=lambda one: (-one.by_nano * direction, one.requester, one.model))
    return Why(now, before, [one for one in changes[:_CHANGES] if one.by_nano * direction > 0], every)


def _changed_most(
    connection: Connection,
    account_id: int,
    range: Range,
    filters: Filters,
    known: Overview | None,
    direction: int,
) -> tuple[Filters | None, bool]:
    """What to look at, and whether that is all; None where nothing cost anything."""
    if filters.requester:
        return filters, True
    if known and known.each_requester:
        of_requesters = known.each_requester
    else:
        of_provider = Filters(filters.provider)
        of_requesters = (
            requesters.each(connection, account_id, range, of_provider),
            requesters.each(connection, account_id, range.before, of_provider),
        )
    names = _by_change(of_requesters[0].cost_nano, of_requesters[1].cost_nano, direction)
    of_models = (
        known.models if known else by_model(connection, account_id, range, filters, _COST),
        by_model(connection, account_id, range.before, filters, _COST),
    )
    models = _by_change(_sum_by_name(of_models[0]), _sum_by_name(of_models[1]), direction)
    if not (names and models):
        return None, True
    most = max(min(_PAIRS, _READ // len(range.starts)), _FEWEST)
    if len(names) * len(models) <= most:
        return msgspec.structs.replace(filters, among=tuple(names)), True
    few = models[:_MODELS]
    return msgspec.structs.replace(filters, models=tuple(few), among=tuple(names[: max(most // len(few), 1)])), False


_COST = ("cost_nano",)


def _sum_by_name(found: Iterable[Named]) -> dict[str, int]:
    """Cost by name: two providers may have a model of one name."""
    cost: defaultdict[str, int] = defaultdict(int)
    for one in found:
        cost[one.name] += one.figures.cost_nano
    return cost


def _by_change(now: Mapping[str, int], before: Mapping[str, int], direction: int) -> list[str]:
    """Names that cost anything, those first whose cost changed most in that direction."""
    named = [name for name in {**now, **before} if now.get(name) or before.get(name)]
    return [name for _, name in sorted(((before.get(name, 0) - now.get(name, 0)) * direction, name) for name in named)]


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
