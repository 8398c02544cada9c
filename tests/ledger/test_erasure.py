"""What an ended account recorded is erased to the last byte, in steps, whatever happens in between; others' stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import structlog
from sqlalchemy import insert

from metrion.accounts import moves
from metrion.accounts.deletion import begin_deletion
from metrion.accounts.people import sign_up
from metrion.accounts.plans import visible_since
from metrion.accounts.vault import Vault, open_vault
from metrion.config import Settings
from metrion.errors import StorageError
from metrion.kit import background
from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.ledger import caretaker, erasure
from metrion.ledger.caretaker import Caretaker
from metrion.ledger.erasure import Alone, Eraser, erase_alone
from metrion.ledger.journal import segment_paths
from metrion.ledger.record import COMPLETION, INTENT, frame, records
from metrion.ledger.recovery import recover
from metrion.ledger.writer import write_calls
from metrion.prices.catalog import PriceBook
from metrion.storage import tables
from metrion.storage.database import Database, migrate, open_reader, open_writer
from metrion.storage.deletions import unfinished
from metrion.storage.rows import insert_calls, month_used
from metrion.storage.search import Wanted, find
from tests.ledger.samples import intent_of, make_call
from tests.ledger.test_writer import Ledger
from tests.storage.everything import fill_every_table, found_in, held
from tests.storage.samples import call_row, write_rows

pytestmark = pytest.mark.anyio
T = TypeVar("T")
GOES, STAYS = 1, 2
MARKS = ("goes-", "bot-of-1", "goes@example.com", "Mr Goes", "model-of-1")


def execute(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(statement)


class House:
    """A data directory with two accounts, of which the first has just ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(data_dir=folder)
        self.database = open_writer(self.settings)
        migrate(self.database)
        self.vault: Vault = open_vault(self.settings, self.database)
        with self.database.begin() as connection:
            for number, name in ((GOES, "goes"), (STAYS, "stays")):
                made = sign_up(connection, self.vault, f"{name}@example.com", None, plan="pro", confirmed=True)
                assert made.account_id == number
                connection.execute(tables.accounts.update().values(name=f"Mr {name.title()}"))
        moment = now_ms() - DAY_MS
        write_rows(
            self.database,
            [
                call_row(
                    moment + n * 1000, n, account_id=n % 2 + 1, requester=f"bot-of-{n % 2 + 1}-{n}", status=n % 600
                )
                for n in range(600)
            ],
        )
        with self.database.begin() as connection:
            fill_every_table(connection, GOES, "goes")
            fill_every_table(connection, STAYS, "stays")

    def leave(self, segment: int, *records: bytes) -> Path:
        """A journal segment with these records."""
        journal = self.folder / "journal"
        journal.mkdir(exist_ok=True)
        path = journal / f"{segment:010d}.journal"
        path.write_bytes(b"".join(records))
        return path

    def end_account(self) -> None:
        with self.database.begin() as connection:
            begin_deletion(connection, self.vault, GOES)

    def unfinished(self) -> list[int]:
        with self.database.begin() as connection:
            return unfinished(connection)

    def check_erased(self, kept: dict[str, Any]) -> None:
        """Nothing is left of the one account, in no table and no file; all of the other."""
        assert self.unfinished() == []
        assert held(self.database, GOES) == {}
        assert held(self.database, STAYS) == kept
        assert found_in(self.folder, *MARKS) == []
        assert found_in(self.folder, "stays@example.com") != []


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "data")
    yield house
    house.database.close()


def test_nothing_of_it_is_left_in_any_table_or_file(house: House) -> None:
    own = [frame(kind, make_call(account_id=GOES, requester="bot-of-1-x")) for kind in (INTENT, COMPLETION)]
    other = [frame(kind, make_call(account_id=STAYS)) for kind in (INTENT, COMPLETION)]
    mixed = house.leave(3, own[0], other[0], own[1])
    foreign = house.leave(4, *other)
    kept = held(house.database, STAYS)
    house.end_account()
    assert found_in(house.folder, "bot-of-1") != []
    erase_alone(house.settings, house.database)
    house.check_erased(kept)
    assert mixed.read_bytes() == other[0]
    assert foreign.read_bytes() == b"".join(other)


