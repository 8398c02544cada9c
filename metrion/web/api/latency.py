"""`/api/v1/latency`: how long calls took, as percentiles within 2 % of the exact ones."""

from __future__ import annotations

from typing import Any

from metrion.kit.clock import iso
from metrion.storage.latencies import Quantiles, Timed, Times, latency
from metrion.web.api import asked as address
from metrion.web.api.access import Question


async def find(question: Question) -> dict[str, Any]:
    """Percentiles in ms: of all, over time, of the models with most requests, and of providers."""
    asked = address.read(question)
    found = address.bounds(question, asked)
    range, filters, account_id = address.range_of(question, found), address.filters_of(asked), question.reader.id
    told = await question.visit.site.read(lambda connection: latency(connection, account_id, range, filters))
    return address.head(question, found) | {
        "bucket": "hour" if found.hourly else "day",
        "rows": told.rows,
        "all": times(told.all) | {"requests": told.figures.requests, "tokens_per_second": told.figures.tokens_a_second},
        "over_time": [
            {"start": iso(start), **times(one), "tokens_per_second": speed}
            for start, one, speed in zip(told.starts, told.over_time, told.speed, strict=True)
        ],
        "models": [_timed(one) for one in told.models],
        "providers": [_timed(one) for one in told.providers],
    }


def _timed(one: Timed) -> dict[str, Any]:
    speed = one.figures.tokens_a_second
    return (
        {"name": one.name, "provider": one.provider, "requests": one.figures.requests}
        | times(one.times)
        | {"tokens_per_second": speed}
    )


def times(told: Times) -> dict[str, Any]:
    """Durations in ms; null of nothing."""
    return {
        "latency_ms": _percentiles(told.latency),
        "ttft_ms": _percentiles(told.first_byte),
        "overhead_ms": _percentiles(told.overhead),
    }


def _percentiles(told: Quantiles) -> dict[str, float | None]:
    return {
        name: None if us is None else round(us / 1000, 3) for name, us in zip(("p50", "p95", "p99"), told, strict=True)
    }
