"""Whether an account has recorded anything, whether anything is new, which names it used: what a page asks first."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import exists, func, select

from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.kit.zones import QUARTER_MS, utc_month
from metrion.storage.database import Connection
from metrion.storage.tables import model_days, model_hours, names
from metrion.storage.totals import find_folds

_RECENT_MS = 3 * HOUR_MS
_RANKED_DAYS = 30
_MOST_NAMES = 200


class Names(NamedTuple):
    """An account's models, those that cost most first, and its requesters by name; at most 200 of each."""

    models: list[str]
    requesters: list[str]


def has_calls(connection: Connection, account_id: int) -> bool:
    """Whether the account ever made a call."""
    return bool(connection.execute(select(exists().where(model_hours.c.account_id == account_id))).scalar())


def pulse(connection: Connection, account_id: int, now_ms: int) -> str:
    """A text that is another one after each call that ended, within three hours of its start."""
    hours = model_hours.c
    query = select(func.count(), func.sum(hours.requests), func.sum(hours.latency_us), func.sum(hours.cost_nano)).where(
        hours.account_id == account_id, hours.start_ms >= now_ms - _RECENT_MS
    )
    return "-".join(str(figure or 0) for figure in connection.execute(query).one())


def used_names(connection: Connection, account_id: int, now_ms: int) -> Names:
    """The names of the last 30 days."""
    since = now_ms - _RANKED_DAYS * DAY_MS
    folded_ms = find_folds(connection, [account_id])[account_id].folded_ms
    cost: dict[str, tuple[int, int]] = {}
    for table, first in ((model_days, since), (model_hours, max(since, folded_ms))):
        of = table.c
        query = (
            select(of.model, func.sum(of.cost_nano), func.sum(of.requests))
            .where(of.account_id == account_id, of.start_ms >= first, of.outcome != "rejected", of.model != "")
            .group_by(of.model)
        )
        for model, nano, requests in connection.execute(query):
            before = cost.get(model, (0, 0))
            cost[model] = before[0] + nano, before[1] + requests
    months = {utc_month(ms // QUARTER_MS) for ms in (since, now_ms)}
    named = (
        select(names.c.name)
        .where(names.c.account_id == account_id, names.c.kind == "requester", names.c.month.in_(months))
        .distinct()
        .order_by(names.c.name)
        .limit(_MOST_NAMES)
    )
    ranked = sorted(cost, key=lambda model: (*(-figure for figure in cost[model]), model))
    return Names(ranked[:_MOST_NAMES], list(connection.execute(named).scalars()))
