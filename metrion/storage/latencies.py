"""What the Latency page asks: how long calls took, as percentiles within 2 % of the exact ones (`kit.buckets`).

They come from counts by bucket, which know model and provider. Of a requester or a status class they come from its
latest rows, MOST_ROWS of them: `Latency.rows` says of how many.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, Table, func, literal_column, select

from metrion.call import Outcome
from metrion.kit import buckets
from metrion.kit.buckets import quantile
from metrion.kit.ids import first_id
from metrion.storage.dashboard import by_model, by_provider, over_time, sums
from metrion.storage.database import Connection
from metrion.storage.tables import OCTAVE, calls, latency_days, latency_hours
from metrion.storage.view import NOTHING, Figures, Filters, Piece, Range, led_to, pieces, standing

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
    providers: list[Timed]
    rows: int | None  # None: of all calls; else of so many, the latest
    all_rows: bool  # whether these are all there are


_FIGURES = ("requests", "streamed_tokens", "streamed_us", "latency_us")
_PARTS = (0.5, 0.95, 0.99)


def latency(connection: Connection, account_id: int, range: Range, filters: Filters) -> Latency:
    """How long the calls of a range took, and how fast streams were."""
    figures = sums(connection, account_id, range, filters, (), _FIGURES).get((), NOTHING)
    speed = [told.tokens_a_second for told in over_time(connection, account_id, range, filters, _FIGURES)]
    models = by_model(connection, account_id, range, filters, _FIGURES)
    models = sorted(models, key=lambda one: -one.figures.requests)[:MOST_MODELS]
    providers = by_provider(connection, account_id, range, filters, _FIGURES)
    of_rows = bool(filters.requester) or filters.status is not None
    read = _of_rows if of_rows else _of_totals
    counted = read(connection, account_id, range, filters, [one.name for one in models])
    return Latency(
        all=counted.times(),
        before=None if of_rows else _of_totals(connection, account_id, range.before, filters, None).times(),
        figures=figures,
        starts=range.starts,
        over_time=[counted.times(start=start) for start in range.starts],
        speed=speed,
        models=[Timed(one.name, counted.model(one.provider, one.name), one.figures, one.provider) for one in models],
        providers=[Timed(one.name, counted.times(provider=one.name), one.figures, one.name) for one in providers],
        rows=counted.rows,
        all_rows=counted.rows is None or counted.rows < MOST_ROWS,
    )


class _Counted:
    """Counts by bucket: by start and provider, and by provider and model."""

    def __init__(self, rows: int | None = None) -> None:
        self.rows = rows
        self._over_time: defaultdict[tuple[str, int, str], Counts] = defaultdict(Counter)
        self._by_model: defaultdict[tuple[str, str, str], Counts] = defaultdict(Counter)

    def add(self, kind: str, start: int, provider: str, counts: Mapping[int, int]) -> None:
        self._over_time[kind, start, provider].update(counts)

    def add_model(self, kind: str, provider: str, model: str, counts: Mapping[int, int]) -> None:
        self._by_model[kind, provider, model].update(counts)

    def add_one(self, kind: str, start: int, provider: str, model: str, number: int) -> None:
        self._over_time[kind, start, provider][number] += 1
        self._by_model[kind, provider, model][number] += 1

    def times(self, *, start: int | None = None, provider: str | None = None) -> Times:
        """Those of all calls, of one bucket's or of one provider's."""
        found: defaultdict[str, Counts] = defaultdict(Counter)
        for (kind, one_start, one_provider), counts in self._over_time.items():
            if start in (None, one_start) and provider in (None, one_provider):
                found[kind].update(counts)
        return Times(*(_quantiles(found[kind]) for kind in _KINDS))

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
    for piece in pieces(fold, range):
        table = latency_days if piece.days else latency_hours
        kinds = _OF_MODELS if filters.models else _OF_PROVIDERS
        if models is None:
            for (kind,), counts in _read(
                connection, account_id, range.zone, table, piece, filters, kinds, ("kind", "octave")
            ):
                counted.add(kinds[kind], range.from_ms, "", counts)
            continue
        keys: tuple[str, ...] = ("kind", "start_ms", "provider", "octave")
        for (kind, start, provider), counts in _read(
            connection, account_id, range.zone, table, piece, filters, kinds, keys
        ):
            counted.add(kinds[kind], starts[bisect_right(starts, start) - 1], provider, counts)
        if models:
            only = Filters(filters.provider, tuple(models))
            keys = ("kind", "provider", "model", "octave")
            for (kind, provider, model), counts in _read(
                connection, account_id, range.zone, table, piece, only, _OF_MODELS, keys
            ):
                counted.add_model(_OF_MODELS[kind], provider, model, counts)
    return counted


def _read(
    connection: Connection,
    account_id: int,
    zone: str,
    table: Table,
    piece: Piece,
    filters: Filters,
    kinds: Iterable[str],
    by: Sequence[str],
) -> Iterator[tuple[Any, dict[int, int]]]:
    """Counts by all but the last of `by`, which is the octave."""
    column = table.c
    where = [
        column.account_id == account_id,
        column.kind.in_(kinds),
        column.start_ms >= piece.from_ms,
        column.start_ms < piece.to_ms,
    ]
    if filters.provider:
        where.append(column.provider == filters.provider)
    if filters.models:
        where.append(column.model.in_(filters.models))
        if piece.days:
            where += led_to(connection, account_id, table, zone, piece, filters)
    keys = [column[name] for name in by]
    query = select(*keys, *(func.sum(column[name]) for name in OCTAVE)).where(*where).group_by(*keys)
    for row in connection.execute(query):
        *key, octave = row[: len(by)]
        first = octave * buckets.COLUMNS
        yield tuple(key), {first + at: count for at, count in enumerate(row[len(by) :]) if count}


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
    rows = connection.execute(select(*(column[name] for name in names)).join(latest, same)).all()
    counted, starts = _Counted(len(rows)), range.starts
    for row in rows:
        if row.outcome == Outcome.REJECTED.value or not _matches(row, filters):
            continue
        start = starts[bisect_right(starts, row.started_ms) - 1]
        times = {"latency": row.latency_us, "ttft": row.ttft_us}
        if row.provider_us:
            times["overhead"] = row.latency_us - row.provider_us
        for kind, us in times.items():
            if number := buckets.bucket(us):
                counted.add_one(kind, start, row.provider, row.model, number)
    return counted


def _matches(row: Row[Any], filters: Filters) -> bool:
    return (
        filters.provider in ("", row.provider)
        and (not filters.models or row.model in filters.models)
        and filters.status in (None, row.status // 100)
    )
