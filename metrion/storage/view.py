"""Reading totals: a range, filters, and sums by whatever is asked, from the smallest tables that can tell.

Days that are over are read from totals of days, the rest from totals of hours, so that every sum is exact at any time.
What no total tells (a model's calls of one requester within an old hour) is summed from the rows themselves.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, CompoundSelect, Select, Table, and_, case, func, literal_column, select

from metrion.call import NOT_ERRORS, Outcome
from metrion.kit.clock import HOUR_MS
from metrion.kit.ids import first_id
from metrion.kit.zones import QUARTER_MS, day_start, hour_end, hour_start, local_date, midnight, next_day
from metrion.storage.database import Connection
from metrion.storage.memory import Rows, remembered
from metrion.storage.tables import calls, model_days, model_hours, pair_days, provider_days, recent_pairs
from metrion.storage.totals import Fold, find_folds


class Range(msgspec.Struct, frozen=True):
    """[from_ms, to_ms) in Unix ms, in buckets: hours or days of `zone`. `now_ms` cuts it where it is not over yet."""

    zone: str
    from_ms: int
    to_ms: int
    hourly: bool
    now_ms: int

    @property
    def starts(self) -> list[int]:
        """Where its buckets begin."""
        found, at = [], self.from_ms
        while at < self.to_ms:
            found.append(at)
            at = hour_end(self.zone, at) if self.hourly else next_day(self.zone, at)
        return found

    @property
    def live(self) -> bool:
        """Whether it is not over yet."""
        return self.from_ms <= self.now_ms < self.to_ms

    @property
    def before(self) -> Range:
        """The period before, as long; of one that is not over, as much as has passed, to the nearest hour."""
        if self.hourly:
            from_ms = self.from_ms - (self.to_ms - self.from_ms)
        else:
            first, end = local_date(self.zone, self.from_ms), local_date(self.zone, self.to_ms)
            from_ms = midnight(self.zone, first - (end - first))
        to_ms = self.from_ms
        if self.live:
            passed = self.now_ms - self.from_ms
            to_ms = min(hour_start(self.zone, from_ms + passed + HOUR_MS // 2), to_ms)
        return Range(self.zone, from_ms, to_ms, self.hourly, self.now_ms)


class Filters(msgspec.Struct, frozen=True):
    """What is counted: all that matches everything that is not empty."""

    provider: str = ""
    models: tuple[str, ...] = ()
    requester: str = ""
    status: int | None = None  # the first digit of the status; 0: no answer came
    among: tuple[str, ...] = ()  # requesters; only pairs can tell


class Figures(NamedTuple):
    """Sums of calls. `requests` reached a provider, `refused` did not; the rest is of those that did.

    Money in nano-dollars, durations in microseconds. What was not asked for is 0.
    """

    requests: int = 0
    refused: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int = 0
    provider_nano: int = 0
    estimated_nano: int = 0
    cost_provider: int = 0  # requests by where their cost is from
    cost_computed: int = 0
    cost_estimated: int = 0
    cost_unpriced: int = 0
    cost_unknown: int = 0
    input_nano: int = 0
    cached_nano: int = 0
    written_nano: int = 0
    output_nano: int = 0
    saved_nano: int = 0
    latency_us: int = 0
    streamed_tokens: int = 0
    streamed_us: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def written_tokens(self) -> int:
        """Tokens written to a cache."""
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def fresh_tokens(self) -> int:
        """Prompt tokens that no cache was used for."""
        return max(self.input_tokens - self.cached_input_tokens - self.written_tokens, 0)

    @property
    def computed_nano(self) -> int:
        return self.cost_nano - self.provider_nano - self.estimated_nano

    @property
    def unsplit_nano(self) -> int:
        """Of the cost, what is for tools and fees, or not known for which tokens."""
        return self.cost_nano - self.input_nano - self.cached_nano - self.written_nano - self.output_nano

    @property
    def without_cost(self) -> int:
        """How many requests' cost is not known."""
        return self.cost_unpriced + self.cost_unknown

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.requests if self.requests else None

    @property
    def mean_latency_us(self) -> float | None:
        return self.latency_us / self.requests if self.requests else None

    @property
    def cache_hit_rate(self) -> float | None:
        """The share of prompt tokens that came from a cache."""
        return self.cached_input_tokens / self.input_tokens if self.input_tokens else None

    @property
    def tokens_a_second(self) -> float | None:
        """How fast streams that ended well told their output."""
        return self.streamed_tokens / self.streamed_us * 1e6 if self.streamed_us else None