def test_calls_that_were_written_just_then_go_too(house: House, book: PriceBook) -> None:
    """They had ended before, and were in the writer's hands."""
    kept = held(house.database, STAYS)
    house.end_account()
    write_calls(house.database, book, [make_call(now_ms(), account_id=GOES, requester="bot-of-1-x")], fresh=True)
    erase_alone(house.settings, house.database)
    house.check_erased(kept)


def test_without_an_ended_account_nothing_is_touched(house: House) -> None:
    house.leave(3, frame(INTENT, make_call(account_id=GOES)))
    house.database.empty_wal()
    before = {path: path.read_bytes() for path in house.folder.rglob("*") if path.suffix in (".db", ".journal")}
    erase_alone(house.settings, house.database)
    assert {path: path.read_bytes() for path in before} == before


# ── in between ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Killed(BaseException):
    """The process dies here."""


class Dying(Alone):
    """Lives for so many jobs."""

    def __init__(self, house: House, jobs: int) -> None:
        super().__init__(house.settings, house.database)
        self._left = jobs

    async def run(self, job: Callable[[Database], T]) -> T:
        if self._left == 0:
            raise Killed
        self._left -= 1
        return await super().run(job)


@pytest.mark.parametrize("jobs", [0, 1, 2, 4, 5, 6, 7, 8, 9])
async def test_what_a_killed_process_left_the_next_one_erases(
    house: House, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrion.ledger.erasure._STEP_SECONDS", 0)  # each step is short
    house.leave(3, frame(COMPLETION, make_call(account_id=GOES, requester="bot-of-1-x")))
    kept = held(house.database, STAYS)
    house.end_account()
    with pytest.raises(Killed):
        await Eraser(house.settings, Dying(house, jobs)).erase_accounts()
    assert house.unfinished() == [GOES]
    recover(house.settings, house.database)
    await Eraser(house.settings, Alone(house.settings, house.database)).erase_accounts()
    house.check_erased(kept)


class Meddled(Alone):
    """Once a table is done, something comes to it, as when totals are made of others between two steps."""

    def __init__(self, house: House) -> None:
        super().__init__(house.settings, house.database)
        self.meddled = False

    async def run(self, job: Callable[[Database], T]) -> T:
        if not self.meddled and "requester_hours" not in held(self._database, GOES):
            self.meddled = True
            values = {"account_id": GOES, "start_ms": 77, "provider": "x", "requester": "bot-of-1-y", "outcome": "ok"}
            with self._database.begin() as connection:
                connection.execute(insert(tables.requester_hours).values(values))
        return await super().run(job)


async def test_what_comes_to_a_table_that_was_done_goes_too(house: House) -> None:
    kept = held(house.database, STAYS)
    house.end_account()
    meddled = Meddled(house)
    await Eraser(house.settings, meddled).erase_accounts()
    assert meddled.meddled
    house.check_erased(kept)


async def test_while_a_reader_stands_in_the_way_it_is_not_finished(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_READER_TRIES", 2)
    kept = held(house.database, STAYS)
    house.end_account()
    reader = open_reader(house.settings)
    with reader.connect() as connection:
        connection.execute(tables.calls.select().limit(1)).all()
        with pytest.raises(StorageError, match="keeps reading"):
            await Eraser(house.settings, Alone(house.settings, house.database)).erase_accounts()
        assert house.unfinished() == [GOES]
    reader.dispose()
    await Eraser(house.settings, Alone(house.settings, house.database)).erase_accounts()
    house.check_erased(kept)


# ── a replay ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("finished", [False, True])
def test_a_replay_brings_no_call_of_it_back(house: House, finished: bool) -> None:
    house.end_account()
    if finished:
        erase_alone(house.settings, house.database)
    rows = held(house.database, GOES).get("calls", [])
    own, other = make_call(account_id=GOES, requester="bot-of-1-x"), make_call(account_id=STAYS)
    records = [frame(kind, one) for one in (own, other) for kind in (INTENT, COMPLETION)]
    house.leave(3, frame(INTENT, make_call(account_id=GOES)), *records)
    assert recover(house.settings, house.database) == 1
    assert held(house.database, GOES).get("calls", []) == rows
    assert other.id in {row[1] for row in held(house.database, STAYS)["calls"]}
    assert list((house.folder / "journal").iterdir()) == []


# ── rows that are too old ─────────────────────────────────────────────────────────────────────────────────────────────


def make_totals(house: House, until_ms: int) -> None:
    """Say that all totals are made of rows that started before then."""
    with house.database.begin() as connection:
        connection.execute(tables.folds.update().values(paired_ms=until_ms))


@pytest.mark.parametrize(("plan", "days"), [("free", 7), ("pro", 90)])
async def test_rows_older_than_the_plan_keeps_are_deleted_and_totals_stay(house: House, plan: str, days: int) -> None:
    border = now_ms() - days * DAY_MS
    with house.database.begin() as connection:
        connection.execute(tables.accounts.update().where(tables.accounts.c.id == STAYS).values(plan=plan))
        for table in (tables.calls, tables.repricings):
            connection.execute(table.delete())
    moments = (border - DAY_MS, border - 1000, border + 60_000, now_ms())
    write_rows(house.database, [call_row(ms, n, account_id=STAYS) for n, ms in enumerate(moments)])
    make_totals(house, now_ms() + 1)
    before = held(house.database, STAYS)
    await Eraser(house.settings, Alone(house.settings, house.database)).delete_old_rows()
    after = held(house.database, STAYS)
    assert after.pop("calls") == before.pop("calls")[2:]
    assert after == before


@pytest.mark.parametrize(("kept_days", "left"), [(2, 1), (3, 2), (0, 3)])
async def test_the_operator_says_how_long_rows_are_kept(house: House, kept_days: int, left: int) -> None:
    execute(house.database, "DELETE FROM calls")
    ages = (2.5 * DAY_MS, 3.5 * DAY_MS, HOUR_MS)
    write_rows(house.database, [call_row(now_ms() - int(age), n, account_id=STAYS) for n, age in enumerate(ages)])
    make_totals(house, now_ms() + 1)
    settings = msgspec.structs.replace(house.settings, retention_pro_days=kept_days)
    await Eraser(settings, Alone(settings, house.database)).delete_old_rows()
    assert len(held(house.database, STAYS)["calls"]) == left


@pytest.mark.parametrize(("days_ago", "left"), [(29.9, 3), (30.1, 1)])
async def test_what_only_pro_keeps_is_deleted_thirty_days_after_the_way_down(
    house: House, days_ago: float, left: int
) -> None:
    execute(house.database, "DELETE FROM calls")
    ages = (8, 80, 1)
    write_rows(house.database, [call_row(now_ms() - age * DAY_MS, n, account_id=STAYS) for n, age in enumerate(ages)])
    make_totals(house, now_ms() + 1)
    with house.database.begin() as connection:
        moves.grant(connection, STAYS, "free")
        since = now_ms() - int(days_ago * DAY_MS)
        connection.execute(tables.accounts.update().where(tables.accounts.c.id == STAYS).values(free_since_ms=since))
    await Eraser(house.settings, Alone(house.settings, house.database)).delete_old_rows()
    assert len(held(house.database, STAYS)["calls"]) == left
    with house.database.begin() as connection:
        hidden = Wanted(visible_since(house.settings, "free", now_ms()), now_ms() + 1)
        assert len(find(connection, STAYS, hidden).rows) == 1
        moves.grant(connection, STAYS, "pro")
        shown = Wanted(visible_since(house.settings, "pro", now_ms()), now_ms() + 1)
        assert len(find(connection, STAYS, shown).rows) == left  # what was not deleted is back
    await Eraser(house.settings, Alone(house.settings, house.database)).delete_old_rows()
    assert len(held(house.database, STAYS)["calls"]) == left


async def test_what_was_freed_is_used_again(house: House) -> None:
    """Day after day as many rows come as are deleted: after the first days, the file grows no more."""
    settings = msgspec.structs.replace(house.settings, retention_pro_days=1)
    sizes = []
    for day in range(8):
        began = now_ms() - (9 - day) * DAY_MS  # all are too old by the time that they are looked for
        rows = [call_row(began + n, n, account_id=STAYS, usage_raw="u" * 400) for n in range(2000)]
        with house.database.begin() as connection:
            insert_calls(connection, rows)
        make_totals(house, now_ms() + 1)
        await Eraser(settings, Alone(settings, house.database)).delete_old_rows()
        house.database.checkpoint()
        sizes.append(house.database.path.stat().st_size)
    assert max(sizes) == sizes[0]


async def test_rows_that_totals_are_still_to_be_made_of_wait(house: House) -> None:
    """A server that stood still for months has days to make first."""
    border = now_ms() - 90 * DAY_MS
    execute(house.database, "DELETE FROM calls")
    write_rows(house.database, [call_row(border + ms, -ms, account_id=STAYS) for ms in (-3000, -2000, -1000)])
    eraser = Eraser(house.settings, Alone(house.settings, house.database))
    make_totals(house, border - 2000)
    assert await eraser.delete_old_rows()
    assert len(held(house.database, STAYS)["calls"]) == 2
    make_totals(house, now_ms())
    assert not await eraser.delete_old_rows()
    assert "calls" not in held(house.database, STAYS)


async def test_the_month_counts_on_where_its_rows_are_deleted(house: House) -> None:
    month = now_ms() - 20 * DAY_MS
    month -= month % DAY_MS
    with house.database.begin() as connection:
        connection.execute(tables.accounts.update().values(plan="free"))
        connection.execute(tables.model_hours.delete())
        connection.execute(tables.calls.delete())
    write_rows(house.database, [call_row(month + n * DAY_MS, n, account_id=STAYS) for n in range(18)])
    make_totals(house, now_ms())
    await Eraser(house.settings, Alone(house.settings, house.database)).delete_old_rows()
    assert 0 < len(held(house.database, STAYS)["calls"]) < 10
    with house.database.begin() as connection:
        assert month_used(connection, STAYS, month) == 18
        assert month_used(connection, STAYS, month + 2 * DAY_MS) == 16


# ── beside a running writer ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def ledger(house: House, book: PriceBook) -> AsyncIterator[Ledger]:
    ledger = Ledger(house.settings, house.database, book)
    ledger.writer.start()
    yield ledger
    await ledger.stop()


@pytest.fixture
async def caring(ledger: Ledger, house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Caretaker]:
    monkeypatch.setattr(caretaker, "_SOON_SECONDS", 0.05)
    caring = Caretaker(house.settings, ledger.writer, ledger.journal)
    caring.start()
    yield caring
    await caring.stop()


async def until(condition: Callable[[], bool]) -> None:
    end = asyncio.get_running_loop().time() + 20
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)


async def ended(ledger: Ledger, house: House) -> None:
    """End the account as a page does, and wait until it is erased."""

    def job(database: Database) -> None:
        house.end_account()

    await ledger.writer.run(job)


async def is_erased(ledger: Ledger, house: House) -> None:
    end = asyncio.get_running_loop().time() + 20
    while await ledger.writer.run(lambda database: house.unfinished()):
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)


