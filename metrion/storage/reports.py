"""What was recorded, for people: an account's calls, and its usage summed from the totals tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Row, Select, Table, case, func, select

from metrion.call import NOT_ERRORS, Outcome
from metrion.kit.clock import iso, now_ms
from metrion.kit.ids import first_id
from metrion.kit.money import usd_from_nano
from metrion.kit.zones import day_start, hour_end, hour_start, local_date, next_day
from metrion.storage.database import Connection
from metrion.storage.pricing import versions_of
from metrion.storage.tables import calls, model_hours, repricings, requester_hours
from metrion.storage.totals import find_folds

CALL_FIELDS = (  # spec §3, in its order
    "request_id",
    "started_at",
    "provider",
    "endpoint",
    "model",
    "requested_model",
    "requester",
    "mode",
    "stream",
    "status",
    "outcome",
    "error_message",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_tokens",
    "tool_calls",
    "total_tokens",
    "service_tier",
    "usage_raw",
    "cost_usd",
    "cost_source",
    "price_ref",
    "latency_ms",
    "ttft_ms",
    "provider_ms",
    "request_bytes",
    "response_bytes",
    "upstream_request_id",
    "cost_version",  # 1, and more for one that was priced again
    "quantities",  # what is billed by other units than tokens, by name: "pages", "audio_ms"
    "problem",  # what is wrong or not known of the provider's figures; "" of nearly every call
)
DIMENSIONS = ("day", "model", "provider", "requester")

_STEP = 500  # rows held in memory while an account's calls stream by
_FETCHED = 16  # of rows that are read one by one: a batch's results are one, and may be tens of megabytes
_EVER = 2**47  # milliseconds; beyond any id


def _between(account_id: int, since_ms: int | None, until_ms: int | None) -> ColumnElement[bool]:
    # Ids begin with the time, and rows lie in their order: a range of time is one range of the table.
    first, last = first_id(since_ms or 0), first_id(_EVER if until_ms is None else until_ms)
    return (calls.c.account_id == account_id) & (calls.c.request_id >= first) & (calls.c.request_id < last)


def call_query() -> Select[Any]:
    """A call with how often it was priced again."""
    replaced = select(func.count()).where(
        repricings.c.account_id == calls.c.account_id, repricings.c.request_id == calls.c.request_id
    )
    return select(calls, replaced.scalar_subquery().label("replaced"))


def recent_calls(
    connection: Connection, account_id: int, since_ms: int | None, until_ms: int | None, limit: int
) -> Sequence[Row[Any]]:
    """The latest `limit` calls of [since, until) in Unix ms (None = no bound), newest first."""
    query = call_query().where(_between(account_id, since_ms, until_ms))
    return connection.execute(query.order_by(calls.c.request_id.desc()).limit(limit)).all()


def stream_calls(
    connection: Connection, account_id: int, since_ms: int | None, until_ms: int | None
) -> Iterator[Row[Any]]:
    """Every call of [since, until) in Unix ms (None = no bound), oldest first, in bounded memory.

    Each step is a read transaction of its own, so that a slow reader never keeps the WAL from being checkpointed.
    """
    query = call_query().where(_between(account_id, since_ms, until_ms)).order_by(calls.c.request_id).limit(_STEP)
    rows = connection.execute(query).all()
    while rows:
        connection.rollback()
        yield from rows
        rows = connection.execute(query.where(calls.c.request_id > rows[-1].request_id)).all()


def calls_from(connection: Connection, account_id: int, first: bytes, end: bytes, limit: int) -> Iterator[Row[Any]]:
    """The first `limit` calls with ids from `first` to below `end`, oldest first; in memory only as they are taken."""
    ids = calls.c.request_id
    query = call_query().where(calls.c.account_id == account_id, ids >= first, ids < end).order_by(ids).limit(limit)
    with connection.execute(query, execution_options={"yield_per": _FETCHED}) as found:
        yield from found


def call_fields(row: Row[Any]) -> dict[str, Any]:
    """A call by the names of spec §3: times in ms, money as decimal text, `usage_raw` as the provider's JSON text."""
    rare = orjson.loads(row.rare) if row.rare else {}
    return {
        "request_id": row.request_id.hex(),
        "started_at": iso(row.started_ms),
        "provider": row.provider,
        "endpoint": row.endpoint,
        "model": row.model,
        "requested_model": row.requested_model,
        "requester": row.requester,
        "mode": row.mode,
        "stream": bool(row.stream),
        "status": row.status,
        "outcome": row.outcome,
        "error_message": row.error_message,
        "input_tokens": row.input_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "cache_write_5m_tokens": row.cache_write_5m_tokens,
        "cache_write_1h_tokens": row.cache_write_1h_tokens,
        "output_tokens": row.output_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "audio_input_tokens": rare.get("audio_input_tokens", 0),
        "audio_output_tokens": rare.get("audio_output_tokens", 0),
        "image_tokens": rare.get("image_tokens", 0),
        "tool_calls": rare.get("tool_calls", {}),
        "total_tokens": row.input_tokens + row.output_tokens,
        "service_tier": rare.get("service_tier", ""),
        "usage_raw": row.usage_raw,
        "cost_usd": None if row.cost_nano is None else usd_from_nano(row.cost_nano),
        "cost_source": row.cost_source,
        "price_ref": row.price_ref,
        "latency_ms": row.latency_us / 1000,
        "ttft_ms": row.ttft_us / 1000,
        "provider_ms": row.provider_us / 1000,
        "request_bytes": row.request_bytes,
        "response_bytes": row.response_bytes,
        "upstream_request_id": row.upstream_request_id,
        "cost_version": row.replaced + 1,
        "quantities": rare.get("quantities", {}),
        "problem": rare.get("problem", ""),
    }


