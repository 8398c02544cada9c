"""The value of a rule: what it watches, as of now, against its limit. Exact, but for p95 (see `kit.buckets`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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


def measure(connection: Connection, rules: Sequence[Rule], now_ms: int, rates: Rates) -> list[Value]:
    """The values of rules of one account as of now, in their order."""
    if not rules:
        return []
    account_id, firsts = rules[0].account_id, {rule.id: begin(rule, now_ms) for rule in rules}
    by_day = {rule.id: firsts[rule.id] for rule in rules if rule.kind == "budget" and rule.currency != "USD"}
    slow = {rule.id: firsts[rule.id] for rule in rules if rule.kind == "latency"}
    sums = stored.sums_since(connection, account_id, firsts)
    costs = stored.costs_since(connection, account_id, by_day) if by_day else {}
    latencies = stored.latencies_since(connection, account_id, slow) if slow else {}

    def value(rule: Rule) -> Value:
        requests, errors, cost = sums.get(rule.id, (0, 0, 0))
        if requests < rule.least:
            return Value(None, requests)
        match rule.kind:
            case "budget":
                own = Fraction(cost) if rule.currency == "USD" else _converted(rule, costs.get(rule.id, {}), rates)
                return Value(own, requests)
            case "volume":
                return Value(Fraction(requests), requests)
            case "latency":
                p95 = quantile(latencies.get(rule.id, {}), _P95)
                return Value(None if p95 is None else Fraction(p95), requests)
            case "error_count":
                return Value(Fraction(errors), requests)
        return Value(Fraction(100_000 * errors, requests) if requests else None, requests)

    return [value(rule) for rule in rules]


def _converted(rule: Rule, buckets: Mapping[int, int], rates: Rates) -> Fraction:
    """Each day's dollars at that day's rate."""
    days: Counter[date] = Counter()
    for start, cost in buckets.items():
        days[local_date(rule.zone, start)] += cost
    return sum((cost * rates(rule.currency, day) for day, cost in days.items()), Fraction(0))


def level_of(value: Value, threshold: int) -> str:
    """ "alert" from the limit on, "warning" from nine tenths of it on, "" below."""
    if value.figure is None or value.figure < threshold * _WARNING:
        return ""
    return "alert" if value.figure >= threshold else "warning"
