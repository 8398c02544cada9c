"""The writer: a thread that turns ended calls into rows and totals, a batch a transaction, and runs commands between.

It owns the writing connection. What it has not written is still in the journal, so it may be late, fail and try again;
it may not lose.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from math import ceil
from typing import Any, TypeVar

import msgspec
import structlog

from metrion.call import Call, Outcome
from metrion.ledger.journal import Journal
from metrion.ledger.metered import once
from metrion.ledger.price import price
from metrion.ledger.totals import count
from metrion.prices.catalog import PriceBook
from metrion.storage.database import Database
from metrion.storage.rows import insert_calls, written

T = TypeVar("T")
Done = tuple[Call, int, int]  # a call, and the journal segments of its intent (-1: none) and completion

BATCH_SECONDS = 0.3  # a finished call is visible within a second
_BATCH_ROWS = 5000
_BACKLOG = 250_000  # calls in memory beyond which no more are admitted
_TIDY_SECONDS = 2.0
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_TRIES_TOGETHER = 2  # of a batch; then each call is written by itself, in case it is one of them that fails
log = structlog.get_logger("metrion.ledger")


def write_calls(
    database: Database, book: PriceBook, calls: Sequence[Call], refusals: Sequence[Call] = (), *, fresh: bool
) -> int:
    """Price `calls` and write rows and totals in one transaction; returns how many rows are new.

    `fresh`: no row of them can be there yet. `refusals` count in totals only.
    """
    with database.begin() as connection:
        if not fresh:
            there = written(connection, [(call.account_id, call.id) for call in calls])
            calls = [call for call in calls if (call.account_id, call.id) not in there]
        rows = [price(book, call) for call in once(connection, calls)]
        insert_calls(connection, rows)
        count(connection, [*rows, *(price(book, call) for call in refusals)])
    return len(rows)


def write_apart(database: Database, book: PriceBook, calls: Sequence[Call]) -> int:
    """Write each call by itself, and one the database does not take without its usage: it must not hold up the others.

    Returns how many rows are new; raises what the database says where it takes nothing at all.
    """
    new = 0
    for call in calls:
        try:
            new += write_calls(database, book, [call], fresh=False)
        except Exception as problem:  # whatever a call brings, it keeps its row
            new += write_calls(database, book, [msgspec.structs.replace(call, reading=None)], fresh=False)
            log.error("usage_not_written", request_id=call.id.hex(), reason=str(problem))
    return new


class Writer:
    """Takes ended calls on the event loop, writes them on its thread."""

    def __init__(self, database: Database, book: PriceBook, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self._database = database
        self._book = book
        self._journal = journal
        self._loop = loop
        # deques: appended on the loop and emptied here without a lock
        self._done: deque[Done] = deque()
        self._refusals: deque[Call] = deque()
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._wake = threading.Event()
        self._hurry = threading.Event()  # a command waits, or we stop: write what there is now
        self._look: Callable[[Database], None] | None = None
        self._gone: set[int] = set()
        self._backlog = 0
        self.dropped = 0  # calls of accounts that are gone
        self._tidied = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrion-writer", daemon=True)

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def ready(self) -> bool:
        """Whether there is room for more calls."""
        return len(self._done) + self._backlog < _BACKLOG

    def then(self, look: Callable[[Database], None]) -> None:
        """From now on, call this on the writer's thread after each batch, and every few seconds. Before `start`."""
        self._look = look

    def start(self) -> None:
        self._thread.start()

    def ended(self, call: Call, intent_segment: int, completion_segment: int) -> None:
        """Take a call whose completion is journalled."""
        self._done.append((call, intent_segment, completion_segment))
        if not self._wake.is_set():
            self._wake.set()

    def refused(self, call: Call) -> None:
        """Count a refusal that gets no row."""
        self._refusals.append(call)
        if not self._wake.is_set():
            self._wake.set()

    async def run(self, job: Callable[[Database], T]) -> T:
        """Run `job` with the writing connection, on the writer's thread, after everything that ended before."""
        future: Future[T] = Future()
        self._jobs.append((lambda: job(self._database), future))
        self._hurry.set()
        self._wake.set()
        return await asyncio.wrap_future(future)

    def stop(self) -> None:
        """Write everything and end the thread."""
        self._stopping.set()
        self._hurry.set()
        self._wake.set()
        self._thread.join()

    # ── on the writer's thread ────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while not self._stopping.is_set() or self._done or self._jobs or self._refusals:
            self._wake.wait(_TIDY_SECONDS)
            self._hurry.wait(BATCH_SECONDS)
            self._wake.clear()
            self._hurry.clear()
            jobs = _take(self._jobs)
            # What ends meanwhile waits for the next turn: a batch of a few calls costs nearly what one of many does.
            for _ in range(ceil(max(len(self._done), len(self._refusals)) / _BATCH_ROWS)):
                if not self._write(_take(self._done), _take(self._refusals)):
                    return  # the next start finds them in the journal
            for job, future in jobs:
                _do(job, future)
            self._look_at_it()
            if time.monotonic() - self._tidied > _TIDY_SECONDS:
                self._tidy()

    def _look_at_it(self) -> None:
        try:
            if self._look is not None:
                self._look(self._database)
        except Exception as problem:  # rows must be written whatever it is; the next look is soon
            log.error("alerts_not_looked_at", reason=str(problem))

    def drop(self, accounts: Collection[int]) -> None:
        """From now on write nothing of these accounts, which are deleted. For a job."""
        self._gone.update(accounts)

    def _kept(self, calls: list[Call]) -> list[Call]:
        kept = [call for call in calls if call.account_id not in self._gone]
        self.dropped += len(calls) - len(kept)
        return kept

    def _write(self, done: list[Done], refusals: list[Call]) -> bool:
        """Write a batch, however long the database takes to take it; False where it did not before the end."""
        calls = [call for call, _, _ in done]
        if self._gone:
            calls, refusals = self._kept(calls), self._kept(refusals)
        self._backlog = len(calls)
        tries = 0
        while True:
            try:
                self._try_to_write(calls, refusals, tries)
                break
            except Exception as problem:
                wait = _RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)]
                log.error(
                    "rows_not_written",
                    calls=len(calls),
                    reason=str(problem),
                    retry_in=wait,
                    hint="they are safe in the journal",
                )
                tries += 1
                if self._stopping.wait(wait) and tries > len(_RETRY_SECONDS):
                    return False
        self._backlog = 0
        for call, _, _ in done:
            if call.held is not None:
                call.held.release()
        segments = Counter(
            segment for _, intent, completion in done for segment in (intent, completion) if segment >= 0
        )
        self._loop.call_soon_threadsafe(self._journal.settle, segments)
        return True

    def _try_to_write(self, calls: list[Call], refusals: list[Call], tries: int) -> None:
        if tries >= _TRIES_TOGETHER:
            write_apart(self._database, self._book, calls)
            calls = []
        write_calls(self._database, self._book, calls, refusals, fresh=tries == 0)

    def sync(self) -> bool:
        """Bring the rows written so far to the disk; False where that may not be so. After `stop`, on any thread."""
        try:
            return self._database.checkpoint()
        except Exception as problem:
            log.warning("rows_not_synced", reason=str(problem))
            return False

    def _tidy(self) -> None:
        """Delete journal segments whose rows are on the disk."""
        self._tidied = time.monotonic()
        segments = self._journal.removable()
        if segments and self.sync():
            self._journal.discard(segments)
            self._loop.call_soon_threadsafe(self._journal.forget, segments)


def _take(queue: deque[T]) -> list[T]:
    return [queue.popleft() for _ in range(min(len(queue), _BATCH_ROWS))]


def _do(job: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():  # whoever asked is gone
        return
    try:
        future.set_result(job())
    except BaseException as problem:  # it is whoever asked who shall have it; the thread writes on
        future.set_exception(problem)


def interrupted(intent: Call) -> Call:
    """A call whose end was never seen, as it is written."""
    intent.outcome = Outcome.INTERRUPTED.value
    return intent