def usage_json(text: str | None) -> Any:
    """A row's usage object for orjson: as it stands where it is JSON, with its numbers as the provider wrote them."""
    try:
        orjson.loads(text or "null")
    except ValueError:
        return text
    return orjson.Fragment(text or "null")


def cost_history(connection: Connection, row: Row[Any]) -> list[dict[str, Any]]:
    """What a call cost before it was priced again, the first figure first; `counts` only where these changed too."""
    return (
        [
            {
                "cost_version": old.version,
                "cost_usd": None if old.cost_nano is None else usd_from_nano(old.cost_nano),
                "cost_source": old.cost_source,
                "price_ref": old.price_ref,
                "replaced_at": iso(old.replaced_ms),
                "reason": old.reason,
                **({} if old.counts is None else {"counts": orjson.loads(old.counts)}),
            }
            for old in versions_of(connection, row.account_id, row.request_id)
        ]
        if row.replaced
        else []
    )


class Sums(NamedTuple):
    """Usage of one group.

    Of `cost_nano`, providers reported and we estimated so much; the rest was computed. Requests that are unpriced or of
    unknown usage have no cost, and so are not in it.
    """

    key: str
    requests: int = 0
    refused: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    provider_nano: int = 0
    estimated_nano: int = 0
    unpriced: int = 0
    unknown: int = 0

    @property
    def computed_nano(self) -> int:
        return self.cost_nano - self.provider_nano - self.estimated_nano

    @property
    def without_cost(self) -> int:
        """How many requests' cost is not known."""
        return self.unpriced + self.unknown

    @property
    def cost_usd(self) -> str | None:
        """The known cost as decimal text; None where none of it is known, which is not the same as 0."""
        nothing_known = self.without_cost > 0 and self.without_cost == self.requests
        return None if nothing_known else usd_from_nano(self.cost_nano)


class Usage(NamedTuple):
    """Usage of [from, to) in Unix ms, whole hours, by group and in all."""

    from_ms: int
    to_ms: int
    groups: list[Sums]
    total: Sums


def usage(connection: Connection, account_id: int, by: str, from_ms: int | None, to_ms: int | None) -> Usage:
    """Usage by one of DIMENSIONS; days and hours are those of the account's time zone.

    Bounds are widened to whole hours; None means as far as anything was recorded.
    """
    zone = find_folds(connection, [account_id])[account_id].time_zone
    first_ms, end_ms = _recorded(connection, account_id, zone)
    start = first_ms if from_ms is None else hour_start(zone, from_ms)
    end = end_ms if to_ms is None else hour_end(zone, hour_start(zone, to_ms - 1))
    table = requester_hours if by == "requester" else model_hours
    key = table.c.start_ms if by == "day" else table.c[by]
    found = connection.execute(
        select(key, *_sums(table))
        .where(table.c.account_id == account_id, table.c.start_ms >= start, table.c.start_ms < end)
        .group_by(key)
    )
    groups = [Sums(local_date(zone, row[0]).isoformat() if by == "day" else row[0], *row[1:]) for row in found]
    groups.sort(key=lambda group: group.key)
    if by == "day":
        groups = [_total(key, list(hours)) for key, hours in groupby(groups, key=lambda group: group.key)]
    else:
        groups.sort(key=lambda group: (group.cost_nano, group.requests), reverse=True)
    return Usage(start, end, groups, _total("total", groups))


def _total(key: str, groups: Sequence[Sums]) -> Sums:
    return Sums(key, *(sum(column) for column in zip(*(group[1:] for group in groups), strict=True)))


def _recorded(connection: Connection, account_id: int, zone: str) -> tuple[int, int]:
    """[from, to) of the days that hold anything of an account, today included."""
    hours = select(func.min(model_hours.c.start_ms), func.max(model_hours.c.start_ms))
    first, last = connection.execute(hours.where(model_hours.c.account_id == account_id)).one()
    today = now_ms()
    earliest, latest = (today, today) if first is None else (first, max(last, today))
    return day_start(zone, earliest), next_day(zone, latest)


def _sums(table: Table) -> list[ColumnElement[int]]:
    """The columns of Sums after its key."""
    outcome, column = table.c.outcome, table.c

    def of(which: ColumnElement[bool], figure: ColumnElement[int]) -> ColumnElement[int]:
        return func.sum(case((which, figure), else_=0))

    admitted = outcome != Outcome.REJECTED.value
    return [
        of(admitted, column.requests),
        of(outcome == Outcome.REJECTED.value, column.requests),
        of(outcome.not_in(NOT_ERRORS), column.requests),
        func.sum(column.input_tokens),
        func.sum(column.output_tokens),
        func.sum(column.cost_nano),
        func.sum(column.provider_nano),
        func.sum(column.estimated_nano),
        of(admitted, column.cost_unpriced),
        of(admitted, column.cost_unknown),
    ]
