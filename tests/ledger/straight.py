"""Totals the plain way: every table as the rows alone make it, row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select

from metrion.call import NOT_ERRORS
from metrion.kit.buckets import COLUMNS as WIDTH
from metrion.kit.buckets import bucket
from metrion.kit.zones import QUARTER_MS, day_start, hour_start, month_start
from metrion.ledger.groups import shape
from metrion.storage import tables
from metrion.storage.database import Database
from metrion.storage.pairs import TOP
from metrion.storage.tables import SUMS
from metrion.storage.totals import ALL, Fold
from tests.ledger.samples import rows_of

Row = dict[str, Any]
Table = dict[tuple[Any, ...], tuple[int, ...]]
TOTALS = (
    tables.model_hours,
    tables.model_days,
    tables.provider_days,
    tables.requester_hours,
    tables.requester_days,
    tables.requester_running,
    tables.requester_dates,
    tables.pair_days,
    tables.recent_pairs,
    tables.latency_hours,
    tables.latency_days,
    tables.error_hours,
    tables.error_days,
    tables.top_days,
    tables.recent_tops,
)
OF_ROWS = (tables.pair_days, tables.recent_pairs, tables.top_days, tables.recent_tops)


def check_totals(database: Database, rows: list[Row] | None = None) -> None:
    """Compare every totals table with the rows: those that are there, or all that ever were."""
    stands = folds_of(database)
    running: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for (account_id, date), (_, _, _, many) in kept(database, "requester_dates").items():
        if many > 0:
            running[account_id][date] = many
    wanted = straight(rows_of(database) if rows is None else rows, stands, running)
    for table in TOTALS:
        found = kept(database, table.name)
        if table in OF_ROWS:  # of an earlier time zone, from rows that are gone
            at = [column.name for column in table.primary_key].index("start_ms")
            found = {key: figures for key, figures in found.items() if key[at] >= stands[key[0]].pairs_ms}
            if table in (tables.recent_pairs, tables.recent_tops):  # what is older is deleted in a later step
                found = {key: figures for key, figures in found.items() if key[at] >= stands[key[0]].recent_ms}
        if table is tables.requester_running:  # but for what is not whole yet, which nothing reads
            found = {key: figures for key, figures in found.items() if key[1] in running[key[0]]}
        if table is tables.requester_dates:
            found = {key: (*figures[:3], max(figures[3], 0)) for key, figures in found.items()}
        if table is tables.recent_tops:  # what is gone in three days is not cut to the greatest each time
            assert wanted.get(table.name, {}).items() <= found.items()
        else:
            assert found == wanted.get(table.name, {}), table.name


def folds_of(database: Database) -> dict[int, Fold]:
    with database.begin() as connection:
        return {row.account_id: Fold(*row) for row in connection.execute(select(tables.folds))}


def kept(database: Database, name: str) -> Table:
    """A table as it is, by its key; rows of nothing left out."""
    table = tables.metadata.tables[name]
    with database.begin() as connection:
        found = [tuple(row) for row in connection.execute(select(table))]
    keys = len(table.primary_key)
    by_key = {row[:keys]: row[keys:] for row in found}
    assert len(by_key) == len(found)
    return {key: figures for key, figures in by_key.items() if any(figures)}


def straight(rows: Iterable[Row], stands: dict[int, Fold], running: dict[int, dict[int, int]]) -> dict[str, Table]:
    """What every table must hold. `running`: how many sums since the month's beginning each day of an account has."""
    sums = _Sums()
    by_account: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_account[row["account_id"]].append(row)
    for account_id, own in by_account.items():
        fold = stands[account_id]
        for row in own:
            _count(sums, fold, row)
        _run(sums, fold, own, running.get(account_id, {}))
    return sums.tables()


class _Sums:
    def __init__(self) -> None:
        self._tables: defaultdict[str, defaultdict[tuple[Any, ...], dict[str, int]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(int))
        )
        self._tops: defaultdict[tuple[Any, ...], list[tuple[int, bytes]]] = defaultdict(list)

    def add(self, table: str, key: tuple[Any, ...], figures: dict[str, int]) -> None:
        found = self._tables[table][key]
        for name, figure in figures.items():
            found[name] += figure

    def top(self, key: tuple[Any, ...], value: int, request_id: bytes) -> None:
        if value > 0:
            self._tops[key].append((value, request_id))

    def tables(self) -> dict[str, Table]:
        found: defaultdict[str, Table] = defaultdict(dict)
        for name, sums in self._tables.items():
            table = tables.metadata.tables[name]
            columns = [column.name for column in table.c if not column.primary_key]
            rows = {key: tuple(figures.get(column, 0) for column in columns) for key, figures in sums.items()}
            found[name] = {key: row for key, row in rows.items() if any(row)}
        for (name, *top), values in self._tops.items():
            for value, request_id in sorted(values, reverse=True)[:TOP]:
                found[name][(*top, request_id)] = (value,)
        return found