ALL = Figures._fields
_KEPT = 256  # lists of columns
COUNTS = ("requests", "refused", "errors")
NOTHING = Figures()


def maker(names: Sequence[str]) -> Callable[[Sequence[int]], Figures]:
    """What makes figures of the values of these, in their order; the rest is 0."""
    if tuple(names) == ALL:
        return Figures._make
    places = [ALL.index(name) for name in names]

    def make(values: Sequence[int]) -> Figures:
        every = [0] * len(ALL)
        for place, value in zip(places, values, strict=True):
            every[place] = value
        return Figures._make(every)

    return make


def add(left: Figures, right: Figures, sign: int = 1) -> Figures:
    """Their sum; with `sign` -1 their difference."""
    return Figures(*(one + sign * other for one, other in zip(left, right, strict=True)))


def total(many: Iterable[Figures]) -> Figures:
    """The sum of them all."""
    return Figures(*(sum(column) for column in zip(NOTHING, *many, strict=True)))


# ── how the sums are asked for ────────────────────────────────────────────────────────────────────────────────────────


class Piece(NamedTuple):
    """A part of a range: [from, to) of the starts of days or of hours."""

    days: bool
    from_ms: int
    to_ms: int


class Part(NamedTuple):
    """Rows of sums to be added up: a question of totals before `to_ms`, and what asks it; see `memory.remembered`."""

    question: Hashable
    to_ms: int
    query: Callable[[], Select[Any] | CompoundSelect[Any]]


def rows_of(connection: Connection, account_id: int, part: Part) -> Rows:
    """The rows of a part: for each key its sums."""

    def read() -> Rows:
        return [tuple(row) for row in connection.execute(part.query())]

    return read() if part.question is None else remembered(connection, account_id, part.question, part.to_ms, read)


def standing(connection: Connection, account_id: int, zone: str) -> Fold:
    """How far the account's totals are; in a zone that they are not counted in yet, as if no day was over."""
    fold = find_folds(connection, [account_id])[account_id]
    return fold if fold.time_zone == zone else fold._replace(folded_ms=0)


def pieces(fold: Fold, range: Range) -> list[Piece]:
    """Days where these are whole, hours for the rest; between them each hour of the range once."""
    if range.hourly or fold.folded_ms == 0:
        return _apart(fold, range.zone, Piece(False, range.from_ms, range.to_ms))
    first, end = whole_days(range)
    found = [
        Piece(False, range.from_ms, first),
        Piece(True, first, end),
        Piece(False, max(first, fold.folded_ms), end),
        Piece(False, end, range.to_ms),
    ]
    return [one for piece in found if piece.from_ms < piece.to_ms for one in _apart(fold, range.zone, piece)]


_LATE_MS = HOUR_MS // 4  # after that, few calls come to an hour that is over


def over_ms(fold: Fold, zone: str, *, days: bool) -> int:
    """The end of the hours or days that few calls come to any more: what is read of them may be read again."""
    last = max(fold.last_ms - _LATE_MS, 0)
    return day_start(zone, last) if days else hour_start(zone, last)


def _apart(fold: Fold, zone: str, piece: Piece) -> list[Piece]:
    """What is over of a piece, and the rest."""
    border = over_ms(fold, zone, days=piece.days)
    if not piece.from_ms < border < piece.to_ms:
        return [piece]
    return [piece._replace(to_ms=border), piece._replace(from_ms=border)]


