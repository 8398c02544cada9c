"""`/api/v1/usage`: what was used, summed, by day or hour, model, provider or requester."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from metrion.kit.clock import DAY_MS, iso
from metrion.kit.money import usd_from_nano
from metrion.kit.zones import local_date
from metrion.storage.costs import by_requester
from metrion.storage.dashboard import basis_of, by_model, by_provider, over_time, sums
from metrion.storage.database import Connection
from metrion.storage.view import NOTHING, Figures, Filters, Range
from metrion.web.api import asked as address
from metrion.web.api.access import Problem, Question

BY = ("day", "hour", "model", "provider", "requester")
OWN = ("by",)
MOST_REQUESTERS = 1000
_MOST_HOURS_MS = 32 * DAY_MS


async def find(question: Question) -> dict[str, Any]:
    """Sums by group, and of all."""
    asked = address.read(question, OWN)
    by = address.one_of(question, "by", BY, "day")
    filters = address.filters_of(asked)
    if by == "requester" and not filters.requester and (filters.models or filters.status is not None):
        raise Problem(400, "by=requester goes with provider and requester, not with model or status.")
    found = address.bounds(question, asked)
    if by == "hour" and found.to_ms - found.from_ms > _MOST_HOURS_MS:
        raise Problem(400, "by=hour has at most 32 days.")
    range = address.range_of(question, found._replace(hourly=by == "hour"))
    account_id = question.reader.id

    def read(connection: Connection) -> tuple[list[dict[str, Any]], Figures]:
        groups = list(_groups(connection, account_id, by, range, filters))
        return groups, sums(connection, account_id, range, filters).get((), NOTHING)

    groups, total = await question.visit.site.read(read)
    basis = basis_of(filters).value
    return address.head(question, found) | {"by": by, "basis": basis, "groups": groups, "total": figures(total)}


def _groups(
    connection: Connection, account_id: int, by: str, range: Range, filters: Filters
) -> Iterable[dict[str, Any]]:
    if by in ("day", "hour"):
        for start, told in zip(range.starts, over_time(connection, account_id, range, filters), strict=True):
            key = iso(start) if by == "hour" else local_date(range.zone, start).isoformat()
            yield {"key": key, **figures(told)}
        return
    if by == "requester":
        found = by_requester(connection, account_id, range, filters, limit=MOST_REQUESTERS)
    else:
        found = (by_model if by == "model" else by_provider)(connection, account_id, range, filters)
    for one in found:
        yield {"key": one.name, **({"provider": one.provider} if by == "model" else {}), **figures(one.figures)}


def figures(told: Figures) -> dict[str, Any]:
    """Sums by the names of spec §3; a cost that is not known at all is null, which is not the same as 0."""
    unknown = bool(told.requests) and told.without_cost == told.requests
    return {
        "requests": told.requests,
        "refused": told.refused,
        "errors": told.errors,
        "input_tokens": told.input_tokens,
        "cached_input_tokens": told.cached_input_tokens,
        "cache_write_5m_tokens": told.cache_write_5m_tokens,
        "cache_write_1h_tokens": told.cache_write_1h_tokens,
        "output_tokens": told.output_tokens,
        "reasoning_tokens": told.reasoning_tokens,
        "total_tokens": told.total_tokens,
        "cost_usd": None if unknown else usd_from_nano(told.cost_nano),
        "confidence": {
            "provider": usd_from_nano(told.provider_nano),
            "computed": usd_from_nano(told.computed_nano),
            "estimated": usd_from_nano(told.estimated_nano),
            "unpriced_rows": told.cost_unpriced,
            "unknown_rows": told.cost_unknown,
        },
    }
