"""Erasing what accounts that ended had recorded, and rows older than their plan keeps, a bit at a time.

Each bit is a job of the writer's thread between two batches, so that new rows never wait for long, and the thread rests
as long as it took. What is left to do stands in the database (`deletions`): a process that is killed leaves it to the
next.

Of an account that ended, rows and totals are deleted, which overwrites them with zeros; closed journal segments are
rewritten without its records; and what its rows left behind in others' pages is wiped (`storage.wipe`). Then no file in
the data directory holds a byte of it. A call of it that is still under way ends later: the writer drops it, and its
records are taken out of the journal again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Protocol, TypeVar

import structlog

from metrion.accounts.plans import kept_since
from metrion.config import Settings
from metrion.errors import StorageError
from metrion.kit.clock import now_ms
from metrion.kit.ids import first_id
from metrion.ledger.journal import segment_paths
from metrion.ledger.pace import Pace
from metrion.ledger.rewrite import put_in_place, write_without
from metrion.storage import deletions
from metrion.storage.accounts import list_accounts
from metrion.storage.database import Connection, Database
from metrion.storage.deletions import Part
from metrion.storage.wipe import wipe

T = TypeVar("T")

_STEP_SECONDS = 0.012
_READER_TRIES, _READER_SECONDS = 100, 0.1  # how long a reader may stand in the way
log = structlog.get_logger("metrion.ledger")


class Place(Protocol):
    """Where erasing happens: beside a server's writer, or in a command that holds the data directory."""

    async def run(self, job: Callable[[Database], T]) -> T:
        """Run `job` with the writing connection."""

    async def rest(self, seconds: float) -> None:
        """Let others work, after a step that took so long."""

    async def closed_segments(self) -> list[Path]:
        """Journal segments that hold all that was recorded so far, and that nothing is written to any more."""

    def drop(self, accounts: Collection[int]) -> None:
        """Write no row of these accounts from now on; called inside a job."""


class Alone:
    """A command that holds the data directory."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._journal = settings.data_dir / "journal"
        self._database = database

    async def run(self, job: Callable[[Database], T]) -> T:
        return job(self._database)

    async def rest(self, seconds: float) -> None:
        return

    async def closed_segments(self) -> list[Path]:
        return segment_paths(self._journal)

    def drop(self, accounts: Collection[int]) -> None:
        return


def erase_alone(settings: Settings, database: Database) -> None:
    """Erase what accounts that ended left, all of it; for a command that holds the data directory."""
    asyncio.run(Eraser(settings, Alone(settings, database)).erase_accounts())


class Eraser:
    """Erases, where `place` lets it."""

    def __init__(self, settings: Settings, place: Place) -> None:
        self._settings = settings
        self._place = place
        self.gone: set[int] = set()  # accounts erased so far

    async def erase_accounts(self) -> None:
        """Erase what accounts that ended left; returns when the data directory holds nothing of them."""
        began = monotonic()
        accounts = await self._place.run(self._take_up)
        if not accounts:
            return
        self.gone.update(accounts)
        rows = 0
        # Until nothing is found: what is made of rows between two steps may have come to a table that was done.
        while deleted := await self._delete(part for one in accounts for part in deletions.parts_of(one)):
            rows += deleted
        await self.clean_journal()
        await self._wipe()
        await self._until_no_reader(Database.empty_wal)
        await self._place.run(partial(_finish, accounts))
        log.info("accounts_erased", accounts=len(accounts), rows=rows, seconds=round(monotonic() - began, 1))

    def _take_up(self, database: Database) -> list[int]:
        with database.begin() as connection:
            accounts = deletions.unfinished(connection)
        self._place.drop(accounts)  # what was written of them until here is deleted next
        return accounts

    async def delete_old_rows(self) -> bool:
        """Delete rows older than their account's plan keeps; totals stay.

        Returns whether some were left because totals are still to be made of them, as after a long standstill.
        """
        moment = now_ms()
        accounts, needed = await self._place.run(_plans)
        parts, left = list[Part](), False
        for account_id, plan, free_since_ms in accounts:
            since = kept_since(self._settings, plan, free_since_ms, moment)
            left = left or needed.get(account_id, since) < since
            parts += deletions.old_parts_of(account_id, first_id(min(since, needed.get(account_id, since))))
        if rows := await self._delete(parts):
            log.info("old_rows_deleted", rows=rows)
        return left

    async def _delete(self, parts: Iterable[Part]) -> int:
        """Delete all of these parts; returns how many rows that were."""
        work = _Work(parts)
        while not work.done:
            await self._place.rest(await self._place.run(work.step))
        return work.deleted

    async def clean_journal(self) -> None:
        """Take the records of accounts that are gone out of the journal."""
        gone = frozenset(self.gone)
        for segment in await self._place.closed_segments():
            draft = await asyncio.to_thread(write_without, segment, gone.__contains__)
            if draft is not None:
                await self._place.run(partial(_put, draft, segment))

    async def _wipe(self) -> None:
        page: int | None = 0
        while page is not None:
            began = perf_counter()
            wiped = await self._until_no_reader(partial(wipe, first=page))
            await self._place.rest(perf_counter() - began)
            page = wiped.next

    async def _until_no_reader(self, job: Callable[[Database], T | None]) -> T:
        """Run a job that a reader may stand in the way of, until it gives something; StorageError if it never does."""
        for _ in range(_READER_TRIES):
            if done := await self._place.run(job):
                return done
            await asyncio.sleep(_READER_SECONDS)
        raise StorageError("deleted accounts are not erased yet: somebody keeps reading the database's WAL")


class _Work:
    """Parts to delete, in steps that take about _STEP_SECONDS."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = deque(parts)
        self._pace = Pace(_STEP_SECONDS)
        self.deleted = 0

    @property
    def done(self) -> bool:
        return not self._parts

    def step(self, database: Database) -> float:
        """Delete a bit; returns how many seconds that took."""
        began = perf_counter()
        with database.begin() as connection:
            self._delete_some(connection)
            while self._parts and perf_counter() - began < _STEP_SECONDS:
                self._delete_some(connection)
        self._pace.settle(database)
        return perf_counter() - began

    def _delete_some(self, connection: Connection) -> None:
        part, began = self._parts[0], perf_counter()
        kind = part.table.name
        rows = self._pace.rows(kind)
        deleted = deletions.delete_some(connection, part, rows)
        self._pace.took(kind, deleted, began)
        self.deleted += deleted
        if deleted < rows:
            self._parts.popleft()


def _finish(accounts: Iterable[int], database: Database) -> None:
    with database.begin() as connection:
        for account_id in accounts:
            deletions.finish(connection, account_id, now_ms())


def _plans(database: Database) -> tuple[list[tuple[int, str, int | None]], dict[int, int]]:
    """(account, plan, when it came from pro to free) of all, and from when on rows of some are needed."""
    with database.begin() as connection:
        accounts = [(row.id, row.plan, row.free_since_ms) for row in list_accounts(connection)]
        return accounts, deletions.needed_since(connection)


def _put(draft: Path, segment: Path, database: Database) -> None:
    put_in_place(draft, segment)
