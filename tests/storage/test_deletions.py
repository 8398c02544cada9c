"""No table is forgotten, and what is deleted in steps is exactly what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, insert, select

from metrion.kit.ids import first_id
from metrion.storage.database import Database
from metrion.storage.deletions import (
    AT_ONCE,
    IN_STEPS,
    OF_CALLS,
    Part,
    calls_left,
    delete_account,
    delete_some,
    finish,
    old_parts_of,
    parts_of,
    tombstones,
    unfinished,
)
from metrion.storage.tables import calls, deletions, repricings, requester_hours
from tests.storage.everything import OWNED, fill_every_table, held
from tests.storage.samples import call_row, new_database, write_rows


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    yield database
    database.close()


def test_every_table_that_knows_accounts_is_deleted_from() -> None:
    assert {*AT_ONCE, *IN_STEPS} == set(OWNED)


@pytest.mark.parametrize("table", IN_STEPS, ids=lambda table: table.name)
def test_what_goes_in_steps_lies_by_account(table: Table) -> None:
    """So that a step is one range of the table's tree."""
    assert next(iter(table.primary_key)).name == "account_id"


def test_of_two_accounts_one_goes_and_the_other_stays_to_the_last_byte(database: Database) -> None:
    with database.begin() as connection:
        fill_every_table(connection, 1, "goes")
        fill_every_table(connection, 2, "stays")
    kept = held(database, 2)
    assert len(kept) == len(OWNED)
    with database.begin() as connection:
        delete_account(connection, 1, b"digest", 5)
    assert set(held(database, 1)) == {table.name for table in IN_STEPS} - {table.name for table in AT_ONCE}
    for part in parts_of(1):
        with database.begin() as connection:
            assert delete_some(connection, part, 10) == (part.table not in AT_ONCE)
            assert delete_some(connection, part, 10) == 0
    assert held(database, 1) == {}
    assert held(database, 2) == kept


def test_a_tombstone_knows_the_account_until_all_of_it_is_deleted(database: Database) -> None:
    with database.begin() as connection:
        delete_account(connection, 7, b"seven", 20)
        delete_account(connection, 3, b"three", 10)
        assert unfinished(connection) == [3, 7]
        finish(connection, 3, 30)
        assert unfinished(connection) == [7]
        assert tombstones(connection) == {b"seven", b"three"}
        (row,) = connection.execute(select(deletions).where(deletions.c.digest == b"three")).all()
        assert (row.account_id, row.requested_ms, row.finished_ms) == (None, 10, 30)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(0, 9), limit=st.integers(1, 4), data=st.data())
def test_steps_take_the_first_rows_and_all_of_them(
    database: Database, rows: int, limit: int, data: st.DataObject
) -> None:
    """Also where the key has several columns, of which any may be the same in all rows."""
    names = st.sampled_from(["", "a", "b"])
    keys = {(data.draw(st.integers(1, 2)), data.draw(names), data.draw(names), data.draw(names)) for _ in range(rows)}
    columns = ("start_ms", "provider", "requester", "outcome")
    with database.begin() as connection:
        connection.execute(requester_hours.delete())
        for key in keys:
            for account_id in (1, 2):
                values = dict(zip(columns, key, strict=True)) | {"account_id": account_id}
                connection.execute(insert(requester_hours).values(values))
        left = sorted(keys)
        while left:
            deleted = delete_some(connection, Part(requester_hours, 1), limit)
            assert deleted == min(limit, len(left))
            left = left[deleted:]
            query = select(*(requester_hours.c[name] for name in columns)).where(requester_hours.c.account_id == 1)
            assert sorted(tuple(row) for row in connection.execute(query)) == left
        assert delete_some(connection, Part(requester_hours, 1), limit) == 0
    assert len(held(database, 2).get("requester_hours", [])) == len(keys)


def test_rows_before_a_moment_go_with_what_they_cost_before_and_totals_stay(database: Database) -> None:
    moment = 1_793_534_400_000
    write_rows(database, [call_row(moment + at, at + 5) for at in (-2, -1, 0, 1)])
    with database.begin() as connection:
        for row in connection.execute(select(calls.c.request_id)).all():
            connection.execute(insert(repricings).values(account_id=1, request_id=row.request_id, version=1, run_id=1))
    before = held(database, 1)
    with database.begin() as connection:
        for part in old_parts_of(1, first_id(moment)):
            assert delete_some(connection, part, 10) == 2
            assert delete_some(connection, part, 10) == 0
    after = held(database, 1)
    for table in OF_CALLS:
        assert after.pop(table.name) == before.pop(table.name)[2:]
    assert after == before


def test_calls_that_are_left_are_counted_up_to_a_number_until_all_is_gone(database: Database) -> None:
    write_rows(database, [call_row(number) for number in range(5)])
    with database.begin() as connection:
        assert calls_left(connection, 1, 10) is None  # it was not deleted
        delete_account(connection, 1, b"digest", 5)
        assert [calls_left(connection, 1, most) for most in (4, 5, 6)] == [4, 5, 5]
        delete_some(connection, Part(calls, 1), 3)
        assert calls_left(connection, 1, 6) == 2
        delete_some(connection, Part(calls, 1), 3)
        assert calls_left(connection, 1, 6) == 0
        finish(connection, 1, 6)
        assert calls_left(connection, 1, 6) is None
