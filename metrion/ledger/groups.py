"""Rows in groups of what totals tell apart, and their sums: a group and a column at a time, not a row at a time."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from metrion.call import NOT_ERRORS, Outcome
from metrion.kit import buckets
from metrion.kit.zones import QUARTER_MS, utc_month
from metrion.storage.database import Connection
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.tables import SUMS
from metrion.storage.totals import OTHER, Fold, Name, unknown_names

Key = tuple[Any, ...]
Sums = dict[Key, list[int]]

_AT = {name: at for at, name in enumerate(COLUMNS)}
_STARTED = _AT["started_ms"]
_TOLD_APART = (
    "account_id",
    "provider",
    "model",
    "requester",
    "status",
    "outcome",
    "cost_source",
    "stream",
    "mode",
)
_APART = itemgetter(*(_AT[name] for name in _TOLD_APART))
_TOKENS = SUMS[1:7]
_SPLIT = ("input_nano", "cached_nano", "written_nano", "output_nano", "saved_nano")
_FIGURES = itemgetter(*(_AT[name] for name in (*_TOKENS, "latency_us", "ttft_us", *_SPLIT)))
_COST = itemgetter(_AT["cost_nano"])
_LATENCY, _TTFT, _WAITING = (itemgetter(_AT[name]) for name in ("latency_us", "ttft_us", "provider_us"))
_ERROR = itemgetter(_AT["error_code"], _AT["error_message"])
_SOURCES = ("provider", "computed", "estimated", "unpriced", "unknown")
_OF_SOURCE = {source: tuple(int(source == one) for one in _SOURCES) for source in _SOURCES}
_PRICED = _SOURCES[:3]
_REJECTED, _OK = Outcome.REJECTED.value, Outcome.OK.value


class Group(NamedTuple):
    """Rows that every total counts alike; their names are the totals', where there are too many others "(other)"."""

    account_id: int
    provider: str
    model: str
    requester: str
    status: int
    outcome: str
    source: str
    stream: int
    mode: str
    hour_ms: int
    quarter_ms: int
    rows: list[Row]

    @property
    def reached(self) -> bool:
        """Whether the calls reached a provider."""
        return self.outcome != _REJECTED

    @property
    def failed(self) -> bool:
        """Whether they count as errors."""
        return self.outcome not in NOT_ERRORS


