"""Folding: whatever happens in whatever order, and wherever it stops, every table has what the rows add up to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from metrion.call import Call
from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.kit.ids import first_id
from metrion.ledger import reprice
from metrion.ledger.fold import GRACE_MS, STEP_SECONDS, Folder, fold_all, fold_some
from metrion.ledger.journal import Journal
from metrion.ledger.pace import Pace
from metrion.ledger.reprice import Scope
from metrion.ledger.writer import Writer, write_calls
from metrion.prices import rules
from metrion.prices.catalog import PriceBook
from metrion.storage import accounts, tables
from metrion.storage.database import Database
from metrion.storage.deletions import delete_account
from metrion.storage.pairs import TOP
from tests.ledger.calls import calls_around
from tests.ledger.samples import NOON, rows_of
from tests.ledger.straight import check_totals, folds_of, kept
from tests.storage.samples import call_row, new_database, write_rows

EVER = (1 << 47).to_bytes(6, "big") + bytes(10)
MIDNIGHT = NOON + 12 * HOUR_MS
LIST = PriceBook.load()
CHEAPER = PriceBook(
    [
        *rules.load(None),
        *rules.parse(
            '[[price]]\nprovider = "openai"\nprefix = ""\ndiscount = "10"\n', Path("prices.toml"), rules.OPERATOR
        ),
    ]
)
ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Asia/Kolkata", "Pacific/Chatham", "Australia/Lord_Howe"]


@pytest.fixture(autouse=True, scope="module")
def sums_that_run() -> Iterator[None]:
    """As of accounts with thousands of requesters: months are summed up to some of their days."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metrion.storage.running._FEWEST", 3)
        yield


def house(folder: Path) -> Database:
    """A database with two accounts."""
    database = new_database(folder)
    with database.begin() as connection:
        for number in (1, 2):
            assert accounts.add_account(connection, f"{number}@b.c", "pro", NOON) == number
    return database


class Ledger:
    """A database, and beside it every row it ever had, with the time zone it was last counted in."""

    def __init__(self, folder: Path) -> None:
        self.database = house(folder)
        self.rows: dict[bytes, dict[str, Any]] = {}
        self.gone: set[bytes] = set()

    def write(self, calls: list[Call]) -> None:
        write_calls(self.database, LIST, calls, fresh=True)
        self._see()

    def fold(self, now: int) -> None:
        fold_all(self.database, now)
        self._see()

    def fold_a_step(self, now: int) -> None:
        fold_some(self.database, now, Pace(0, 2))
        self._see()

    def reprice(self, cheaper: bool) -> None:
        for account_id in (1, 2):
            scope = Scope(account_id, bytes(16), EVER)
            assert reprice.step(self.database, CHEAPER if cheaper else LIST, scope, 0, "why").next is None
        self._see()

    def forget(self, before_ms: int) -> None:
        """As retention does, which is days behind folding."""
        calls = tables.calls
        for account_id, fold in folds_of(self.database).items():
            old = calls.c.request_id < first_id(min(before_ms, fold.paired_ms))
            with self.database.begin() as connection:
                connection.execute(delete(calls).where(calls.c.account_id == account_id, old))
        self._see()

    def move(self, account_id: int, zone: str) -> None:
        with self.database.begin() as connection:
            connection.execute(update(tables.accounts).where(tables.accounts.c.id == account_id).values(time_zone=zone))

    def _see(self) -> None:
        stands = folds_of(self.database)
        there = {row["request_id"]: row for row in rows_of(self.database)}
        for request_id, row in there.items():
            self.rows[request_id] = row | {"zone": stands[row["account_id"]].time_zone}
        for request_id in self.rows.keys() - there.keys() - self.gone:
            self.gone.add(request_id)  # with the zone it had
        if not any(fold.clearing for fold in stands.values()):
            check_totals(self.database, list(self.rows.values()))


moments = st.integers(NOON - HOUR_MS, NOON + 5 * DAY_MS)
actions = st.one_of(
    st.tuples(st.just("write"), st.lists(calls_around(NOON, MIDNIGHT), max_size=6)),
    st.tuples(st.just("fold"), moments),
    st.tuples(st.just("fold_a_step"), moments),
    st.tuples(st.just("reprice"), st.booleans()),
    st.tuples(st.just("forget"), moments),
)
moves = st.tuples(st.integers(1, 2), st.sampled_from(ZONES))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(actions, max_size=10))
def test_days_are_the_sum_of_their_rows_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, things: list[tuple[str, Any]]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("fold"))
    for what, how in things:
        getattr(ledger, what)(how)
    ledger.fold(NOON + 10 * DAY_MS)
    ledger.database.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(actions | moves, max_size=12))