def hour_of(fold: Fold, row: Row) -> int:
    """The hour a row is counted in; a deleted one stays in the hour of the zone it was counted in ("zone")."""
    zone = row.get("zone", fold.time_zone)
    hour: int = fold.hour(row["started_ms"]) if zone == fold.time_zone else hour_start(zone, row["started_ms"])
    return hour


def figures_of(row: Row) -> dict[str, int]:
    """What a row adds to SUMS."""
    cost, source = row["cost_nano"] or 0, row["cost_source"]
    figures = {**row, "requests": 1, "cost_nano": cost, f"cost_{source}": 1, f"{source}_nano": cost}
    if row["stream"] and row["outcome"] == "ok":
        figures |= {"streamed_tokens": row["output_tokens"], "streamed_us": row["latency_us"] - row["ttft_us"]}
    return {name: figures.get(name, 0) for name in SUMS}


def _count(sums: _Sums, fold: Fold, row: Row) -> None:
    account, provider, model, outcome = row["account_id"], row["provider"], row["model"], row["outcome"]
    requester, status = row["requester"], row["status"]
    hour = hour_of(fold, row)
    day = day_start(fold.time_zone, hour)
    spans = [("hours", hour)] + ([("days", day)] if hour < fold.folded_ms else [])
    figures = figures_of(row)
    sums.add("requester_hours", (account, hour, provider, requester, outcome), figures)
    if hour < fold.folded_ms:
        sums.add("provider_days", (account, day, provider, status, outcome), figures)
    for size, start in spans:
        sums.add(f"model_{size}", (account, start, provider, model, status, outcome), figures)
        if outcome not in NOT_ERRORS or outcome == "rejected":
            said = (row["error_code"] or "", shape(row["error_message"] or ""))
            sums.add(f"error_{size}", (account, start, provider, status, outcome, *said), {"requests": 1})
        if outcome != "rejected":
            _time(sums, size, (account, start, provider, model), row)
    if outcome != "rejected" and row["started_ms"] < fold.paired_ms and hour >= fold.pairs_ms:
        quarter = row["started_ms"] // QUARTER_MS * QUARTER_MS
        _pair(sums, row, "pair_days", "top_days", max(day, fold.pairs_ms), figures)
        if quarter >= fold.recent_ms:
            _pair(sums, row, "recent_pairs", "recent_tops", quarter, figures)


def _time(sums: _Sums, size: str, key: tuple[int, int, str, str], row: Row) -> None:
    account, start, provider, model = key
    waiting = row["provider_us"]
    times = [("model_latency", model, row["latency_us"]), ("model_ttft", model, row["ttft_us"])]
    times.append(("overhead", "", row["latency_us"] - waiting if waiting else 0))
    times += [("latency", "", row["latency_us"]), ("ttft", "", row["ttft_us"])]
    for kind, name, us in times:
        if number := bucket(us):
            octave, column = divmod(number, WIDTH)
            sums.add(f"latency_{size}", (account, kind, start, provider, name, octave), {f"bucket_{column}": 1})


def _pair(sums: _Sums, row: Row, pairs: str, tops: str, start: int, figures: dict[str, int]) -> None:
    account, names = row["account_id"], (row["requester"], row["provider"], row["model"])
    failed = figures | {"errors": int(row["outcome"] not in NOT_ERRORS)}
    values = {
        "cost": row["cost_nano"] or 0,
        "latency": row["latency_us"],
        "tokens": row["input_tokens"] + row["output_tokens"],
    }
    key = (*names, start) if pairs == "pair_days" else (start, *names)
    sums.add(pairs, (account, *key, row["status"] // 100), failed)
    for measure, value in values.items():
        sums.top((tops, account, measure, start), value, row["request_id"])


def _run(sums: _Sums, fold: Fold, rows: list[Row], running: dict[int, int]) -> None:
    """What requesters used by day, and since each month's beginning up to the days that have a sum of it."""
    zone = fold.time_zone
    by_day: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if hour_of(fold, row) < fold.folded_ms:
            by_day[day_start(zone, hour_of(fold, row))].append(row)
    for day, of_day in by_day.items():
        active, keys = set(), set()
        for row in of_day:
            refused = row["outcome"] == "rejected"
            figures = {"refused": 1} if refused else figures_of(row) | {"errors": int(row["outcome"] not in NOT_ERRORS)}
            for provider in (row["provider"], ALL):
                name = (provider, row["requester"])
                keys.add(name)
                sums.add("requester_days", (fold.account_id, day, *name), figures)
                for date in running:
                    if day <= date and month_start(zone, date) == month_start(zone, day):
                        sums.add("requester_running", (fold.account_id, date, *name), figures)
            if row["requester"] and not refused:
                active.add(row["requester"])
        dates = {"since_ms": month_start(zone, day), "requesters": len(active), "rows": len(keys)}
        sums.add("requester_dates", (fold.account_id, day), dates | {"running": running.get(day, 0)})