def group(connection: Connection, rows: Iterable[Row], folds: Mapping[int, Fold]) -> list[Group]:
    """Group rows; what they name is remembered."""
    found: defaultdict[tuple[Key, int], list[Row]] = defaultdict(list)
    for row in rows:
        found[_APART(row), row[_STARTED] // QUARTER_MS].append(row)
    refused = _refused(connection, found)
    groups = []
    for (names, quarter), members in found.items():
        account_id, provider, model, requester, *rest = names
        if refused:
            month = utc_month(quarter)
            model = OTHER if (account_id, "model", month, model) in refused else model
            requester = OTHER if (account_id, "requester", month, requester) in refused else requester
        quarter_ms = quarter * QUARTER_MS
        status, outcome, source, stream, mode = rest
        apart = (account_id, provider, model, requester, status, outcome, source, stream, mode)
        groups += [
            Group(*apart, hour_ms, quarter_ms, some)
            for hour_ms, some in _by_hour(folds[account_id], quarter_ms, members)
        ]
    return groups


def _by_hour(fold: Fold, quarter_ms: int, rows: list[Row]) -> Iterable[tuple[int, list[Row]]]:
    """Rows of a quarter of an hour by their hour: one, but where a change of the time zone has come to that quarter."""
    if fold.old_zone is None or not quarter_ms < fold.moved_ms < quarter_ms + QUARTER_MS:
        return ((fold.hour(quarter_ms), rows),)
    found: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[fold.hour(row[_STARTED])].append(row)
    return found.items()


def _refused(connection: Connection, found: Iterable[tuple[Key, int]]) -> set[Name]:
    wanted: dict[Name, str] = {}
    for (account_id, provider, model, requester, *_), quarter in found:
        month = utc_month(quarter)
        if model:
            wanted[account_id, "model", month, model] = provider
        if requester:
            wanted[account_id, "requester", month, requester] = ""
    return unknown_names(connection, wanted)


def sum_up(groups: Iterable[Group], key: Callable[[Group], Key]) -> Sums:
    """`tables.SUMS` of groups by `key`."""
    together: defaultdict[tuple[Key, str, str, int], list[Row]] = defaultdict(list)
    for one in groups:
        together[key(one), one.outcome, one.source, one.stream] += one.rows
    sums: Sums = {}
    for (name, outcome, source, stream), rows in together.items():
        add(sums, name, _figures(rows, source, bool(stream) and outcome == _OK))
    return sums


def _figures(rows: list[Row], source: str, streamed: bool) -> list[int]:
    """The columns of `tables.SUMS`; all rows have that source."""
    count = len(rows)
    sums = _FIGURES(rows[0]) if count == 1 else tuple(map(sum, zip(*map(_FIGURES, rows), strict=True)))
    of_source = _OF_SOURCE[source]
    cost = sum(filter(None, map(_COST, rows))) if source in _PRICED else 0
    latency = sums[6]
    return [
        count,
        *sums[:6],
        cost,
        *(of_source if count == 1 else [count * one for one in of_source]),
        latency,
        cost * of_source[0],
        cost * of_source[2],
        *sums[8:],
        sums[4] if streamed else 0,
        latency - sums[7] if streamed else 0,
    ]


def add(sums: Sums, key: Key, figures: list[int], sign: int = 1) -> None:
    """Add figures to those of `key`; the list may become theirs."""
    found = sums.get(key)
    if found is None:
        sums[key] = figures if sign == 1 else [sign * figure for figure in figures]
    else:
        sums[key] = [old + sign * new for old, new in zip(found, figures, strict=True)]


def durations(groups: Iterable[Group]) -> Sums:
    """Counts by bucket of calls that reached a provider; the keys are those of `tables.latency_hours`."""
    together: defaultdict[tuple[int, int, str, str], list[Row]] = defaultdict(list)
    for one in groups:
        if one.reached:
            together[one.account_id, one.hour_ms, one.provider, one.model] += one.rows
    sums: Sums = {}
    for (account_id, hour_ms, provider, model), rows in together.items():
        overhead = [_LATENCY(row) - _WAITING(row) for row in rows if _WAITING(row)]
        for kind, values in (("latency", map(_LATENCY, rows)), ("ttft", map(_TTFT, rows)), ("overhead", overhead)):
            for octave, counts in _octaves(values).items():
                add(sums, (account_id, kind, hour_ms, provider, "", octave), counts)
                if kind != "overhead":
                    add(sums, (account_id, f"model_{kind}", hour_ms, provider, model, octave), counts)
    return sums


def _octaves(values: Iterable[int]) -> dict[int, list[int]]:
    """How many durations are in each bucket, by octave; those that took no time are in none."""
    octaves: dict[int, list[int]] = {}
    numbers = Counter(map(buckets.bucket, values))
    del numbers[0]
    for number, count in numbers.items():
        octave, column = divmod(number, buckets.COLUMNS)
        counts = octaves.get(octave)
        if counts is None:
            counts = octaves[octave] = [0] * buckets.COLUMNS
        counts[column] = count
    return octaves


def errors(connection: Connection, groups: Iterable[Group]) -> Sums:
    """Calls that failed or were refused, by what was said of it; the keys are those of `tables.error_hours`."""
    counts: Counter[Key] = Counter()
    for one in groups:
        if one.failed or not one.reached:
            for code, message in map(_ERROR, one.rows):
                named = (one.provider, one.status, one.outcome, code or "", shape(message or ""))
                counts[one.account_id, one.hour_ms, *named] += 1
    wanted = {(key[0], "error", utc_month(key[1] // QUARTER_MS), key[-1]): "" for key in counts if key[-1]}
    refused = unknown_names(connection, wanted)
    sums: Sums = {}
    for key, count in counts.items():
        name = (key[0], "error", utc_month(key[1] // QUARTER_MS), key[-1])
        add(sums, (*key[:-1], OTHER) if name in refused else key, [count])
    return sums


_LONGEST_SHAPE = 200
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{16,}\b|(?<=\b[a-z]{3}_)\w{8,}|(?<=\b[a-z]{4}_)\w{8,}")
_NUMBER = re.compile(r"(?<![\w-])\d[\d.,:]*(?=(?:ms|[smhd%])?(?![\w-]))")


def shape(message: str) -> str:
    """A message as one of its kind: without the ids and numbers that differ from call to call."""
    return _NUMBER.sub("#", _ID.sub("…", message[: 4 * _LONGEST_SHAPE]))[:_LONGEST_SHAPE]
