"""Running sums: what rules look at, added up with the rows that are written, in their transaction.

Rows are put together by what rules can tell apart first, so that fifty rules cost little more than one. An account
without rules costs its place in one query.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter

from metrion.alerts.kinds import MINUTE_MS, begin, bucket_of
from metrion.call import Outcome
from metrion.kit.buckets import bucket
from metrion.storage import alerts as stored
from metrion.storage.alerts import Rule
from metrion.storage.database import Connection
from metrion.storage.rows import COLUMNS, Row

_Cell = tuple[int, str, str, str, int]  # account, provider, model, requester, minute

_ACCOUNT = itemgetter(COLUMNS.index("account_id"))
_READ = itemgetter(
    *map(
        COLUMNS.index,
        (
            "account_id",
            "provider",
            "model",
            "requester",
            "started_ms",
            "outcome",
            "status",
            "cost_nano",
            "latency_us",
        ),
    )
)
_REJECTED = Outcome.REJECTED.value
_ERRORS = 400  # this status and above


class _Sum:
    """What is added up of a cell."""

    __slots__ = ("cost", "errors", "latencies", "requests")

    def __init__(self) -> None:
        self.requests = self.errors = self.cost = 0
        self.latencies: Counter[int] = Counter()


def count(connection: Connection, account_ids: Iterable[int], rows: Sequence[Row], taken: Sequence[Row] = ()) -> None:
    """Add rows of these accounts to the sums of their rules, and take back those that were counted as `taken`."""
    rules: defaultdict[int, list[Rule]] = defaultdict(list)
    for rule in stored.rules_of(connection, set(account_ids)):
        rules[rule.account_id].append(rule)
    if not rules:
        return
    for sign, some in ((1, rows), (-1, taken)):
        cells = _cells(row for row in some if _ACCOUNT(row) in rules)
        for account_id, own in rules.items():
            mine = [(cell, found) for cell, found in cells.items() if cell[0] == account_id]
            for rule in own if mine else ():
                _add(connection, rule, mine, sign)
    stored.set_due(connection, rules)


def refill(connection: Connection, rule: Rule, now_ms: int) -> None:
    """Make a rule's sums anew, of the rows that are there: it is new, or looks at something else."""
    stored.clear_sums(connection, rule.account_id, rule.id)
    for rows in stored.calls_since(connection, rule.account_id, begin(rule, now_ms)):
        _add(connection, rule, list(_cells(rows).items()), 1)
    stored.set_due(connection, [rule.account_id])


def _cells(rows: Iterable[Row]) -> dict[_Cell, _Sum]:
    cells: defaultdict[_Cell, _Sum] = defaultdict(_Sum)
    for row in rows:
        account_id, provider, model, requester, started_ms, outcome, status, cost, latency = _READ(row)
        if outcome == _REJECTED:
            continue
        found = cells[account_id, provider, model, requester, started_ms // MINUTE_MS * MINUTE_MS]
        found.requests += 1
        found.errors += status >= _ERRORS
        found.cost += cost or 0
        found.latencies[bucket(latency)] += 1
    return cells


def _add(connection: Connection, rule: Rule, cells: Sequence[tuple[_Cell, _Sum]], sign: int) -> None:
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    latencies: Counter[tuple[int, int]] = Counter()
    for (_, provider, model, requester, minute_ms), found in cells:
        if not _watches(rule, provider, model, requester):
            continue
        start = bucket_of(rule, minute_ms)
        if start is None:
            continue
        figures = sums[start]
        figures[0] += sign * found.requests
        figures[1] += sign * found.errors
        figures[2] += sign * found.cost
        if rule.kind == "latency":
            for number, requests in found.latencies.items():
                latencies[start, number] += sign * requests
    key = (rule.account_id, rule.id)
    stored.add_sums(
        connection,
        [(*key, start, *figures) for start, figures in sums.items()],
        [(*key, start, number, requests) for (start, number), requests in latencies.items() if number],
    )


def _watches(rule: Rule, provider: str, model: str, requester: str) -> bool:
    return (
        (not rule.providers or provider in rule.providers)
        and (not rule.models or model in rule.models)
        and (not rule.requesters or requester in rule.requesters)
    )
