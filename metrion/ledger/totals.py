"""Sums of a batch of rows, by hour and by day: added to the totals tables in the rows' own transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.tables import SUMS

_AT = {name: COLUMNS.index(name) for name in COLUMNS}
_ACCOUNT, _STARTED, _PROVIDER = _AT["account_id"], _AT["started_ms"], _AT["provider"]
_MODEL, _STATUS, _OUTCOME, _REQUESTER = _AT["model"], _AT["status"], _AT["outcome"], _AT["requester"]
_COST, _SOURCE, _LATENCY = _AT["cost_nano"], _AT["cost_source"], _AT["latency_us"]
_INPUT, _REASONING = _AT["input_tokens"], _AT["reasoning_tokens"]  # six columns of tokens side by side
_SOURCES = ("provider", "computed", "estimated", "unpriced", "unknown")
_NANO, _COUNTS, _LATENCIES = SUMS.index("cost_nano"), SUMS.index("cost_provider"), SUMS.index("latency_us")
_MONEY = {source: SUMS.index(f"{source}_nano") for source in ("provider", "estimated")}

assert COLUMNS[_INPUT : _REASONING + 1] == SUMS[1:7]  # totals add the rows' columns in this order

Sums = dict[tuple[Any, ...], list[int]]


class Totals:
    """Sums by model and by requester, of hours; days are made of them when they are written."""

    def __init__(self) -> None:
        self._models: Sums = {}
        self._requesters: Sums = {}

    def add(self, row: Row, times: int = 1) -> None:
        """Count a row, or take back (-1 times) one that was counted and has changed since."""
        account, provider, outcome = row[_ACCOUNT], row[_PROVIDER], row[_OUTCOME]
        hour = row[_STARTED] // HOUR_MS * HOUR_MS
        figures = (*row[_INPUT : _REASONING + 1], row[_COST] or 0)
        source, latency = row[_SOURCE], row[_LATENCY]
        if times < 0:
            figures, latency = tuple(-figure for figure in figures), -latency
        _add(
            self._models, (account, hour, provider, row[_MODEL], row[_STATUS], outcome, source), figures, latency, times
        )
        _add(self._requesters, (account, hour, provider, row[_REQUESTER], outcome, source), figures, latency, times)

    def tables(self) -> Iterable[tuple[str, list[Row]]]:
        """(totals table, rows to add to it)."""
        for sums, name in ((self._models, "model"), (self._requesters, "requester")):
            yield f"{name}_hours", _rows(sums, HOUR_MS)
            yield f"{name}_days", _rows(sums, DAY_MS)


def _add(sums: Sums, key: tuple[Any, ...], figures: tuple[int, ...], latency: int, times: int) -> None:
    found = sums.get(key)
    if found is None:
        sums[key] = [times, *figures, latency]
        return
    found[0] += times
    at = 1
    for figure in figures:
        if figure:
            found[at] += figure
        at += 1
    found[at] += latency


def _rows(sums: Sums, bucket_ms: int) -> list[Row]:
    """Rows for a totals table: key columns, then SUMS; the cost source becomes columns of its own."""
    out: dict[tuple[Any, ...], list[int]] = {}
    for (account, hour, *names, source), figures in sums.items():
        key = (account, hour // bucket_ms * bucket_ms, *names)
        total = out.setdefault(key, [0] * len(SUMS))
        for at, figure in enumerate(figures[:-1]):
            total[at] += figure
        total[_COUNTS + _SOURCES.index(source)] += figures[0]
        if source in _MONEY:
            total[_MONEY[source]] += figures[_NANO]
        total[_LATENCIES] += figures[-1]
    return [(*key, *total) for key, total in out.items()]
