"""What the Latency page asks: how long calls took, as percentiles within 2 % of the exact ones (`kit.buckets`).

They come from counts by bucket, which know model and provider. Of a requester or a status class they come from its
latest rows, MOST_ROWS of them: `Latency.rows` says of how many.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, func, literal_column, select

from metrion.call import Outcome
from metrion.kit import buckets
from metrion.kit.buckets import quantile
from metrion.kit.ids import first_id
from metrion.storage.dashboard import by_model, by_provider, over_time, sums
from metrion.storage.database import Connection
from metrion.storage.memory import remembered
from metrion.storage.tables import OCTAVE, calls, latency_days, latency_hours
from metrion.storage.totals import Fold
from metrion.storage.view import NOTHING, Figures, Filters, Piece, Range, led_to, part_of, pieces, rows_of, standing

MOST_MODELS = 25
MOST_ROWS = 5000

Counts = Counter[int]  # how many durations, by bucket
Quantiles = tuple[float | None, float | None, float | None]  # p50, p95 and p99 in microseconds; None of nothing


class Times(NamedTuple):
    """How long calls took."""

    latency: Quantiles  # from the request to the last byte
    first_byte: Quantiles
    overhead: Quantiles  # of Metrion itself: without waiting for the provider. Totals do not know it by model


class Timed(NamedTuple):
    """A model's or provider's times. `figures` has its requests and how fast its streams were."""

    name: str
    times: Times
    figures: Figures
    provider: str = ""


class Latency(NamedTuple):
    """How long calls took. Lists with a value a bucket go with `starts`."""

    all: Times
    before: Times | None  # of the period before; None where rows were asked
    figures: Figures
    starts: list[int]
    over_time: list[Times]
    speed: list[float | None]  # output tokens a second, of streams
    models: list[Timed]  # those with most requests
    every_model: int  # how many these could be, MOST_MODELS at most
    providers: list[Timed]
    rows: int | None  # None: of all calls; else of so many, the latest
    all_rows: bool  # whether these are all there are


_FIGURES = ("requests", "streamed_tokens", "streamed_us", "latency_us")
_PARTS = (0.5, 0.95, 0.99)


def latency(
    connection: Connection, account_id: int, range: Range, filters: Filters, most: int = MOST_MODELS
) -> Latency:
    """How long the calls of a range took, and how fast streams were; of at most so many models."""
    figures = sums(connection, account_id, range, filters, (), _FIGURES).get((), NOTHING)
    speed = [told.tokens_a_second for told in over_time(connection, account_id, range, filters, _FIGURES)]
    every = by_model(connection, account_id, range, filters, _FIGURES)
    models = sorted(every, key=lambda one: -one.figures.requests)[:most]
    providers = by_provider(connection, account_id, range, filters, _FIGURES)
    of_rows = bool(filters.requester) or filters.status is not None
    read = _of_rows if of_rows else _of_totals
    counted = read(connection, account_id, range, filters, [one.name for one in models])
    return Latency(
        all=counted.times(),
        before=None if of_rows else _of_totals(connection, account_id, range.before, filters, None).times(),
        figures=figures,
        starts=range.starts,
        over_time=[counted.times(start) for start in range.starts],
        speed=speed,
        models=[Timed(one.name, counted.model(one.provider, one.name), one.figures, one.provider) for one in models],
        every_model=min(len(every), MOST_MODELS),
        providers=[Timed(one.name, counted.times(one.name), one.figures, one.name) for one in providers],
        rows=counted.rows,
        all_rows=counted.rows is None or counted.rows < MOST_ROWS,
    )


class _Counted:
    """Counts by bucket: of all, by start, by provider, and by provider and model."""

    def __init__(self, rows: int | None = None) -> None:
        self.rows = rows
        self._by: defaultdict[tuple[str, int | str | None], Counts] = defaultdict(Counter)
        self._by_model: defaultdict[tuple[str, str, str], Counts] = defaultdict(Counter)

    def add(self, kind: str, of: int | str | None, counts: Mapping[int, int]) -> None:
        """Add counts of one start, of one provider, or of all (None)."""
        self._by[kind, of].update(counts)

    def add_model(self, kind: str, provider: str, model: str, counts: Mapping[int, int]) -> None:
        self._by_model[kind, provider, model].update(counts)

    def add_each(self, kind: str, durations: Iterable[tuple[int | str | None, int]]) -> None:
        """Add durations by the numbers of their buckets; none of 0, which is what took no time."""
        for (of, number), count in Counter(durations).items():
            if number:
                self._by[kind, of][number] += count

    def add_each_model(self, kind: str, durations: Iterable[tuple[tuple[str, str], int]]) -> None:
        for ((provider, model), number), count in Counter(durations).items():
            if number:
                self._by_model[kind, provider, model][number] += count

    def times(self, of: int | str | None = None) -> Times:
        """Those of one start, of one provider, or of all."""
        return Times(*(_quantiles(self._by[kind, of]) for kind in _KINDS))

    def model(self, provider: str, name: str) -> Times:
        return Times(*(_quantiles(self._by_model[kind, provider, name]) for kind in _KINDS))


_UNWELL = (0, 4, 5)  # classes of a status that no call which ended well has
_KINDS = ("latency", "ttft", "overhead")
_OF_PROVIDERS = {kind: kind for kind in _KINDS}  # kinds of the totals, and what they tell
_OF_MODELS = {"model_latency": "latency", "model_ttft": "ttft"}


def _quantiles(counts: Counts) -> Quantiles:
    half, most, nearly_all = (quantile(counts, part) for part in _PARTS)
    return half, most, nearly_all


def _of_totals(
    connection: Connection, account_id: int, range: Range, filters: Filters, models: Sequence[str] | None
) -> _Counted:
    """Counts of the range; without `models` (None) only those of all of it."""
    counted = _Counted()
    starts = range.starts
    fold = standing(connection, account_id, range.zone)
    kinds = _OF_MODELS if filters.models else _OF_PROVIDERS
    for piece in pieces(fold, range):
        asked = (connection, account_id, fold, range.zone, piece)
        if models is None:
            for (kind,), counts in _read(*asked, filters, kinds, ("kind", "octave")):
                counted.add(kinds[kind], None, counts)
            continue
        for (kind, start), counts in _read(*asked, filters, kinds, ("kind", "start_ms", "octave")):
            counted.add(kinds[kind], None, counts)
            counted.add(kinds[kind], starts[bisect_right(starts, start) - 1], counts)
        for (kind, provider), counts in _read(*asked, filters, kinds, ("kind", "provider", "octave")):
            counted.add(kinds[kind], provider, counts)
        if models:
            only = Filters(filters.provider, tuple(models))
            for (kind, provider, model), counts in _read(
                *asked, only, _OF_MODELS, ("kind", "provider", "model", "octave")
            ):
                counted.add_model(_OF_MODELS[kind], provider, model, counts)
    return counted


def _read(
    connection: Connection,
    account_id: int,
    fold: Fold,
    zone: str,
    piece: Piece,
    filters: Filters,
    kinds: Iterable[str],
    by: tuple[str, ...],
) -> Iterator[tuple[Any, dict[int, int]]]:
    """Counts by all but the last of `by`, which is the octave."""
    question = ("latencies", piece, filters, tuple(kinds), by)
    query = partial(_query, connection, account_id, zone, piece, filters, kinds, by)
    for row in rows_of(connection, account_id, part_of(fold, piece.to_ms, question, query)):
        *key, octave = row[: len(by)]
        first = octave * buckets.COLUMNS
        yield tuple(key), {first + at: count for at, count in enumerate(row[len(by) :]) if count}


def _query(
    connection: Connection,
    account_id: int,
    zone: str,
    piece: Piece,
    filters: Filters,
    kinds: Iterable[str],
    by: Sequence[str],
) -> Select[Any]:
    table = latency_days if piece.days else latency_hours
    column = table.c
    where = [column.account_id == account_id, column.kind.in_(kinds)]
    if filters.provider:
        where.append(column.provider == filters.provider)
    if filters.models:
        where.append(column.model.in_(filters.models))
    if filters.models and piece.days:
        where += led_to(connection, account_id, table, zone, piece, filters)
    else:
        where += [column.start_ms >= piece.from_ms, column.start_ms < piece.to_ms]
    keys = [column[name] for name in by]
    return select(*keys, *(func.sum(column[name]) for name in OCTAVE)).where(*where).group_by(*keys)


def _of_rows(
    connection: Connection, account_id: int, range: Range, filters: Filters, models: Sequence[str]
) -> _Counted:
    """The same from the latest rows that match, of the latest MOST_ROWS that an index or the range leads to."""
    ids, column = calls.c.request_id, calls.c
    within = [column.account_id == account_id, ids >= first_id(range.from_ms), ids < first_id(range.to_ms)]
    if filters.requester:
        within += [column.requester == filters.requester, literal_column("calls.requester <> ''")]  # its index's words
    elif filters.status in _UNWELL:
        within.append(literal_column("calls.outcome <> 'ok'"))  # its index's words
    names = ("started_ms", "provider", "model", "status", "outcome", "latency_us", "ttft_us", "provider_us")
    # Ids first: asked for all columns at once, SQLite walks through the whole range instead of the index.
    latest = select(ids).where(*within).order_by(ids.desc()).limit(MOST_ROWS).subquery()
    same = (column.account_id == account_id) & (ids == latest.c.request_id)
    query = select(*(column[name] for name in names)).join(latest, same)
    question = ("latencies of rows", range.from_ms, range.to_ms, filters.requester, filters.status)
    rows = remembered(connection, account_id, question, range.to_ms, lambda: list(connection.execute(query)))
    matching = [row for row in rows if row.outcome != Outcome.REJECTED.value and _matches(row, filters)]
    starts = range.starts
    began = [starts[bisect_right(starts, row.started_ms) - 1] for row in matching]
    providers = [row.provider for row in matching]
    named = [(row.provider, row.model) for row in matching]
    counted = _Counted(len(rows))
    for kind, durations in (
        ("latency", [row.latency_us for row in matching]),
        ("ttft", [row.ttft_us for row in matching]),
        ("overhead", [row.latency_us - row.provider_us if row.provider_us else 0 for row in matching]),
    ):
        numbers = [buckets.bucket(us) for us in durations]
        for of in (repeat(None), began, providers):
            counted.add_each(kind, zip(of, numbers, strict=False))
        counted.add_each_model(kind, zip(named, numbers, strict=True))
    return counted


def _matches(row: Row[Any], filters: Filters) -> bool:
    return (
        filters.provider in ("", row.provider)
        and (not filters.models or row.model in filters.models)
        and filters.status in (None, row.status // 100)
    )
