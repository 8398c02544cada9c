"""Rows as they are written: each value in its column, however many rows have which values in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from metrion.storage import tables
from metrion.storage.database import Database
from metrion.storage.rows import ALIKE, COLUMNS, Row, insert_calls
from tests.storage.samples import new_database


def make_row(number: int, like: int, **values: Any) -> Row:
    """A row whose figures are all different; of equal `like` are those that begin alike."""
    own: dict[str, Any] = {}
    for at, column in enumerate(tables.calls.columns):
        distinct = 1000 * at + (like if column.name in ALIKE else number)
        own[column.name] = distinct if column.type.python_type is int else str(distinct)
    own |= {"account_id": 1, "request_id": number.to_bytes(16, "big")} | values
    return tuple(own[name] for name in COLUMNS)


def stored(database: Database) -> list[Row]:
    query = select(*(tables.calls.c[name] for name in COLUMNS)).order_by(tables.calls.c.request_id)
    with database.begin() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_every_column_is_written_once() -> None:
    assert sorted(COLUMNS) == sorted(column.name for column in tables.calls.columns)


def test_rows_alike_and_others_are_written_whole(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    sizes = [1300, 40, 16, 15, 3, 1]  # of rows that begin alike: more than one statement takes, and too few for one
    likes = [like for like, size in enumerate(sizes) for _ in range(size)]
    rows = [make_row(number, like) for number, like in enumerate(likes)]
    rows += [make_row(len(rows), 0, error_code=None, rare=None, upstream_request_id=None, cost_nano=None)]
    with database.begin() as connection:
        insert_calls(connection, rows[::2] + rows[1::2])

    assert stored(database) == rows
    database.close()


def test_a_row_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    first = [make_row(number, 0) for number in range(40)]
    again = [make_row(number, 0, cost_nano=7) for number in range(50)]
    with database.begin() as connection:
        insert_calls(connection, first)
        insert_calls(connection, again)
        insert_calls(connection, [])

    assert stored(database) == first + again[40:]
    database.close()
