"""What readers remember of totals: always what they would read, and no more of it than there is room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, update

from metrion.config import Settings
from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.ledger.fold import fold_all, fold_some
from metrion.ledger.pace import Pace
from metrion.ledger.totals import count
from metrion.storage import accounts, costs, dashboard, failures, latencies, requesters, sources, tables
from metrion.storage.database import Connection, Engine, open_reader
from metrion.storage.deletions import delete_account
from metrion.storage.memory import Memory
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.totals import find_folds
from metrion.storage.view import Filters, Range
from tests.storage.samples import call_row, new_database, write_rows
from tests.storage.test_dashboard import NOON, ZONES, a_call, filters, ranges

ROWS = [("a", 1), ("b", 2)]
ASKED: tuple[Callable[..., Any], ...] = (
    dashboard.overview,
    dashboard.statuses,
    costs.costs,
    costs.why_it_changed,
    latencies.latency,
    failures.errors,
    sources.sources,
)


class House:
    """A database that is written to, with readers that remember and the writer, which does not."""

    def __init__(self, folder: Path, zone: str = "UTC") -> None:
        self.database = new_database(folder)
        self.reader: Engine = open_reader(Settings(data_dir=folder), self.database.memory)
        self.rows: list[Row] = []
        with self.database.begin() as connection:
            for number in (1, 2):
                accounts.add_account(connection, f"{number}@b.c", "pro", NOON)
        self.move(zone)

    def move(self, zone: str) -> None:
        with self.database.begin() as connection:
            connection.execute(update(tables.accounts).values(time_zone=zone))

    def write(self, calls: list[dict[str, Any]]) -> None:
        rows = [call_row(number=len(self.rows) + number, **call) for number, call in enumerate(calls)]
        write_rows(self.database, rows)
        self.rows += rows

    def reprice(self, number: int, nano: int) -> None:
        """Another price for one of the calls, as the ledger changes it."""
        if self.rows:
            number %= len(self.rows)
            old = dict(zip(COLUMNS, self.rows[number], strict=True))
            self.rows[number] = tuple((old | {"cost_nano": nano}).values())
            of = tables.calls.c
            mine = (of.account_id == old["account_id"]) & (of.request_id == old["request_id"])
            with self.database.begin() as connection:
                connection.execute(update(tables.calls).where(mine).values(cost_nano=nano))
                count(connection, [self.rows[number]], [tuple(old.values())])

    def remembered(self, question: Callable[..., Any], *how: Any) -> Any:
        with self.reader.connect() as connection:
            return question(connection, 1, *how)

    def read(self, question: Callable[..., Any], *how: Any) -> Any:
        with self.database.begin() as connection:
            return question(connection, 1, *how)

    def close(self) -> None:
        self.reader.dispose()
        self.database.close()


steps = st.one_of(
    st.tuples(st.just("write"), st.lists(a_call, min_size=1, max_size=8)),
    st.tuples(st.just("fold"), st.integers(NOON - 4 * DAY_MS, NOON + 6 * DAY_MS)),
    st.tuples(st.just("fold a bit"), st.integers(NOON - 4 * DAY_MS, NOON + 6 * DAY_MS)),
    st.tuples(st.just("reprice"), st.integers(0, 100), st.integers(0, 10**12)),
    st.tuples(st.just("move"), st.sampled_from(ZONES)),
)


@st.composite
def stories(draw: st.DrawFn) -> tuple[str, list[Any], list[tuple[Range, Filters]]]:
    zone = draw(st.sampled_from(ZONES))
    asked = [(ranges(zone, draw), draw(filters)) for _ in range(2)]
    return zone, draw(st.lists(steps, min_size=2, max_size=6)), asked


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_whatever_is_written_meanwhile_what_is_remembered_is_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, story: tuple[str, list[Any], list[tuple[Range, Filters]]]
) -> None:
    zone, taken, asked = story
    house = House(tmp_path_factory.mktemp("memory"), zone)
    act: dict[str, Callable[..., object]] = {
        "write": house.write,
        "fold": lambda now: fold_all(house.database, now),
        "fold a bit": lambda now: fold_some(house.database, now, Pace(0)),
        "reprice": house.reprice,
        "move": house.move,
    }
    try:
        for name, *how in taken:
            act[name](*how)
            for range_, some in asked:
                for question in ASKED:
                    told = house.read(question, range_, some)
                    assert house.remembered(question, range_, some) == told
                    assert house.remembered(question, range_, some) == told
                assert house.remembered(requesters.count_by_bucket, range_) == house.read(
                    requesters.count_by_bucket, range_
                )
    finally:
        house.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def month(now_ms: int) -> Range:
    return Range("UTC", NOON - 12 * HOUR_MS - 29 * DAY_MS, NOON + 12 * HOUR_MS, False, now_ms)


def statements(house: House, question: Callable[..., Any], *how: Any) -> list[str]:
    """The tables of sums that answering it looks into."""
    found: list[str] = []

    def note(connection: Connection, cursor: Any, statement: str, *rest: Any) -> None:
        found.extend(name for name in ("model_days", "model_hours", "provider_days") if f"FROM {name}" in statement)

    event.listen(house.reader, "before_cursor_execute", note)
    try:
        house.remembered(question, *how)
    finally:
        event.remove(house.reader, "before_cursor_execute", note)
    return found


def test_days_that_are_over_are_read_once_though_calls_come(house: House) -> None:
    house.write([{"started_ms": NOON - day * DAY_MS, "cost_nano": day} for day in range(20)])
    fold_all(house.database, NOON)
    asked = (dashboard.by_model, month(NOON), Filters())
    assert "model_days" in statements(house, *asked)
    assert statements(house, *asked) == []
    house.write([{"started_ms": NOON + 1, "cost_nano": 5}])
    assert set(statements(house, *asked)) == {"model_hours", "model_days"}  # of today
    assert house.remembered(*asked)[0].figures.cost_nano == sum(range(20)) + 5
    house.write([{"started_ms": NOON - 9 * DAY_MS, "cost_nano": 7}])
    assert house.remembered(*asked)[0].figures.cost_nano == sum(range(20)) + 12


def test_what_is_folded_meanwhile_counts_once(house: House) -> None:
    house.write([{"started_ms": NOON - hours * HOUR_MS, "cost_nano": 1} for hours in range(72)])
    asked = (dashboard.by_model, month(NOON), Filters())
    for hours in range(72, 0, -9):
        fold_all(house.database, NOON - hours * HOUR_MS)
        assert house.remembered(*asked) == house.read(*asked)


def test_while_totals_move_to_another_time_zone_nothing_is_remembered(house: House) -> None:
    house.write([{"started_ms": NOON - hours * HOUR_MS, "cost_nano": 1} for hours in range(72)])
    fold_all(house.database, NOON)
    house.move("Asia/Kolkata")
    ranges_ = [Range(zone, NOON - 3 * DAY_MS, NOON + HOUR_MS, True, NOON) for zone in ("UTC", "Asia/Kolkata")]
    folded, moving = True, 0
    while folded:
        folded = fold_some(house.database, NOON, Pace(0))
        with house.database.begin() as connection:
            fold = find_folds(connection, [1])[1]
        moves = bool(fold.clearing) or fold.old_zone is not None
        moving += moves
        for range_ in ranges_:  # by the hour: hours that begin at half past get the calls of whole ones
            asked = (dashboard.overview, range_, Filters())
            assert house.remembered(*asked) == house.read(*asked)
            assert not moves or statements(house, *asked)
    assert moving > 2


def test_one_account_s_memory_is_not_another_s(house: House) -> None:
    house.write([{"started_ms": NOON, "cost_nano": 5}, {"started_ms": NOON, "cost_nano": 9, "account_id": 2}])
    asked = (month(NOON), Filters())
    assert house.remembered(dashboard.by_model, *asked)[0].figures.cost_nano == 5
    with house.reader.connect() as connection:
        assert dashboard.by_model(connection, 2, *asked)[0].figures.cost_nano == 9


def test_nothing_of_a_deleted_account_is_remembered(house: House) -> None:
    house.write([{"started_ms": NOON, "model": "secret-model"}])
    house.remembered(dashboard.by_model, month(NOON), Filters())
    assert "secret-model" in repr(vars(house.database.memory))
    with house.database.begin() as connection:
        delete_account(connection, 1, b"digest", NOON)
    assert "secret-model" not in repr(vars(house.database.memory))


def test_what_a_transaction_read_before_a_change_is_not_kept_after_it() -> None:
    memory = Memory()
    old = memory.moment
    memory.tell({1: 100})
    memory.put(1, "until then", 100, ROWS, old.number)
    memory.put(1, "beyond", 101, ROWS, old.number)
    memory.put(2, "another's", 101, ROWS, old.number)
    assert (memory.get(1, "until then"), memory.get(1, "beyond"), memory.get(2, "another's")) == (ROWS, None, ROWS)
    memory.put(1, "beyond", 101, ROWS, memory.moment.number)
    assert memory.get(1, "beyond") == ROWS
    memory.tell({1: 99})
    assert (memory.get(1, "until then"), memory.get(1, "beyond"), memory.get(2, "another's")) == (None, None, ROWS)


def test_a_moment_too_long_ago_keeps_nothing() -> None:
    memory = Memory()
    old = memory.moment
    for _ in range(1001):
        memory.tell({2: 0})
    memory.put(1, "question", 1, ROWS, old.number)
    assert memory.get(1, "question") is None


def test_what_was_not_asked_for_longest_makes_room() -> None:
    memory = Memory(values=20)
    for number in range(4):  # of 5 each: two rows of two values, and one for itself
        memory.put(1, number, 1, ROWS, 0)
    assert memory.get(1, 0) == ROWS
    memory.put(1, 4, 1, ROWS, 0)
    assert [memory.get(1, number) for number in range(5)] == [ROWS, None, ROWS, ROWS, ROWS]
    memory.put(1, "too large", 1, ROWS * 3, 0)
    assert memory.get(1, "too large") is None
