"""The value of a rule: what it watches, as of now, against its limit. Exact, but for p95 (see `kit.buckets`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from metrion.alerts.kinds import begin
from metrion.kit.buckets import quantile
from metrion.kit.zones import local_date
from metrion.storage import alerts as stored
from metrion.storage.alerts import Rule
from metrion.storage.database import Connection

Rates = Callable[[str, date], Fraction]  # what a dollar is in a currency on a day
_WARNING = Fraction(9, 10)
_P95 = 0.95


class Value(NamedTuple):
    """`figure` in the rule's stored unit; None where there are too few requests to tell. `requests`: it is made of."""

    figure: Fraction | None
    requests: int

    @property
    def rounded(self) -> int | None:
        return None if self.figure is None else round(self.figure)


def measure(connection: Connection, rule: Rule, now_ms: int, rates: Rates) -> Value:
    """The value of a rule as of now."""
    first = begin(rule, now_ms)
    buckets = stored.sums_since(connection, rule.account_id, rule.id, first)
    requests = sum(bucket[1] for bucket in buckets)
    if requests < rule.least:
        return Value(None, requests)
    if rule.kind == "budget":
        return Value(_cost(rule, [(start, cost) for start, _, _, cost in buckets], rates), requests)
    if rule.kind == "volume":
        return Value(Fraction(requests), requests)
    if rule.kind == "latency":
        counts = stored.latencies_since(connection, rule.account_id, rule.id, first)
        p95 = quantile(counts, _P95)
        return Value(None if p95 is None else Fraction(p95), requests)
    errors = sum(bucket[2] for bucket in buckets)
    if rule.kind == "error_count":
        return Value(Fraction(errors), requests)
    return Value(Fraction(100_000 * errors, requests) if requests else None, requests)


def _cost(rule: Rule, buckets: list[tuple[int, int]], rates: Rates) -> Fraction:
    """Each day's dollars at that day's rate."""
    days: Counter[date] = Counter()
    for start, cost in buckets:
        days[local_date(rule.zone, start)] += cost
    return sum((cost * rates(rule.currency, day) for day, cost in days.items()), Fraction(0))


def level_of(value: Value, threshold: int) -> str:
    """ "alert" from the limit on, "warning" from nine tenths of it on, "" below."""
    if value.figure is None or value.figure < threshold * _WARNING:
        return ""
    return "alert" if value.figure >= threshold else "warning"