def test_a_change_of_the_time_zone_counts_the_rows_in_its_days(
    tmp_path_factory: pytest.TempPathFactory, things: list[tuple[Any, Any]]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("zones"))
    for what, how in things:
        if isinstance(what, int):
            ledger.move(what, how)
        else:
            getattr(ledger, what)(how)
    ledger.fold(NOON + 10 * DAY_MS)
    assert all(not fold.clearing and fold.old_zone is None for fold in folds_of(ledger.database).values())
    with ledger.database.begin() as connection:
        zones = {row.id: row.time_zone for row in connection.execute(select(tables.accounts))}
    assert all(fold.time_zone == zones[fold.account_id] for fold in folds_of(ledger.database).values())
    ledger.database.close()


def column_of(database: Database, table: str, column: str) -> list[Any]:
    with database.begin() as connection:
        return list(connection.execute(select(tables.metadata.tables[table].c[column])).scalars())


def test_an_hour_is_folded_once_it_has_been_over_for_a_while(tmp_path: Path) -> None:
    database = house(tmp_path)
    write_rows(database, [call_row(NOON + 5), call_row(NOON + HOUR_MS - 1, 1), call_row(NOON + HOUR_MS, 2)])
    over = NOON + HOUR_MS + GRACE_MS
    fold_all(database, over - 1)
    assert column_of(database, "model_days", "requests") == []
    fold_all(database, over)
    assert column_of(database, "model_days", "requests") == [2]
    assert column_of(database, "requester_days", "requests") == [2, 2]  # of its provider, and of all
    fold_all(database, over + HOUR_MS)
    assert column_of(database, "model_days", "requests") == [3]
    check_totals(database)
    database.close()


def fold_as_a_server(database: Database, now: int) -> None:
    pace = Pace(STEP_SECONDS)
    while fold_some(database, now, pace):
        pass


