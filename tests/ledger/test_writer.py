"""Ended calls become rows and totals in one transaction, whatever the database does meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from metrion.call import Call, Reading
from metrion.config import Settings
from metrion.errors import StorageError
from metrion.ledger.journal import Journal, segment_paths
from metrion.ledger.record import COMPLETION, INTENT, frame
from metrion.ledger.recovery import recover
from metrion.ledger.writer import Writer, write_apart, write_calls
from metrion.prices.catalog import PriceBook
from metrion.storage import tables
from metrion.storage.database import Database, migrate, open_writer
from tests.ledger.samples import intent_of, largest_file, make_call, rows_of, sums_of, usage_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def database(settings: Settings) -> Database:
    database = open_writer(settings)
    migrate(database)
    execute(database, "PRAGMA busy_timeout=20")  # so that a locked database is an error soon
    return database


class Ledger:
    """Journal and writer as a server has them."""

    def __init__(self, settings: Settings, database: Database, book: PriceBook) -> None:
        loop = asyncio.get_running_loop()
        self.journal = Journal(settings.data_dir / "journal", loop)
        self.writer = Writer(database, book, self.journal, loop)
        self.folder = settings.data_dir / "journal"

    async def record(self, *calls: Call) -> None:
        """Take calls from their intents to the writer."""
        for call in calls:
            intent = self.journal.append(partial(frame, INTENT, intent_of(call)), _nobody)
            completion = self.journal.append(partial(frame, COMPLETION, call), _nobody, completion=True)
            await self.journal.drain()
            self.writer.ended(call, intent, completion)

    async def stop(self) -> None:
        await asyncio.to_thread(self.writer.stop)
        await asyncio.sleep(0)
        self.journal.close(rows_durable=self.writer.sync())

    async def seen(self) -> list[dict[str, Any]]:
        """The rows, as a job of the writer's sees them."""
        return await asyncio.wait_for(self.writer.run(rows_of), 20)


def _nobody(kept: bool) -> None:
    """Nothing waits."""


@pytest.fixture
async def ledger(settings: Settings, database: Database, book: PriceBook) -> AsyncIterator[Ledger]:
    ledger = Ledger(settings, database, book)
    ledger.writer.start()
    yield ledger
    await ledger.stop()
    database.close()


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_sees_every_call_that_ended_before_it(ledger: Ledger) -> None:
    for count in range(1, 6):
        await ledger.record(*(make_call() for _ in range(3)))
        assert len(await ledger.seen()) == 3 * count


async def test_a_job_that_fails_tells_who_asked_and_nobody_else(ledger: Ledger) -> None:
    def fail(_: Database) -> None:
        raise StorageError("no")

    with pytest.raises(StorageError, match="no"):
        await ledger.writer.run(fail)
    await ledger.record(make_call())
    assert len(await ledger.seen()) == 1


async def test_a_job_nobody_waits_for_any_more_does_not_end_the_writer(ledger: Ledger) -> None:
    asked = asyncio.ensure_future(ledger.writer.run(rows_of))
    await asyncio.sleep(0)
    asked.cancel()
    await ledger.record(make_call())
    assert len(await ledger.seen()) == 1


async def test_refusals_without_a_row_stand_in_the_totals_alone(ledger: Ledger, database: Database) -> None:
    await ledger.record(make_call(outcome="rejected", status=429, reading=None))
    for _ in range(3):
        ledger.writer.refused(make_call(outcome="rejected", status=429, reading=None))
    assert len(await ledger.seen()) == 1
    assert column(sums_of(database), "requests") == [4] * 2
    assert column(sums_of(database), "cost_nano") == [0] * 2


async def test_at_the_end_everything_is_written_and_the_journal_is_empty(
    settings: Settings, database: Database, book: PriceBook
) -> None:
    ledger = Ledger(settings, database, book)
    ledger.writer.start()
    calls = [make_call() for _ in range(50)]
    await ledger.record(*calls)
    await ledger.stop()
    assert [row["request_id"] for row in rows_of(database)] == [call.id for call in calls]
    assert segment_paths(ledger.folder) == []
    database.close()


