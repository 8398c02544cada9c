"""The values of rules: whatever is written, repriced or there before, they are what the rows alone come to."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from fractions import Fraction
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from metrion.alerts.kinds import KINDS, SPANS
from metrion.alerts.values import Value, level_of, measure
from metrion.call import Call
from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.ledger import reprice
from metrion.ledger.reprice import Scope
from metrion.ledger.writer import write_calls
from metrion.storage import accounts
from metrion.storage.alerts import Rule
from metrion.storage.database import Database
from tests.alerts.rules import add_rule
from tests.ledger.calls import calls_around
from tests.ledger.samples import MODEL, NOON, make_call, rows_of
from tests.ledger.test_fold import CHEAPER, EVER, LIST
from tests.storage.samples import new_database

MINUTE_MS = 60_000
OCTOBER_ENDS = 1_793_487_600_000  # 2026-11-01T00:00 in Zurich
CLOCKS_GO_BACK = 1_792_890_000_000  # 2026-10-25T01:00Z: 3 o'clock is 2 o'clock again in Zurich


def per_usd(currency: str, day: date) -> Fraction:
    """A rate that differs from day to day."""
    return Fraction(100 + day.day, 120) if currency != "USD" else Fraction(1)


def straight(rows: list[dict[str, Any]], rule: Rule, now_ms: int) -> Fraction | None:
    """A rule's value, row by row."""
    zone = ZoneInfo(rule.zone)
    seen = [row for row in rows if row["account_id"] == rule.account_id and row["outcome"] != "rejected"]
    seen = [row for row in seen if _first(rule, now_ms) <= row["started_ms"] // MINUTE_MS * MINUTE_MS]
    seen = [row for row in seen if rule.to_ms is None or row["started_ms"] < rule.to_ms]
    for column in ("provider", "model", "requester"):
        chosen = getattr(rule, f"{column}s")
        seen = [row for row in seen if not chosen or row[column] in chosen]
    if len(seen) < rule.least:
        return None
    if rule.kind == "volume":
        return Fraction(len(seen))
    errors = [row for row in seen if row["status"] in range(400, 600)]
    if rule.kind == "error_count":
        return Fraction(len(errors))
    if rule.kind == "error_rate":
        return Fraction(len(errors) * 100_000, len(seen)) if seen else None
    if rule.kind == "latency":
        times = sorted(row["latency_us"] for row in seen if row["latency_us"])
        return Fraction(times[ceil(0.95 * len(times)) - 1]) if times else None
    days: Counter[date] = Counter()
    for row in seen:
        days[datetime.fromtimestamp(row["started_ms"] / 1000, zone).date()] += row["cost_nano"] or 0
    return sum((cost * per_usd(rule.currency, day) for day, cost in days.items()), Fraction(0))


def _first(rule: Rule, now_ms: int) -> int:
    """From when on a rule looks at rows: whole minutes, quarters, hours; a month of its zone."""
    zone = ZoneInfo(rule.zone)
    match rule.span:
        case "hour":
            return now_ms // MINUTE_MS * MINUTE_MS - 59 * MINUTE_MS
        case "day":
            return now_ms // (15 * MINUTE_MS) * (15 * MINUTE_MS) - 95 * 15 * MINUTE_MS
        case "week":
            return now_ms // HOUR_MS * HOUR_MS - (7 * 24 - 1) * HOUR_MS
        case "month":
            at = datetime.fromtimestamp(now_ms / 1000, zone)
            return int(datetime(at.year, at.month, 1, tzinfo=zone).timestamp() * 1000)
    return rule.from_ms


def check(found: Fraction | None, wanted: Fraction | None, kind: str) -> None:
    if kind == "latency" and found is not None and wanted is not None:
        assert abs(found - wanted) <= wanted * Fraction(2, 100) + 1  # as `kit.buckets` promises, and a microsecond
    else:
        assert found == wanted


def value_of(database: Database, rule: Rule, now_ms: int) -> Value:
    with database.begin() as connection:
        [value] = measure(connection, [rule], now_ms, per_usd)
        return value


rules = st.builds(
    lambda **columns: columns,
    account_id=st.integers(1, 2),
    kind=st.sampled_from(list(KINDS)),
    span=st.sampled_from(list(SPANS)),
    providers=st.sampled_from([(), ("openai",), ("grok", "openai")]),
    models=st.sampled_from([(), (MODEL,), ("grok-3-mini", "no-price")]),
    requesters=st.sampled_from([(), ("bot",), ("bot", "other-bot")]),
    currency=st.sampled_from(["USD", "EUR"]),
    least=st.integers(0, 2),
    zone=st.sampled_from(["UTC", "Europe/Zurich", "America/New_York"]),
    from_ms=st.integers(-30, 30).map(lambda minutes: NOON + minutes * MINUTE_MS),
    to_ms=st.none() | st.integers(31, 5000).map(lambda minutes: NOON + minutes * MINUTE_MS),
)


def bounded(columns: dict[str, Any]) -> dict[str, Any]:
    """Only a span that begins somewhere has bounds."""
    return columns if columns["span"] == "since" else columns | {"from_ms": 0, "to_ms": None}


@settings(max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(rules.map(bounded), min_size=1, max_size=4),
    st.lists(st.lists(calls_around(NOON, NOON + 12 * HOUR_MS), max_size=8), min_size=1, max_size=4),
    st.integers(0, 4),
    st.booleans(),
    st.integers(NOON, NOON + 4 * DAY_MS),
)
def test_values_are_what_the_rows_come_to(
    wanted: list[dict[str, Any]], batches: list[list[Call]], late: int, cheaper: bool, now_ms: int
) -> None:
    with TemporaryDirectory() as folder:
        database = house(Path(folder))
        made: list[Rule] = []
        for number, batch in enumerate(batches):
            if number == min(late, len(batches) - 1):  # rules that are made later see what was there before
                made = [add_rule(database, now_ms, **columns) for columns in wanted]
            write_calls(database, LIST, batch, fresh=True)
        if cheaper:
            for account_id in (1, 2):
                reprice.step(database, CHEAPER, Scope(account_id, bytes(16), EVER), 0, "why")
        rows = rows_of(database)
        for rule in made:
            check(value_of(database, rule, now_ms).figure, straight(rows, rule, now_ms), rule.kind)
        database.close()


def house(folder: Path) -> Database:
    database = new_database(folder)
    with database.begin() as connection:
        for number in (1, 2):
            assert accounts.add_account(connection, f"{number}@b.c", "pro", NOON) == number
    return database


@pytest.mark.parametrize(
    ("percent", "level"),
    [("89.9", ""), ("89.999", ""), ("90", "warning"), ("99.9", "warning"), ("99.999", "warning"), ("100", "alert")],
)
def test_a_warning_from_nine_tenths_on_and_an_alert_from_the_limit_on(percent: str, level: str) -> None:
    assert level_of(Value(Fraction(percent) * 10, 1), 1000) == level


def test_too_few_requests_tell_nothing() -> None:
    assert level_of(Value(None, 3), 1) == ""


@pytest.mark.parametrize(
    ("span", "zone", "at", "now", "counted"),
    [
        ("month", "Europe/Zurich", OCTOBER_ENDS - 1, OCTOBER_ENDS, 0),
        ("month", "Europe/Zurich", OCTOBER_ENDS, OCTOBER_ENDS, 1),
        ("month", "UTC", OCTOBER_ENDS, OCTOBER_ENDS + HOUR_MS - 1, 1),  # still October there
        ("month", "UTC", OCTOBER_ENDS, OCTOBER_ENDS + HOUR_MS, 0),
        ("month", "Europe/Zurich", CLOCKS_GO_BACK, OCTOBER_ENDS - 1, 1),
        ("day", "Europe/Zurich", CLOCKS_GO_BACK - 12 * HOUR_MS, CLOCKS_GO_BACK + 12 * HOUR_MS - 1, 1),
        ("day", "Europe/Zurich", CLOCKS_GO_BACK - 12 * HOUR_MS, CLOCKS_GO_BACK + 12 * HOUR_MS, 0),
        ("week", "Europe/Zurich", CLOCKS_GO_BACK - 3 * DAY_MS, CLOCKS_GO_BACK + 4 * DAY_MS - 1, 1),
        ("week", "Europe/Zurich", CLOCKS_GO_BACK - 3 * DAY_MS, CLOCKS_GO_BACK + 4 * DAY_MS, 0),
        ("hour", "UTC", NOON, NOON + HOUR_MS - 1, 1),
        ("hour", "UTC", NOON, NOON + HOUR_MS, 0),
    ],
)
def test_where_a_span_begins(tmp_path: Path, span: str, zone: str, at: int, now: int, counted: int) -> None:
    database = house(tmp_path)
    rule = add_rule(database, now, span=span, zone=zone)
    write_calls(database, LIST, [make_call(at)], fresh=True)
    assert value_of(database, rule, now).figure == counted
    database.close()