def ids(house: House, account: int) -> set[bytes]:
    return {row[1] for row in held(house.database, account).get("calls", [])}


async def test_others_calls_are_written_while_it_is_erased(ledger: Ledger, house: House, caring: Caretaker) -> None:
    await ledger.record(*(make_call(account_id=one, requester=f"bot-of-{one}-z") for one in (GOES, STAYS)))
    await ended(ledger, house)
    caring.wake()
    written = [make_call(account_id=STAYS) for _ in range(20)]
    for call in written:
        await ledger.record(call)
        await asyncio.sleep(0.005)
    await is_erased(ledger, house)
    found = await ledger.writer.run(lambda database: ids(house, STAYS))
    assert {call.id for call in written} <= found
    await until(lambda: found_in(house.folder, *MARKS) == [])


async def test_a_call_that_ends_after_its_account_is_dropped_and_leaves_no_byte(
    ledger: Ledger, house: House, caring: Caretaker
) -> None:
    late = make_call(account_id=GOES, requester="bot-of-1-late")
    intent = ledger.journal.append(partial(frame, INTENT, intent_of(late)), lambda kept: None)
    other = make_call(account_id=STAYS)
    others_intent = ledger.journal.append(partial(frame, INTENT, intent_of(other)), lambda kept: None)
    await ended(ledger, house)
    caring.wake()
    await is_erased(ledger, house)
    await until(lambda: found_in(house.folder, *MARKS) == [])
    completion = ledger.journal.append(partial(frame, COMPLETION, late), lambda kept: None, completion=True)
    await ledger.journal.drain()
    assert found_in(house.folder, "bot-of-1-late") != []
    ledger.writer.ended(late, intent, completion)
    await until(lambda: found_in(house.folder, "bot-of-1-late") == [])
    assert await ledger.writer.run(lambda database: held(database, GOES)) == {}
    kept = [call.id for path in segment_paths(ledger.folder) for _, call in records(path.read_bytes())]
    assert kept == [other.id]  # a crash now would need it
    ledger.writer.ended(
        other,
        others_intent,
        ledger.journal.append(partial(frame, COMPLETION, other), lambda kept: None, completion=True),
    )
    assert other.id in await ledger.writer.run(lambda database: ids(house, STAYS))