def test_rows_and_totals_come_together_or_not_at_all(database: Database, book: PriceBook) -> None:
    execute(database, "CREATE TRIGGER full BEFORE INSERT ON requester_hours BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(StorageError, match="full"):
        write_calls(database, book, [make_call()], fresh=True)
    assert rows_of(database) == []
    assert set(map(len, sums_of(database).values())) == {0}
    database.close()


def test_calls_that_are_there_are_not_counted_again(database: Database, book: PriceBook) -> None:
    calls = [make_call() for _ in range(450)]
    assert write_calls(database, book, calls[:300], fresh=True) == 300
    assert write_calls(database, book, calls, fresh=False) == 150
    assert write_calls(database, book, calls, fresh=False) == 0
    assert column(sums_of(database), "requests") == [450] * 2
    database.close()


# ── a database in trouble ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_locked_database_delays_rows_and_loses_none(ledger: Ledger, database: Database) -> None:
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with structlog.testing.capture_logs() as logs:
        calls = [make_call() for _ in range(20)]
        await ledger.record(*calls[:10])
        ledger.writer.refused(make_call(outcome="rejected", reading=None))
        await asyncio.to_thread(wait_until, lambda: bool(logs))
        await ledger.record(*calls[10:])
        assert other.execute("SELECT count(*) FROM calls").fetchone() == (0,)
        other.execute("ROLLBACK")
        assert [row["request_id"] for row in await ledger.seen()] == [call.id for call in calls]
    assert {(entry["event"], entry["calls"]) for entry in logs} == {("rows_not_written", 10)}
    assert "locked" in logs[0]["reason"]
    assert column(sums_of(database), "requests") == [21] * 2
    other.close()


async def test_a_full_disk_delays_rows_and_loses_none(ledger: Ledger, database: Database) -> None:
    calls = [make_call() for _ in range(10)]
    with structlog.testing.capture_logs() as logs:
        with largest_file(wal_size(database)):
            await ledger.record(*calls)
            await asyncio.to_thread(wait_until, lambda: bool(logs))
            assert rows_of_another_connection(database) == 0
        assert [row["request_id"] for row in await ledger.seen()] == [call.id for call in calls]
    assert {entry["event"] for entry in logs} == {"rows_not_written"}
    assert "disk" in logs[0]["reason"]
    assert column(sums_of(database), "requests") == [10] * 2


async def test_an_end_during_the_trouble_is_soon_and_leaves_the_calls_to_the_next_start(
    settings: Settings, database: Database, book: PriceBook
) -> None:
    ledger = Ledger(settings, database, book)
    ledger.writer.start()
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    calls = [make_call() for _ in range(5)]
    with structlog.testing.capture_logs():
        await ledger.record(*calls)
        await asyncio.wait_for(ledger.stop(), 5)
    assert segment_paths(ledger.folder) != []
    other.execute("ROLLBACK")
    other.close()
    with structlog.testing.capture_logs():
        assert recover(settings, database) == 5
    assert [row["outcome"] for row in rows_of(database)] == ["ok"] * 5
    database.close()


async def test_segments_go_while_it_runs_once_their_rows_are_on_the_disk(ledger: Ledger) -> None:
    large = msgspec.Raw(b'{"prompt_tokens":1,"padding":"' + b"x" * (2 << 20) + b'"}')
    await ledger.record(make_call(reading=Reading(usage=[large])))
    await ledger.seen()
    await asyncio.to_thread(wait_until, lambda: [path.stat().st_size for path in segment_paths(ledger.folder)] == [0])


# ── calls in trouble ──────────────────────────────────────────────────────────────────────────────────────────────────

TICKS = '{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"cost_in_usd_ticks":'
POISONS = {
    "more tokens than fit": ("openai", f'{{"prompt_tokens":{1 << 53},"completion_tokens":1}}'),
    "a number beyond 64 bits": ("openai", f'{{"prompt_tokens":{10**30}}}'),
    "a cost beyond 64 bits": ("grok", f"{TICKS}{1 << 63}}}"),
    "a cost beyond floats": ("grok", f"{TICKS}{10**400}}}"),
    "more tools than fit": ("grok", f'{{"server_side_tool_usage_details":{{"web_search_calls":{1 << 53}}}}}'),
    "negative": ("openai", '{"prompt_tokens":-5,"completion_tokens":-7}'),
    "a lone surrogate": ("openai", '{"prompt_tokens":1,"service_tier":"\\ud800"}'),
    "NUL": ("openai", '{"prompt_tokens":1,"completion_tokens":1,"service_tier":"a\\u0000b"}'),
    "10 MB": ("openai", '{"prompt_tokens":1,"completion_tokens":1,"padding":"' + "x" * 10_000_000 + '"}'),
    "nested": ("openai", '{"a":' * 5000 + "1" + "}" * 5000),
    "no JSON": ("openai", "{nonsense"),
    "of other types": ("openai", '{"prompt_tokens":{"a":[]},"completion_tokens":"x","prompt_tokens_details":7}'),
    "empty": ("openai", "{}"),
}


UNRECORDABLE = ("a lone surrogate", "nested", "no JSON")  # no tap lets these through: see tests/wire/test_salvage.py


@pytest.mark.parametrize("name", POISONS)
@pytest.mark.parametrize("by_recovery", [False, True])
async def test_nothing_a_provider_says_holds_up_its_neighbours(
    name: str, by_recovery: bool, settings: Settings, database: Database, book: PriceBook
) -> None:
    provider, usage = POISONS[name]
    before, after = make_call(), make_call()
    reading = Reading(model="grok-4" if provider == "grok" else "gpt-4o-mini", usage=[msgspec.Raw(usage.encode())])
    poison = make_call(provider=provider, reading=reading)
    ledger = Ledger(settings, database, book)
    with structlog.testing.capture_logs() as logs:
        if by_recovery:
            await ledger.record(before, poison, after)
            ledger.journal.close(rows_durable=False)
            assert recover(settings, database) == 3
        else:
            ledger.writer.start()
            await ledger.record(before, poison, after)
            await asyncio.wait_for(ledger.stop(), 5)
    rows = {row["request_id"]: row for row in rows_of(database)}
    assert [rows[call.id]["cost_nano"] for call in (before, after)] == [10 * 150 + 5 * 600] * 2
    assert rows[poison.id]["outcome"] == "ok" or (by_recovery and name in UNRECORDABLE)
    assert (rows[poison.id]["cost_nano"] or 0) >= 0
    assert "rows_not_written" not in {entry["event"] for entry in logs}
    for column_name in ("requests", "cost_nano", "input_tokens", "output_tokens"):
        straight = len(rows) if column_name == "requests" else sum(row[column_name] or 0 for row in rows.values())
        assert column(sums_of(database), column_name) == [straight] * 2
    database.close()


async def test_text_no_engine_keeps_is_kept_without_what_it_cannot(ledger: Ledger) -> None:
    await ledger.record(
        make_call(requested_model="gpt\x004o", error_message="a\x00b", reading=Reading(model="m\x00odel"))
    )
    (row,) = await ledger.seen()
    assert (row["requested_model"], row["error_message"], row["model"]) == ("gpt4o", "ab", "model")


async def test_a_row_the_database_does_not_take_is_written_without_its_usage(
    ledger: Ledger, database: Database
) -> None:
    calls = [make_call() for _ in range(5)]
    calls[2].reading = Reading(model="poison")
    with structlog.testing.capture_logs() as logs:
        await ledger.writer.run(
            lambda own: execute(
                own,
                "CREATE TRIGGER p BEFORE INSERT ON calls WHEN new.model = 'poison' BEGIN SELECT RAISE(ABORT, ''); END",
            )
        )
        await ledger.record(*calls)
        rows = await ledger.seen()
    assert [row["input_tokens"] for row in rows] == [10, 10, 0, 10, 10]
    assert [entry["request_id"] for entry in logs if entry["event"] == "usage_not_written"] == [calls[2].id.hex()]
    assert column(sums_of(database), "requests") == [5] * 2


def test_writing_apart_raises_where_the_database_takes_nothing(database: Database, book: PriceBook) -> None:
    execute(database, "DROP TABLE calls")
    with pytest.raises(StorageError, match="no such table"):
        write_apart(database, book, [make_call(), make_call()])
    database.close()


async def test_more_calls_than_a_batch_are_all_written(ledger: Ledger, database: Database) -> None:
    calls = [make_call(reading=usage_of(n, 1)) for n in range(6000)]
    for call in calls:
        ledger.writer.ended(call, -1, ledger.journal.append(bytes, _nobody))
    assert len(await ledger.seen()) == 6000
    assert column(sums_of(database), "input_tokens") == [sum(range(6000))] * 2


def execute(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(statement)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def wal_size(database: Database) -> int:
    return Path(f"{database.path}-wal").stat().st_size


def rows_of_another_connection(database: Database) -> int:
    other = sqlite3.connect(database.path)
    count: int = other.execute("SELECT count(*) FROM calls").fetchone()[0]
    other.close()
    return count


def column(sums: dict[str, list[tuple[int, ...]]], name: str) -> list[int]:
    """The sum of a column over each of the totals tables."""
    found = []
    for table, rows in sums.items():
        at = [one.name for one in tables.metadata.tables[table].columns].index(name)
        found.append(sum(row[at] for row in rows))
    return found
