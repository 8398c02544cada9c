"""Every figure of the dashboard against a plain sum over the rows: any traffic, range, filter and time zone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from metrion.call import NOT_ERRORS, Outcome
from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.kit.zones import hour_end, hour_start, local_date, midnight
from metrion.ledger.fold import fold_all
from metrion.ledger.groups import shape
from metrion.storage import accounts, costs, dashboard, failures, latencies, requesters, sources, tables
from metrion.storage.rows import COLUMNS
from metrion.storage.view import Figures, Filters, Range
from tests.storage.samples import call_row, new_database, write_rows

NOON = 1_793_534_400_000  # 2026-11-01T12:00:00Z, the day on which New York's clocks go back
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"]
Row = dict[str, Any]

a_call = st.fixed_dictionaries(
    {
        "started_ms": st.integers(NOON - 4 * DAY_MS, NOON + 4 * DAY_MS),
        "account_id": st.sampled_from([1, 1, 1, 2]),
        "provider": st.sampled_from(["openai", "grok"]),
        "model": st.sampled_from(["a", "b", "c", ""]),
        "requester": st.sampled_from(["", "bot", "imp"]),
        "stream": st.integers(0, 1),
        "status": st.sampled_from([200, 200, 429, 500, 0]),
        "outcome": st.sampled_from(["ok", "ok", "ok", *(outcome.value for outcome in Outcome)]),
        "error_message": st.sampled_from([None, "slow 5 times", "slow 6 times"]),
        "input_tokens": st.integers(0, 10**6),
        "cached_input_tokens": st.integers(0, 10**6),
        "output_tokens": st.integers(0, 10**6),
        "cost_source": st.sampled_from(["computed", "provider", "estimated"]),
        "cost_nano": st.integers(0, 10**12),
        "input_nano": st.integers(0, 10**6),
        "saved_nano": st.integers(-(10**6), 10**6),
        "latency_us": st.integers(0, 10**7),
        "ttft_us": st.integers(0, 10**6),
        "provider_us": st.integers(0, 10**6),
    }
)
filters = st.builds(
    Filters,
    provider=st.sampled_from(["", "", "grok"]),
    models=st.sampled_from([(), (), ("a",), ("b", "c")]),
    requester=st.sampled_from(["", "", "bot"]),
    status=st.sampled_from([None, None, 2, 4]),
)


class House:
    """A database with rows, folded up to some time, and the same rows as dicts."""

    def __init__(self, folder: Path, zone: str, calls: Iterable[dict[str, Any]], folded: int | None) -> None:
        self.database = new_database(folder)
        with self.database.begin() as connection:
            for number in (1, 2):
                accounts.add_account(connection, f"{number}@b.c", "pro", NOON)
            connection.execute(update(tables.accounts).values(time_zone=zone))
        rows = [call_row(number=number, **call) for number, call in enumerate(calls)]
        write_rows(self.database, rows)
        if folded is not None:
            fold_all(self.database, folded)
        self.rows: list[Row] = [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def ask(self, question: Callable[..., Any], *how: Any) -> Any:
        with self.database.begin() as connection:
            return question(connection, 1, *how)

    def matching(self, range: Range, filters: Filters) -> list[Row]:
        return [
            row
            for row in self.rows
            if row["account_id"] == 1
            and range.from_ms <= row["started_ms"] < range.to_ms
            and filters.provider in ("", row["provider"])
            and (not filters.models or row["model"] in filters.models)
            and filters.requester in ("", row["requester"])
            and filters.status in (None, row["status"] // 100)
        ]


def straight(rows: Iterable[Row], *, refusals: bool = True) -> Figures:
    """What rows add up to."""
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        if row["outcome"] == "rejected" and not refusals:
            continue
        reached = row["outcome"] != "rejected"
        found["requests" if reached else "refused"] += 1
        found["errors"] += row["outcome"] not in NOT_ERRORS
        for name in Figures._fields:
            if name in row and name != "latency_us":
                found[name] += row[name] or 0
        if row["cost_source"] in ("provider", "estimated"):
            found[f"{row['cost_source']}_nano"] += row["cost_nano"]
        if reached:
            found[f"cost_{row['cost_source']}"] += 1
            found["latency_us"] += row["latency_us"]
        if row["stream"] and row["outcome"] == "ok":
            found["streamed_tokens"] += row["output_tokens"]
            found["streamed_us"] += row["latency_us"] - row["ttft_us"]
    return Figures(**found)


def by(rows: Iterable[Row], *names: str, refusals: bool = True) -> dict[Any, Figures]:
    groups: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    sums = {key: straight(group, refusals=refusals) for key, group in groups.items()}
    return {key: figures for key, figures in sums.items() if any(figures)}


def ranges(zone: str, draw: st.DrawFn) -> Range:
    now = draw(st.integers(NOON - 3 * DAY_MS, NOON + 5 * DAY_MS))
    if draw(st.booleans()):
        from_ms = hour_start(zone, NOON + draw(st.integers(-96, 96)) * HOUR_MS)
        to_ms = from_ms
        for _ in range(draw(st.integers(1, 24))):
            to_ms = hour_end(zone, to_ms)
        return Range(zone, from_ms, to_ms, True, now)
    first = local_date(zone, NOON) + timedelta(draw(st.integers(-4, 4)))
    return Range(zone, midnight(zone, first), midnight(zone, first + timedelta(draw(st.integers(1, 6)))), False, now)


@st.composite
def houses(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]], int | None, Range, Filters]:
    zone = draw(st.sampled_from(ZONES))
    folded = draw(st.none() | st.integers(NOON - 4 * DAY_MS, NOON + 6 * DAY_MS))
    return zone, draw(st.lists(a_call, max_size=40)), folded, ranges(zone, draw), draw(filters)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(houses())
def test_every_figure_is_the_sum_of_its_rows(
    tmp_path_factory: pytest.TempPathFactory, given_house: tuple[str, list[dict[str, Any]], int | None, Range, Filters]
) -> None:
    zone, calls, folded, asked, filters = given_house
    house = House(tmp_path_factory.mktemp("dashboard"), zone, calls, folded)
    try:
        check_sums(house, asked, filters)
        check_requesters(house, asked, filters)
        check_errors(house, asked, filters)
        check_latency(house, asked, filters)
    finally:
        house.database.close()


def check_sums(house: House, asked: Range, filters: Filters) -> None:
    rows = house.matching(asked, filters)
    pairs = dashboard.basis_of(filters) is dashboard.Basis.PAIRS
    told = house.ask(dashboard.compared, asked, filters)
    assert told.now == straight(rows, refusals=not pairs)
    assert told.before == straight(house.matching(asked.before, filters), refusals=not pairs)
    over_time = house.ask(dashboard.over_time, asked, filters)
    ends = [*asked.starts[1:], asked.to_ms]
    for figures, start, end in zip(over_time, asked.starts, ends, strict=True):
        some = [row for row in rows if start <= row["started_ms"] < end]
        assert figures == straight(some, refusals=not pairs)
    known = not filters.requester  # of a requester's models totals know pairs, which have no refusals
    models = house.ask(dashboard.by_model, asked, filters)
    assert {(one.provider, one.name): one.figures for one in models} == by(rows, "provider", "model", refusals=known)
    providers = house.ask(dashboard.by_provider, asked, filters)
    assert {(one.name,): one.figures for one in providers} == by(rows, "provider", refusals=not pairs)
    assert house.ask(dashboard.whole, asked, filters) == dashboard.Whole(told, over_time, providers)
    layers = house.ask(dashboard.layers, asked, filters, models, over_time)
    for at, (start, end) in enumerate(zip(asked.starts, ends, strict=True)):
        some = [row for row in rows if start <= row["started_ms"] < end]
        assert sum(layer.values[at] for layer in layers) == straight(some).cost_nano
        for layer in layers:
            if layer.name:
                assert layer.values[at] == straight(row for row in some if row["model"] == layer.name).cost_nano
    overview = house.ask(dashboard.overview, asked, filters)
    assert overview.all == told


def check_requesters(house: House, asked: Range, filters: Filters) -> None:
    rows = house.matching(asked, filters)
    told = house.ask(sources.sources, asked, filters)
    pairs = dashboard.basis_of(filters) is dashboard.Basis.PAIRS
    if told.known:
        wanted = by(rows, "requester", refusals=not pairs)
        assert {(one.name,): one.figures for one in told.sources} == wanted
        costs_of = [one.figures.cost_nano for one in told.sources]
        assert costs_of == sorted(costs_of, reverse=True)
    if told.requesters is not None:
        active = {row["requester"] for row in rows if row["outcome"] != "rejected"} - {""}
        assert told.requesters == len(active)
    if filters == Filters():
        ends = [*asked.starts[1:], asked.to_ms]
        assert house.ask(requesters.count_by_bucket, asked) == [
            len(
                {row["requester"] for row in rows if start <= row["started_ms"] < end and row["outcome"] != "rejected"}
                - {""}
            )
            for start, end in zip(asked.starts, ends, strict=True)
        ]
    why = house.ask(costs.why_it_changed, asked, filters)
    earlier = house.matching(asked.before, filters)
    names = ("requester", "provider", "model")
    now, before = by(rows, *names, refusals=False), by(earlier, *names, refusals=False)
    changes = {key: now.get(key, Figures()).cost_nano - before.get(key, Figures()).cost_nano for key in {*now, *before}}
    for one in why.changes:
        assert changes[one.requester, one.provider, one.model] == one.by_nano
    if why.whole and why.by_nano:
        up = why.by_nano > 0
        greatest = sorted((abs(nano) for nano in changes.values() if nano and (nano > 0) == up), reverse=True)[:3]
        assert [abs(one.by_nano) for one in why.changes] == greatest


def check_errors(house: House, asked: Range, filters: Filters) -> None:
    rows = house.matching(asked, filters)
    told = house.ask(failures.errors, asked, filters)
    errors = [row for row in rows if row["outcome"] not in NOT_ERRORS]
    ends = [*asked.starts[1:], asked.to_ms]
    for at, (start, end) in enumerate(zip(asked.starts, ends, strict=True)):
        some = [row for row in errors if start <= row["started_ms"] < end]
        assert sum(layer.values[at] for layer in told.by_status) == len(some)
    unwell = [row for row in rows if row["outcome"] not in NOT_ERRORS or row["outcome"] == "rejected"]
    if not told.failures_of_all:
        counts: defaultdict[Any, int] = defaultdict(int)
        for row in unwell:
            counts[row["status"], row["outcome"], shape(row["error_message"] or ""), row["provider"]] += 1
        assert {(one.status, one.outcome, one.message, one.provider): one.requests for one in told.failures} == counts
    newest = sorted((row["request_id"] for row in unwell), reverse=True)[:50]
    assert [row.request_id for row in told.latest] == newest


def check_latency(house: House, asked: Range, filters: Filters) -> None:
    rows = [row for row in house.matching(asked, filters) if row["outcome"] != "rejected"]
    told = house.ask(latencies.latency, asked, filters)
    near(told.all.latency, [row["latency_us"] for row in rows])
    near(told.all.first_byte, [row["ttft_us"] for row in rows])
    if not filters.models or told.rows is not None:
        near(told.all.overhead, [row["latency_us"] - row["provider_us"] for row in rows if row["provider_us"]])
    ends = [*asked.starts[1:], asked.to_ms]
    for times, start, end in zip(told.over_time, asked.starts, ends, strict=True):
        near(times.latency, [row["latency_us"] for row in rows if start <= row["started_ms"] < end])
    for one in told.models:
        of = [row for row in rows if (row["model"], row["provider"]) == (one.name, one.provider)]
        near(one.times.latency, [row["latency_us"] for row in of])
        near(one.times.first_byte, [row["ttft_us"] for row in of])
    for one in told.providers:
        near(one.times.latency, [row["latency_us"] for row in rows if row["provider"] == one.name])


def near(told: tuple[float | None, ...], values: list[int]) -> None:
    """p50, p95 and p99 of what took any time at all, within 2 %."""
    values = sorted(value for value in values if value > 0)
    exact = [values[max(ceil(part * len(values)), 1) - 1] if values else None for part in (0.5, 0.95, 0.99)]
    assert list(told) == [None if one is None else pytest.approx(one, rel=0.02) for one in exact]
