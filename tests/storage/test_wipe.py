"""What is wiped is what no row owns: nothing of a deleted row stays in the file, and no other row changes."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import delete, select, update

from metrion.config import Settings
from metrion.storage.database import Database, open_reader, quick_check
from metrion.storage.tables import calls, metadata, names
from metrion.storage.wipe import STEP_PAGES, wipe
from tests.storage.everything import found_in, held
from tests.storage.samples import call_row, new_database, write_rows

NOON = 1_793_534_400_000
MINUTE = 60_000
TABLES = (calls, names, *(table for table in metadata.sorted_tables if "start_ms" in table.c))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    yield database
    database.close()


def mix(database: Database, rows: int, seed: int) -> None:
    """Calls of three accounts as they come in: each account's end lies in the middle of the table."""
    chance = random.Random(seed)
    batch = []
    for number in range(rows):
        account = chance.choices((1, 2, 3), (2, 5, 3))[0]
        who = f"bot-of-{account}-{chance.randrange(50)}"
        text = f"usage-of-{account}-" * chance.randrange(1, 30)
        batch.append(
            call_row(NOON + number * MINUTE, number, account_id=account, requester=who, model=who, usage_raw=text)
        )
        if len(batch) == 40:
            write_rows(database, batch)
            batch = []
    write_rows(database, batch)


def delete_all_of(database: Database, account_id: int) -> None:
    with database.begin() as connection:
        for table in TABLES:
            connection.execute(delete(table).where(table.c.account_id == account_id))


def wipe_all(database: Database) -> int:
    """Returns how many pages were wiped."""
    page: int | None = 0
    pages = 0
    while page is not None:
        wiped = wipe(database, page)
        assert wiped is not None
        pages += wiped.pages
        page = wiped.next
    return pages


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_of_a_deleted_account_is_left_in_the_file(database: Database, tmp_path: Path, seed: int) -> None:
    """SQLite 3.40 by itself leaves names in it with the first two seeds."""
    mix(database, 4000, seed)
    kept = held(database, 1), held(database, 3)
    delete_all_of(database, 2)
    assert database.empty_wal()
    assert wipe_all(database) > 0
    assert found_in(tmp_path, "bot-of-2-", "usage-of-2-") == []
    assert (held(database, 1), held(database, 3)) == kept
    with database.begin() as connection:
        assert quick_check(connection) == ""
    assert wipe_all(database) == 0


def test_what_was_wiped_does_not_come_back_with_later_writes(database: Database, tmp_path: Path) -> None:
    """Out of the writer's cache, or the WAL."""
    mix(database, 4000, 2)
    delete_all_of(database, 2)
    assert held(database, 1) and held(database, 3)  # every page is in the cache
    assert wipe_all(database) > 0
    with database.begin() as connection:
        for table in TABLES:  # every page is written
            connection.execute(update(table).values(account_id=table.c.account_id))
    assert database.checkpoint()
    assert found_in(tmp_path, "bot-of-2-", "usage-of-2-") == []


def test_nothing_is_wiped_while_a_reader_is_in_the_way(database: Database, tmp_path: Path) -> None:
    mix(database, 2000, 1)
    database.empty_wal()
    reader = open_reader(Settings(data_dir=tmp_path))
    with reader.connect() as connection:
        connection.execute(select(calls).limit(1)).all()
        delete_all_of(database, 2)
        before = (tmp_path / "metrion.db").read_bytes()
        assert wipe(database, 0) is None
        assert not database.empty_wal()
        assert len(connection.execute(select(calls.c.account_id).where(calls.c.account_id == 2)).all()) > 900
        assert (tmp_path / "metrion.db").read_bytes() == before
    assert wipe(database, 0) is not None
    assert found_in(tmp_path, "bot-of-2-") == []
    reader.dispose()


def test_a_reader_reads_on_while_it_is_wiped(database: Database, tmp_path: Path) -> None:
    mix(database, 2000, 1)
    delete_all_of(database, 2)
    database.empty_wal()
    reader = open_reader(Settings(data_dir=tmp_path))
    with reader.connect() as connection:
        before = connection.execute(select(calls).order_by(calls.c.account_id).limit(100)).all()
        assert wipe_all(database) > 0  # what it reads stands in the file, not in the WAL
        assert connection.execute(select(calls).order_by(calls.c.account_id).limit(100)).all() == before
        assert quick_check(connection) == ""
    reader.dispose()


def test_a_large_file_is_wiped_in_steps(database: Database, tmp_path: Path) -> None:
    mix(database, 200, 1)
    with database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE ballast (x BLOB)")
        connection.exec_driver_sql("INSERT INTO ballast VALUES (zeroblob(?))", (4096 * STEP_PAGES,))
    first = wipe(database, 0)
    assert first is not None
    assert first.next == STEP_PAGES
    second = wipe(database, STEP_PAGES)
    assert second is not None
    assert second.next is None


def test_a_file_that_is_laid_out_otherwise_is_left_alone(tmp_path: Path) -> None:
    """With auto-vacuum there are pages that only look like ones of a tree."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA auto_vacuum=FULL")
        raw.execute("CREATE TABLE t (x)")
        raw.executemany("INSERT INTO t VALUES (?)", [("x" * number,) for number in range(2000)])
        raw.execute("DELETE FROM t WHERE length(x) % 3 = 0")
    raw.close()
    before = path.read_bytes()
    database = Database(path)
    with structlog.testing.capture_logs() as logs:
        assert wipe(database, 0) == (None, 0)
    assert [log["event"] for log in logs] == ["database_not_wiped"]
    database.close()
    assert path.read_bytes()[100:] == before[100:]  # but for the header: it is in WAL mode now
