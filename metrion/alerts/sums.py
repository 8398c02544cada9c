"""Running sums: what rules look at, added up with the rows that are written, in their transaction.

Rows are put together by what rules can tell apart first, so that fifty rules cost little more than one: of rows that
are `Alike`, names, status and outcome are the same. An account without rules costs its place in one query.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from operator import itemgetter
from time import perf_counter
from typing import Any

from metrion.alerts.kinds import MINUTE_MS, begin, bucket_of
from metrion.call import Outcome
from metrion.kit.buckets import bucket
from metrion.kit.ids import first_id
from metrion.storage import alerts as stored
from metrion.storage.alerts import Rule
from metrion.storage.database import Connection
from metrion.storage.rows import COLUMNS, Row

FILL_SECONDS = 0.025  # of a step, which holds the writer
_FILL_ROWS = 250

Alike = Sequence[Row]  # rows of one account, one or more
_Cell = tuple[str, str, str, int]  # provider, model, requester, minute; "" for a name that no rule asks for

_AT = {name: at for at, name in enumerate(COLUMNS)}
_ACCOUNT, _ID, _COST, _LATENCY = (
    itemgetter(_AT[name]) for name in ("account_id", "request_id", "cost_nano", "latency_us")
)
_STARTED = itemgetter(_AT["started_ms"])
_NAMES = ("provider", "model", "requester")
_APART = itemgetter(*(_AT[name] for name in ("outcome", "status", *_NAMES)))
_REJECTED = Outcome.REJECTED.value
_ERRORS = 400  # this status and above


class _Sum:
    """What is added up of a cell."""

    __slots__ = ("cost", "errors", "latencies", "requests")

    def __init__(self) -> None:
        self.requests = self.errors = self.cost = 0
        self.latencies: Counter[int] = Counter()


def count(
    connection: Connection, account_ids: Iterable[int], rows: Iterable[Alike], taken: Iterable[Alike] = ()
) -> None:
    """Add rows of these accounts to the sums of their rules, and take back those that were counted as `taken`."""
    rules: defaultdict[int, list[Rule]] = defaultdict(list)
    for rule in stored.rules_of(connection, set(account_ids)):
        rules[rule.account_id].append(rule)
    if not rules:
        return
    added = _Added()
    for sign, some in ((1, rows), (-1, taken)):
        mine: defaultdict[int, list[Alike]] = defaultdict(list)
        for alike in some:
            mine[_ACCOUNT(alike[0])].append(alike)
        for account_id in mine.keys() & rules.keys():
            added.add([rule for rule in rules[account_id] if rule.filled is None], mine[account_id], sign)
            for rule in rules[account_id]:
                if rule.filled is not None:  # it has yet to read the others: `fill` does
                    added.add([rule], _up_to(bytes.fromhex(rule.filled), mine[account_id]), sign)
    added.store(connection)
    stored.set_due(connection, rules)


def refill(connection: Connection, rule: Rule, now_ms: int, seconds: float = FILL_SECONDS) -> Rule:
    """Begin to make a rule's sums anew, of the rows that are there: it is new, or looks at something else.

    What is not done in that time is left to `fill`; until then the rule has no value. Returns the rule as it is now.
    """
    stored.clear_sums(connection, rule.account_id, rule.id)
    return fill(connection, rule._replace(filled=first_id(begin(rule, now_ms) - 1).hex()), seconds)


def fill(connection: Connection, rule: Rule, seconds: float = FILL_SECONDS) -> Rule:
    """Go on with a rule's sums for about so long, a step at least; at the end they are those of all rows.

    By request id: whatever is written meanwhile is counted by `count` where it is behind us, and found here where not.
    """
    began, filled = perf_counter(), rule.filled
    while filled is not None:
        rows = stored.calls_after(connection, rule.account_id, bytes.fromhex(filled), _FILL_ROWS)
        added = _Added()
        added.add([rule], _alike(rows), 1)
        added.store(connection)
        filled = _ID(rows[-1]).hex() if len(rows) == _FILL_ROWS else None
        if perf_counter() - began >= seconds:
            break
    stored.update_rule(connection, rule.account_id, rule.id, filled=filled)
    if filled is None:
        stored.set_due(connection, [rule.account_id])
    return rule._replace(filled=filled)


def _up_to(reached: bytes, some: Iterable[Alike]) -> list[Alike]:
    kept = ([row for row in alike if _ID(row) <= reached] for alike in some)
    return [alike for alike in kept if alike]


def _alike(rows: Iterable[Row]) -> Iterable[Alike]:
    found: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[_APART(row)].append(row)
    return found.values()


class _Added:
    """What is to be added to the sums of rules."""

    def __init__(self) -> None:
        self._sums: defaultdict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        self._latencies: Counter[tuple[int, int, int, int]] = Counter()

    def add(self, rules: Sequence[Rule], rows: Iterable[Alike], sign: int) -> None:
        """Rows of one account, for its rules."""
        for cell, found in _cells(rows, rules).items():
            for rule in rules:
                start = bucket_of(rule, cell[3]) if _watches(rule, *cell[:3]) else None
                if start is not None:
                    self._add(rule, start, found, sign)

    def _add(self, rule: Rule, start: int, found: _Sum, sign: int) -> None:
        key = (rule.account_id, rule.id, start)
        figures = self._sums[key]
        figures[0] += sign * found.requests
        figures[1] += sign * found.errors
        figures[2] += sign * found.cost
        if rule.kind == "latency":
            for number, requests in found.latencies.items():
                self._latencies[(*key, number)] += sign * requests

    def store(self, connection: Connection) -> None:
        sums = [(*key, *figures) for key, figures in self._sums.items()]
        latencies = [(*key, requests) for key, requests in self._latencies.items() if requests and key[3]]
        stored.add_sums(connection, sums, latencies)


def _cells(rows: Iterable[Alike], rules: Iterable[Rule]) -> dict[_Cell, _Sum]:
    """Rows put together by what these rules can tell apart: a column at a time, not a row at a time."""
    asked = [{one for rule in rules for one in getattr(rule, f"{name}s")} for name in _NAMES]
    timed = any(rule.kind == "latency" for rule in rules)
    cells: defaultdict[_Cell, _Sum] = defaultdict(_Sum)
    for alike in rows:
        outcome, status, *names = _APART(alike[0])
        if outcome == _REJECTED:
            continue
        provider, model, requester = map(_if_in, asked, names)
        for minute_ms, some in _by_minute(alike):
            found = cells[provider, model, requester, minute_ms]
            found.requests += len(some)
            found.errors += len(some) if status >= _ERRORS else 0
            found.cost += sum(filter(None, map(_COST, some)))
            if timed:
                found.latencies.update(map(bucket, map(_LATENCY, some)))
    return cells


def _by_minute(rows: Alike) -> Iterable[tuple[int, Alike]]:
    first, last = (moment // MINUTE_MS for moment in (min(map(_STARTED, rows)), max(map(_STARTED, rows))))
    if first == last:  # as nearly all that is written together
        return [(first * MINUTE_MS, rows)]
    found: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[_STARTED(row) // MINUTE_MS * MINUTE_MS].append(row)
    return found.items()


def _if_in(asked: Container[str], name: str) -> str:
    return name if name in asked else ""


def _watches(rule: Rule, provider: str, model: str, requester: str) -> bool:
    return (
        (not rule.providers or provider in rule.providers)
        and (not rule.models or model in rule.models)
        and (not rule.requesters or requester in rule.requesters)
    )
