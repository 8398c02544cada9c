"""What comes late: an hour is added to its day once (`storage.hours`); what is counted in it later, in both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest

from metrion.call import NOT_ERRORS, Outcome
from metrion.kit.zones import day_start, month_start
from metrion.ledger.groups import Group, Key, Sums, add, sum_up
from metrion.storage import pairs, running, totals
from metrion.storage.database import Connection
from metrion.storage.pairs import TOP
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.totals import ALL, Fold

_AT = {name: at for at, name in enumerate(COLUMNS)}
_ID, _COST, _LATENCY = _AT["request_id"], _AT["cost_nano"], _AT["latency_us"]
_INPUT, _OUTPUT = _AT["input_tokens"], _AT["output_tokens"]


def add_sums(connection: Connection, fold: Fold, hours: Mapping[str, Iterable[Row]]) -> None:
    """Add rows of the tables of hours, all of this account, to days that their hours are in already."""
    days: dict[str, Sums] = defaultdict(dict)
    for account_id, start_ms, provider, model, status, outcome, *sums in hours.get("model_hours", ()):
        day_ms = day_start(fold.time_zone, start_ms)
        add(days["model_days"], (account_id, day_ms, provider, model, status, outcome), sums)
        add(days["provider_days"], (account_id, day_ms, provider, status, outcome), sums)
    for account_id, kind, start_ms, provider, model, octave, *counts in hours.get("latency_hours", ()):
        day_ms = day_start(fold.time_zone, start_ms)
        add(days["latency_days"], (account_id, kind, day_ms, provider, model, octave), counts)
    for account_id, start_ms, *names, count in hours.get("error_hours", ()):
        add(days["error_days"], (account_id, day_start(fold.time_zone, start_ms), *names), [count])
    for table, found in days.items():
        totals.add_sums(connection, table, [(*key, *figures) for key, figures in found.items()])
    _add_requesters(connection, fold, hours.get("requester_hours", ()))


def _add_requesters(connection: Connection, fold: Fold, hours: Iterable[Row]) -> None:
    days: defaultdict[int, Sums] = defaultdict(dict)
    for _, start_ms, provider, requester, outcome, *sums in hours:
        requests = sums[0]
        if outcome == Outcome.REJECTED.value:
            figures = [0] * len(sums) + [0, requests]  # their latency and the source of their cost are nobody's
        else:
            figures = [*sums, 0 if outcome in NOT_ERRORS else requests, 0]
        day = days[day_start(fold.time_zone, start_ms)]
        add(day, (provider, requester), figures)
        add(day, (ALL, requester), figures)
    for day_ms, found in sorted(days.items()):
        rows = [(*key, *figures) for key, figures in found.items()]
        running.add_late(connection, fold.account_id, day_ms, month_start(fold.time_zone, day_ms), rows)


def add_rows(connection: Connection, fold: Fold, groups: Sequence[Group], sign: int = 1) -> None:
    """Add rows of this account to the pairs and tops of their days, and of their quarters where these are still kept.

    Rows that are taken back (`sign` -1) stay among the tops until what they have become replaces them.
    """
    reached = [one for one in groups if one.reached and one.hour_ms >= fold.pairs_ms]
    recent = [one for one in reached if one.quarter_ms >= fold.recent_ms]

    def day(one: Group) -> int:
        return max(day_start(fold.time_zone, one.hour_ms), fold.pairs_ms)

    totals.add_sums(connection, "pair_days", _pairs(reached, lambda one, *names: (*names, day(one)), sign))
    totals.add_sums(connection, "recent_pairs", _pairs(recent, lambda one, *names: (_quarter(one), *names), sign))
    if sign > 0:
        pairs.put_tops(connection, "top_days", _tops(reached, day))
        pairs.put_tops(connection, "recent_tops", _tops(recent, _quarter))


def _quarter(one: Group) -> int:
    return one.quarter_ms


def _pairs(groups: Iterable[Group], key_of: Callable[..., Key], sign: int) -> list[Row]:
    """Rows for a table of pairs; `key_of` puts a group's names and start in the table's order."""

    def key(one: Group) -> Key:
        names = key_of(one, one.requester, one.provider, one.model)
        return (one.account_id, *names, one.status // 100, one.failed)

    sums: Sums = {}
    for (*names, failed), figures in sum_up(groups, key).items():
        add(sums, tuple(names), [*figures, figures[0] if failed else 0], sign)
    return [(*names, *figures) for names, figures in sums.items()]


def _tops(groups: Iterable[Group], start: Callable[[Group], int]) -> list[Row]:
    """Rows for a table of tops: the greatest of these."""
    together: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
    for one in groups:
        together[one.account_id, start(one)] += one.rows
    return [
        (account_id, measure, start_ms, row[_ID], value(row))
        for (account_id, start_ms), rows in together.items()
        for measure, value in _MEASURES.items()
        for row in nlargest(TOP, rows, key=value)
        if value(row)
    ]


def _cost(row: Row) -> int:
    return row[_COST] or 0


def _latency(row: Row) -> int:
    latency: int = row[_LATENCY]
    return latency


def _tokens(row: Row) -> int:
    tokens: int = row[_INPUT] + row[_OUTPUT]
    return tokens


_MEASURES = {"cost": _cost, "latency": _latency, "tokens": _tokens}