async def test_it_goes_on_with_what_the_last_process_left(house: House, ledger: Ledger) -> None:
    kept = held(house.database, STAYS)
    house.end_account()
    caring = Caretaker(house.settings, ledger.writer, ledger.journal)
    caring.start()
    await is_erased(ledger, house)
    await caring.stop()
    assert await ledger.writer.run(lambda database: held(database, STAYS)) == kept


async def test_trouble_is_told_and_tried_again(house: House, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSES", (0.05,))
    house.end_account()
    trigger = "CREATE TRIGGER trouble BEFORE DELETE ON calls BEGIN SELECT RAISE(ABORT, 'a bad disk'); END"
    execute(house.database, trigger)
    with structlog.testing.capture_logs() as logs:
        caring = Caretaker(house.settings, ledger.writer, ledger.journal)
        caring.start()
        await until(lambda: any(log["event"] == "erasing_failed" for log in logs))
        assert "a bad disk" in logs[0]["reason"]
        await ledger.writer.run(lambda database: execute(database, "DROP TRIGGER trouble"))
        await is_erased(ledger, house)
        await caring.stop()


async def test_old_rows_go_at_the_start(house: House, ledger: Ledger, book: PriceBook) -> None:
    old, new = make_call(now_ms() - 91 * DAY_MS, account_id=STAYS), make_call(now_ms(), account_id=STAYS)
    write_calls(house.database, book, [old, new], fresh=True)
    make_totals(house, now_ms() + 1)
    caring = Caretaker(house.settings, ledger.writer, ledger.journal)
    caring.start()
    left: set[bytes] = {old.id}

    async def look() -> set[bytes]:
        return await ledger.writer.run(lambda database: ids(house, STAYS))

    end = asyncio.get_running_loop().time() + 20
    while old.id in left and asyncio.get_running_loop().time() < end:
        left = await look()
        await asyncio.sleep(0.02)
    await caring.stop()
    assert old.id not in left
    assert new.id in left