def test_few_rows_wait_a_day_and_many_do_not(tmp_path: Path) -> None:
    database = house(tmp_path)
    write_rows(database, [call_row(NOON)])
    fold_as_a_server(database, NOON + 121_000)
    write_rows(database, [call_row(NOON + 200_000 + n, n) for n in range(20)])
    fold_as_a_server(database, NOON + DAY_MS)
    assert column_of(database, "pair_days", "requests") == [1]
    write_rows(database, [call_row(NOON + 200_000 + n // 3, 100 + n) for n in range(4980)])
    fold_as_a_server(database, NOON + 400_000)  # its hour is not over
    assert column_of(database, "pair_days", "requests") == [5001]
    assert column_of(database, "model_days", "requests") == []
    write_rows(database, [call_row(NOON + 500_000)])
    fold_as_a_server(database, NOON + 2 * DAY_MS)
    assert column_of(database, "pair_days", "requests") == column_of(database, "model_days", "requests") == [5002]
    check_totals(database)
    database.close()


def test_a_step_takes_only_so_many_rows(tmp_path: Path) -> None:
    database = house(tmp_path)
    write_rows(database, [call_row(NOON + n // 7, n) for n in range(95)])
    assert fold_some(database, NOON + 130_000, Pace(0, 20))
    assert column_of(database, "pair_days", "requests") == [14]  # of two milliseconds; the third has the 20th row
    check_totals(database)
    fold_all(database, NOON + 130_000)
    assert column_of(database, "pair_days", "requests") == [95]
    check_totals(database)
    database.close()


def test_a_sum_that_runs_is_made_in_steps_and_takes_what_comes_late(tmp_path: Path) -> None:
    database = house(tmp_path)
    names = [f"bot-{n:02d}" for n in range(30)]
    rows = [call_row(NOON + n // 30 * DAY_MS, n, requester=names[n % 30]) for n in range(90)]
    write_rows(database, rows)
    running, pace = column_of(database, "requester_dates", "running"), Pace(0, 8)
    while -1 not in running:
        assert fold_some(database, NOON + 4 * DAY_MS, pace)
        running = column_of(database, "requester_dates", "running")
    for number in range(4):  # of a requester before and one behind what is made of the sum, of one more each
        assert fold_some(database, NOON + 4 * DAY_MS, pace)
        late = [call_row(NOON + number, 100 + number * 2 + n, requester=one) for n, one in enumerate(("bot-00", "z"))]
        write_rows(database, late)
        check_totals(database)
    assert -1 in column_of(database, "requester_dates", "running")
    assert 0 < len(column_of(database, "requester_running", "requests")) < 62
    fold_all(database, NOON + 4 * DAY_MS)
    assert max(column_of(database, "requester_dates", "running")) >= 62  # 31 of the provider, 31 of all
    assert -1 not in column_of(database, "requester_dates", "running")
    check_totals(database)
    database.close()


def test_of_a_day_the_greatest_calls_are_listed_also_if_they_are_late(tmp_path: Path) -> None:
    database = house(tmp_path)
    rows = [
        call_row(NOON + n, n, cost_nano=n * 7 % 257, latency_us=n * 11 % 263, output_tokens=n * 13 % 269)
        for n in range(3 * TOP)
    ]
    write_rows(database, rows[: 2 * TOP])
    fold_all(database, NOON + DAY_MS)
    write_rows(database, rows[2 * TOP :])
    check_totals(database)
    assert len(column_of(database, "top_days", "value")) == 3 * TOP
    database.close()


def test_quarters_of_pairs_are_kept_for_three_days(tmp_path: Path) -> None:
    database = house(tmp_path)
    write_rows(database, [call_row(NOON + n * HOUR_MS, n, requester="bot") for n in range(100)])
    fold_all(database, NOON + 120 * HOUR_MS)
    starts = column_of(database, "recent_pairs", "start_ms")
    assert min(starts) == NOON + 47 * HOUR_MS  # 72 hours before what is paired
    fold_all(database, NOON + 121 * HOUR_MS)
    check_totals(database)
    write_rows(database, [call_row(NOON + 200 * HOUR_MS, 500, requester="bot")])
    fold_all(database, NOON + 202 * HOUR_MS)
    assert column_of(database, "recent_pairs", "start_ms") == [NOON + 200 * HOUR_MS]
    database.close()


def test_pairs_of_days_whose_rows_are_gone_stay_as_they_were(tmp_path: Path) -> None:
    database = house(tmp_path)
    write_rows(database, [call_row(NOON + n * 6 * HOUR_MS, n) for n in range(20)])
    fold_all(database, NOON + 8 * DAY_MS)
    before = kept(database, "pair_days")
    with database.begin() as connection:
        connection.execute(delete(tables.calls).where(tables.calls.c.request_id < first_id(NOON + 2 * DAY_MS)))
        connection.execute(update(tables.accounts).values(time_zone="Asia/Tokyo"))
    fold_all(database, NOON + 8 * DAY_MS)
    [border] = {fold.pairs_ms for fold in folds_of(database).values()}
    assert border == NOON + 2 * DAY_MS + 12 * HOUR_MS  # the first UTC midnight from which on all rows are there
    after = kept(database, "pair_days")
    old = {key: figures for key, figures in before.items() if key[4] < border}
    assert old == {key: figures for key, figures in after.items() if key[4] < border}
    new = {key[4]: figures[0] for key, figures in after.items() if key[4] >= border}
    assert set(new) == {border, *(border + 15 * HOUR_MS + n * DAY_MS for n in range(len(new) - 1))}  # Tokyo's midnights
    assert sum(figures[0] for figures in after.values()) == 20
    database.close()


def test_a_deleted_account_is_not_folded(tmp_path: Path) -> None:
    database = house(tmp_path)
    write_rows(database, [call_row(NOON)])
    with database.begin() as connection:
        delete_account(connection, 1, b"digest", NOON)
    fold_all(database, NOON + DAY_MS)
    assert column_of(database, "model_days", "requests") == []
    database.close()


@pytest.mark.anyio
async def test_a_server_folds_by_itself(tmp_path: Path) -> None:
    database = house(tmp_path / "data")
    write_rows(database, [call_row(NOON - 400 * DAY_MS + n * HOUR_MS, n) for n in range(50)])
    loop = asyncio.get_running_loop()
    journal = Journal(tmp_path / "data" / "journal", loop)
    writer = Writer(database, LIST, journal, loop)
    writer.start()
    folder = Folder(writer)
    folder.start()
    deadline = monotonic() + 20
    while sum(await writer.run(lambda database: column_of(database, "pair_days", "requests"))) < 50:
        assert monotonic() < deadline
    await folder.stop()
    await asyncio.to_thread(writer.stop)
    journal.close(rows_durable=writer.sync())
    check_totals(database)
    assert sum(column_of(database, "model_days", "requests")) == 50
    database.close()