def stand_of(fold: Fold, to_ms: int) -> Hashable:
    """What of `fold` totals before `to_ms` rest on, as part of a question; None while they move to another zone."""
    if fold.clearing or fold.old_zone is not None:
        return None
    folded = () if to_ms <= min(fold.folded_ms, fold.paired_ms) else (fold.folded_ms, fold.paired_ms, fold.recent_ms)
    return fold.time_zone, fold.pairs_ms, folded


def part_of(fold: Fold, to_ms: int, question: Hashable, query: Callable[[], Any]) -> Part:
    """A part that may be remembered as far as `fold` lets it."""
    stand = stand_of(fold, to_ms)
    return Part(None if stand is None else (question, stand), to_ms, query)


def whole_days(range: Range) -> tuple[int, int]:
    """[from, to) of the whole days in a range; of none, its end twice."""
    begun = day_start(range.zone, range.from_ms)
    first = min(range.from_ms if begun == range.from_ms else next_day(range.zone, range.from_ms), range.to_ms)
    return first, max(day_start(range.zone, range.to_ms), first)


def quarters(piece: Piece) -> list[int]:
    """Every quarter of an hour: each hour begins with one, in whatever zone."""
    first = -(-piece.from_ms // QUARTER_MS)
    return [first * QUARTER_MS + at for at in range(0, piece.to_ms - first * QUARTER_MS, QUARTER_MS)]


_REJECTED = Outcome.REJECTED.value


@lru_cache(maxsize=_KEPT)
def columns_of(table: Table, by: tuple[str, ...], figures: tuple[str, ...]) -> tuple[ColumnElement[Any], ...]:
    """What to select from a totals table: `by`, and these figures summed up. Kept, for making it takes a while."""
    return (*(table.c[name] for name in by), *(sum_of(table, name).label(name) for name in figures))


def sum_of(table: Table, name: str) -> ColumnElement[int]:
    """A figure, as summed over a table's rows."""
    column = table.c
    if "outcome" not in column:  # refusals are not in it
        return func.sum(column[name]) if name in column else func.sum(0)
    if name == "refused":
        return func.sum(case((column.outcome == _REJECTED, column.requests), else_=0))
    if name == "errors":
        return func.sum(case((column.outcome.in_(NOT_ERRORS), 0), else_=column.requests))
    if name in ("requests", "latency_us") or (name.startswith("cost_") and name != "cost_nano"):
        return func.sum(case((column.outcome == _REJECTED, 0), else_=column[name]))
    return func.sum(column[name])


def _matching(
    table: Table, account_id: int, piece: Piece, filters: Filters, led: Sequence[ColumnElement[bool]]
) -> ColumnElement[bool]:
    column = table.c
    terms = [column.account_id == account_id]
    terms += led or [column.start_ms >= piece.from_ms, column.start_ms < piece.to_ms]
    if filters.provider:
        terms.append(column.provider == filters.provider)
    if filters.models:
        terms.append(column.model.in_(filters.models))
    if filters.requester:
        terms.append(column.requester == filters.requester)
    if filters.among:
        terms.append(column.requester.in_(filters.among))
    if filters.status is not None:
        if "class" in column:
            terms.append(column["class"] == filters.status)
        else:
            terms.append(column.status >= 100 * filters.status)
            terms.append(column.status < 100 * filters.status + 100)
    return and_(*terms)


Key = tuple[Any, ...]


def led_to(
    connection: Connection, account_id: int, days: Table, zone: str, piece: Piece, filters: Filters
) -> list[ColumnElement[bool]]:
    """What leads SQLite to some models' days by their key, start and provider before model, where it would walk all."""
    starts, at = [], piece.from_ms
    while at < piece.to_ms:
        starts.append(at)
        at = next_day(zone, at)
    providers = [filters.provider] if filters.provider else _providers(connection, account_id, piece)
    return [days.c.start_ms.in_(starts), days.c.provider.in_(providers)]


def _providers(connection: Connection, account_id: int, piece: Piece, fold: Fold | None = None) -> list[str]:
    """Providers that days have; with `fold`, also hours that are not in their days yet."""
    found: set[str] = set()
    parts = [(provider_days.c, piece.from_ms, piece.to_ms)]
    if fold is not None:
        parts.append((model_hours.c, max(fold.folded_ms, piece.from_ms), piece.to_ms))
    for of, from_ms, to_ms in parts:
        within = (of.account_id == account_id) & (of.start_ms >= from_ms) & (of.start_ms < to_ms)
        found.update(connection.scalars(select(of.provider).where(within).distinct()))
    return sorted(found)


def read(
    connection: Connection,
    account_id: int,
    range: Range,
    filters: Filters,
    by: Sequence[str] = (),
    figures: Sequence[str] = ALL,
) -> dict[Key, Figures]:
    """Sums of all requesters by "start_ms" (of a bucket of the range), "provider", "model", "status", "outcome"."""
    fold = standing(connection, account_id, range.zone)
    plain = "model" not in by and not filters.models
    days = provider_days if plain else model_days

    def query(piece: Piece) -> Select[Any]:
        led = led_to(connection, account_id, days, range.zone, piece, filters) if filters.models and piece.days else ()
        return _grouped(days if piece.days else model_hours, account_id, piece, filters, by, figures, led)

    asked = [_asked_of(fold, "models", piece, filters, by, figures, query) for piece in pieces(fold, range)]
    return gather(connection, account_id, range, asked, by, figures)


def _asked_of(
    fold: Fold,
    name: str,
    piece: Piece,
    filters: Filters,
    by: Sequence[str],
    figures: Sequence[str],
    query: Callable[[Piece], Select[Any]],
) -> Part:
    """A part: sums of a piece, of what is called `name`."""
    return part_of(fold, piece.to_ms, (name, piece, filters, tuple(by), tuple(figures)), partial(query, piece))


def read_pairs(
    connection: Connection,
    account_id: int,
    range: Range,
    filters: Filters,
    by: Sequence[str] = (),
    figures: Sequence[str] = ALL,
) -> dict[Key, Figures]:
    """Sums by "start_ms", "requester", "provider", "model", "class" (of the status) or some of these; no refusals."""
    fold = find_folds(connection, [account_id])[account_id]
    first, end = (range.to_ms, range.to_ms) if range.hourly else whole_days(range)

    def of_days(piece: Piece) -> Select[Any]:
        query = _grouped(pair_days, account_id, piece, filters, by, figures)
        if filters.models and not filters.provider and fold.folded_ms:
            # By its key a requester's rows of a model are found only through the provider.
            query = query.where(pair_days.c.provider.in_(_providers(connection, account_id, piece, fold)))
        return query

    def of_recent(piece: Piece) -> Select[Any]:
        # By their key some requesters' are found only through each quarter there may be.
        led = [recent_pairs.c.start_ms.in_(quarters(piece))] if filters.requester or filters.among else ()
        return _grouped(recent_pairs, account_id, piece, filters, by, figures, led)

    def of_calls(piece: Piece) -> Select[Any]:
        return _of_rows(account_id, piece.from_ms, piece.to_ms, filters, by, figures)

    wanted = [("pair_days", of_days, Piece(True, first, min(end, fold.paired_ms)))]
    for from_ms, to_ms in ((range.from_ms, first), (end, range.to_ms)):  # what is no whole day
        kept = max(from_ms, fold.recent_ms)
        wanted.append(("recent_pairs", of_recent, Piece(False, kept, min(to_ms, fold.paired_ms))))
        wanted.append(("calls", of_calls, Piece(False, from_ms, min(kept, to_ms, fold.paired_ms))))
    wanted.append(("calls", of_calls, Piece(False, max(range.from_ms, fold.paired_ms), range.to_ms)))
    asked = [
        _asked_of(fold, name, one, filters, by, figures, query)
        for name, query, piece in wanted
        if piece.from_ms < piece.to_ms
        for one in _apart(fold, range.zone, piece)
    ]
    return gather(connection, account_id, range, asked, by, figures)


def _of_rows(
    account_id: int, from_ms: int, to_ms: int, filters: Filters, by: Sequence[str], figures: Sequence[str]
) -> Select[Any]:
    """The same of rows."""
    ids = calls.c.request_id
    mine = [calls.c.account_id == account_id, ids >= first_id(from_ms), ids < first_id(to_ms)]
    if filters.requester:
        # Ids out of the index first, by its own words: asked for all columns, SQLite walks through the range instead.
        named = select(ids).where(
            *mine, calls.c.requester == filters.requester, literal_column("calls.requester <> ''")
        )
        mine = [calls.c.account_id == account_id, ids.in_(named)]
    mine.append(calls.c.outcome != _REJECTED)
    if filters.provider:
        mine.append(calls.c.provider == filters.provider)
    if filters.models:
        mine.append(calls.c.model.in_(filters.models))
    if filters.among:
        mine.append(calls.c.requester.in_(filters.among))
    if filters.status is not None:
        mine.append(calls.c.status.between(100 * filters.status, 100 * filters.status + 99))
    keys = [_KEYS[name] if name in _KEYS else calls.c[name] for name in by]
    sums = [_ROW_SUMS[name].label(name) for name in figures]
    return select(*keys, *sums).where(*mine).group_by(*keys)


# A quarter of an hour lies in one bucket of whatever zone.
_KEYS: dict[str, ColumnElement[Any]] = {
    "start_ms": calls.c.started_ms - calls.c.started_ms % QUARTER_MS,
    "class": calls.c.status // 100,
}


def _row_sum(name: str) -> ColumnElement[int]:
    """A figure, as summed over rows of calls that reached a provider."""
    column = calls.c
    streamed = (column.stream == 1) & (column.outcome == Outcome.OK.value)
    special: dict[str, ColumnElement[int]] = {
        "requests": func.count(),
        "refused": literal_column("0"),
        "errors": func.sum(case((column.outcome.in_(NOT_ERRORS), 0), else_=1)),
        "streamed_tokens": func.sum(case((streamed, column.output_tokens), else_=0)),
        "streamed_us": func.sum(case((streamed, column.latency_us - column.ttft_us), else_=0)),
    }
    for source in ("provider", "computed", "estimated", "unpriced", "unknown"):
        special[f"cost_{source}"] = func.sum(case((column.cost_source == source, 1), else_=0))
        special[f"{source}_nano"] = func.sum(
            case((column.cost_source == source, func.coalesce(column.cost_nano, 0)), else_=0)
        )
    return special[name] if name in special else func.sum(func.coalesce(column[name], 0))


_ROW_SUMS = {name: _row_sum(name) for name in ALL}


def _grouped(
    table: Table,
    account_id: int,
    piece: Piece,
    filters: Filters,
    by: Sequence[str],
    figures: Sequence[str],
    led: Sequence[ColumnElement[bool]] = (),
) -> Select[Any]:
    """Sums of a piece; `led`: what leads to it, in the place of its first and last start."""
    columns = columns_of(table, tuple(by), tuple(figures))
    where = _matching(table, account_id, piece, filters, led)
    return select(*columns).where(where).group_by(*columns[: len(by)])


def gather(
    connection: Connection,
    account_id: int,
    range: Range,
    asked: Iterable[Part],
    by: Sequence[str],
    figures: Sequence[str],
) -> dict[Key, Figures]:
    """Add up what parts tell of each key; starts become those of the range's buckets."""
    starts = range.starts if "start_ms" in by else []
    at = by.index("start_ms") if starts else -1
    found: dict[Key, Sequence[int]] = {}
    for part in asked:
        for row in rows_of(connection, account_id, part):
            key, sums = row[: len(by)], row[len(by) :]
            if not any(sums):  # of no rows at all, perhaps
                continue
            if starts:
                key = (*key[:at], starts[bisect_right(starts, key[at]) - 1], *key[at + 1 :])
            add_to(found, key, sums)
    make = maker(figures)
    return {key: make(sums) for key, sums in found.items()}


def add_to(found: dict[Key, Sequence[int]], key: Key, sums: Sequence[int]) -> None:
    """Add sums to those of a key."""
    old = found.get(key)
    found[key] = sums if old is None else list(map(operator.add, old, sums))
