"""The journal keeps what it says it kept, and says so when it cannot."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from metrion.call import Reading
from metrion.ledger.journal import Journal, segment_paths
from metrion.ledger.record import COMPLETION, frame, records
from tests.ledger.samples import largest_file, make_call

MIB = 1024 * 1024
HUGE = bytes(33 * MIB)  # more than a segment holds: the next record goes into the next one
NewJournal = Callable[..., Journal]

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def new_journal(folder: Path) -> AsyncIterator[NewJournal]:
    """Opens journals in `folder`, and ends their threads with the test: they call what the test may have replaced."""
    opened: list[Journal] = []

    def make(**options: Any) -> Journal:
        opened.append(Journal(folder, asyncio.get_running_loop(), **options))
        return opened[-1]

    yield make
    for journal in opened:
        journal.close(rows_durable=False)


@pytest.fixture
async def journal(new_journal: NewJournal) -> Journal:
    return new_journal()


def nobody(kept: bool) -> None:
    """For records nobody waits for."""


async def kept(journal: Journal, record: bytes, *, completion: bool = False) -> tuple[int, bool]:
    """Append a record; its segment, and whether it was kept."""
    told = asyncio.get_running_loop().create_future()
    segment = journal.append(lambda: record, told.set_result, completion=completion)
    return segment, await asyncio.wait_for(told, 10)


def names(folder: Path) -> list[int]:
    return [int(path.stem) for path in segment_paths(folder)]


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in segment_paths(folder))


def leave_segments(folder: Path, *numbers: int) -> None:
    folder.mkdir()
    for number in numbers:
        (folder / f"{number:010d}.journal").write_bytes(b"x")


class Disk:
    """Stands in for fdatasync: notes which segments were synced, waits or fails as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[int] = []
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.has_synced = threading.Event()
        self.has_failed = threading.Event()
        self.broken = False
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, fd: int) -> None:
        segment = int(Path(os.readlink(f"/proc/self/fd/{fd}")).stem)
        assert self.may_sync.wait(10)
        if self.broken:
            self.has_failed.set()
            raise OSError(5, "Input/output error")
        self._real(fd)
        self.synced.append(segment)
        self.has_synced.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


# ── what is kept ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_record_is_in_the_file_before_its_waiter_is_told(journal: Journal, folder: Path) -> None:
    seen: list[tuple[bytes, bool]] = []
    for record in (b"one", b"two"):
        journal.append(partial(bytes, record), lambda kept: seen.append((content(folder), kept)))
    assert (content(folder), seen) == (b"", [])  # neither is written before the tick's end: they go out in one write
    await asyncio.sleep(0)
    assert seen == [(b"onetwo", True), (b"onetwo", True)]


async def test_intents_go_before_completions(journal: Journal, folder: Path) -> None:
    told: list[bytes] = []

    def note(record: bytes, kept: bool) -> None:
        told.append(record)

    for record, completion in ((b"E", True), (b"i", False), (b"F", True), (b"j", False)):
        journal.append(partial(bytes, record), partial(note, record), completion)
    await journal.drain()
    assert (content(folder), told) == (b"ijEF", [b"i", b"j", b"E", b"F"])


async def test_a_waiter_that_fails_takes_no_neighbour_along(journal: Journal, folder: Path) -> None:
    def fail(kept: bool) -> None:
        raise RuntimeError("a bug")

    with structlog.testing.capture_logs() as logs:
        journal.append(lambda: b"one", fail)
        assert await kept(journal, b"two") == (1, True)
    assert [entry["event"] for entry in logs] == ["after_journal_failed"]


async def test_a_record_that_cannot_be_made_takes_no_neighbour_along(journal: Journal, folder: Path) -> None:
    told: list[bool] = []
    with structlog.testing.capture_logs() as logs:
        journal.append(lambda: b"one", nobody)
        segment = journal.append(partial(frame, COMPLETION, make_call(requester="\ud800")), told.append)
        assert await kept(journal, b"two") == (1, True)
    await asyncio.sleep(0)
    assert (content(folder), told, segment) == (b"onetwo", [False], 1)
    assert [entry["event"] for entry in logs] == ["record_not_made"]
    journal.settle(Counter({1: 3}))
    journal.close(rows_durable=True)
    assert names(folder) == []


async def test_what_a_waiter_appends_goes_out_with_the_next_tick(journal: Journal, folder: Path) -> None:
    def append_one_more(_: bool) -> None:
        journal.append(lambda: b"two", nobody)

    journal.append(lambda: b"one", append_one_more)
    assert await kept(journal, b"three") == (1, True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert content(folder) == b"onethreetwo"


# ── segments ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_full_segment_gives_way_to_the_next_and_goes_once_all_its_rows_are_written(
    journal: Journal, folder: Path
) -> None:
    segments = [(await kept(journal, record))[0] for record in (b"a", HUGE, b"b")]
    assert segments == [1, 1, 2]
    assert journal.removable() == []
    journal.settle(Counter({1: 1}))
    assert journal.removable() == []
    journal.settle(Counter({1: 1, 2: 1}))
    assert journal.removable() == [1]  # never the one that is written to, settled or not
    journal.discard([1])
    journal.forget([1])
    assert (journal.removable(), names(folder)) == ([], [2])


async def test_a_settled_segment_that_is_worth_it_goes_without_being_full(journal: Journal) -> None:
    for size, segment in ((MIB // 2, 1), (MIB, 1), (10, 2)):
        assert (await kept(journal, bytes(size)))[0] == segment
        journal.settle(Counter({segment: 1}))
        assert journal.removable() == ([1] if segment == 2 or size == MIB else [])


async def test_a_segment_is_not_left_while_records_wait_to_be_written_to_it(journal: Journal) -> None:
    assert await kept(journal, bytes(2 * MIB)) == (1, True)
    segment = journal.append(lambda: b"waiting", nobody)
    journal.settle(Counter({1: 2}))  # more than there can be settled, so that only the waiting record speaks against it
    await asyncio.sleep(0)
    assert (segment, journal.removable()) == (1, [])


async def test_numbers_go_on_after_a_restart_and_recovered_segments_go(new_journal: NewJournal, folder: Path) -> None:
    leave_segments(folder, 7, 41)
    journal = new_journal()
    assert await kept(journal, b"new") == (42, True)
    assert journal.removable() == [7, 41]
    assert content(folder) == b"xxnew"


@pytest.mark.parametrize(("rows_durable", "left"), [(True, [1, 3]), (False, [1, 2, 3])])
async def test_at_the_end_only_segments_with_rows_not_on_the_disk_stay(
    journal: Journal, folder: Path, rows_durable: bool, left: list[int]
) -> None:
    for record in (b"a", HUGE, HUGE, b"c"):
        await kept(journal, record)
    journal.settle(Counter({1: 1, 2: 1}))  # of two, of one, and of one in segment 3 none
    journal.close(rows_durable=rows_durable)
    assert names(folder) == left


async def test_an_end_without_open_calls_leaves_nothing(journal: Journal, folder: Path) -> None:
    segment, _ = await kept(journal, b"a")
    journal.settle(Counter({segment: 1}))
    journal.close(rows_durable=True)
    assert names(folder) == []


async def test_the_end_writes_what_still_waits(journal: Journal, folder: Path) -> None:
    told: list[bool] = []
    journal.append(lambda: b"late", told.append)
    journal.close(rows_durable=True)
    assert (content(folder), told) == (b"late", [True])


# ── full, or failing ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_it_is_full_at_so_many_bytes_that_are_not_in_the_database_yet(new_journal: NewJournal) -> None:
    journal = new_journal(full_bytes=40 * MIB)
    await kept(journal, HUGE)
    await kept(journal, bytes(7 * MIB - 1))
    assert journal.ready
    await kept(journal, b"x")
    assert not journal.ready
    journal.settle(Counter({1: 1}))
    journal.discard([1])
    journal.forget([1])
    assert journal.ready


async def test_a_failed_write_is_told_to_the_records_of_its_tick_alone_and_leaves_no_trace(
    journal: Journal, folder: Path
) -> None:
    calls = [make_call() for _ in range(6)]
    framed = [frame(COMPLETION, call) for call in calls]
    told: list[tuple[int, bool]] = []

    def append(number: int) -> None:
        journal.append(lambda: framed[number], lambda kept: told.append((number, kept)))

    append(0)
    await asyncio.sleep(0)
    with structlog.testing.capture_logs() as logs, largest_file(len(framed[0]) + len(framed[1]) + 9):
        append(1)  # this one would fit
        append(2)  # this one is written to its ninth byte
        await asyncio.sleep(0)
        assert not journal.ready
        append(3)
        await asyncio.sleep(0)
    append(4)
    append(5)
    await asyncio.sleep(0)
    assert told == [(0, True), (1, False), (2, False), (3, True), (4, True), (5, True)]
    assert journal.ready
    assert [call.id for _, call in records(content(folder))] == [calls[number].id for number in (0, 3, 4, 5)]
    assert [entry["event"] for entry in logs] == ["journal_failing", "journal_works_again"]


async def test_a_probe_finds_out_whether_it_works_again_and_leaves_nothing_behind(
    journal: Journal, folder: Path
) -> None:
    await kept(journal, b"before")
    with structlog.testing.capture_logs() as logs:
        with largest_file(100):
            assert await kept(journal, bytes(200)) == (1, False)
            for _ in range(3):
                journal.probe()
                assert not journal.ready
        assert [entry["event"] for entry in logs] == ["journal_failing"]  # once, and not at each probe
        journal.probe()
    assert journal.ready
    assert await kept(journal, b"after") == (1, True)
    assert content(folder) == b"beforeafter"


async def test_a_probe_of_a_journal_that_works_does_nothing(journal: Journal, folder: Path) -> None:
    await kept(journal, b"x")
    before = os.stat(segment_paths(folder)[0]).st_mtime_ns
    journal.probe()
    assert os.stat(segment_paths(folder)[0]).st_mtime_ns == before


async def test_a_segment_that_cannot_be_opened_is_tried_again(journal: Journal, folder: Path) -> None:
    with structlog.testing.capture_logs():
        await kept(journal, bytes(2 * MIB))
        shutil.rmtree(folder)
        journal.settle(Counter({1: 1}))  # which wants the next segment
        assert not journal.ready
        assert await kept(journal, b"lost") == (2, False)
        leave_segments(folder)
        journal.probe()
        assert journal.ready
        assert await kept(journal, b"kept") == (2, True)
    assert content(folder) == b"kept"


# ── strict ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_only_strict_completions_wait_for_the_disk(new_journal: NewJournal, folder: Path, disk: Disk) -> None:
    journal = new_journal(strict=True)
    disk.may_sync.clear()
    assert await kept(journal, b"intent") == (1, True)
    waiting = asyncio.ensure_future(kept(journal, b"completion", completion=True))
    await asyncio.sleep(0.05)
    assert content(folder) == b"intentcompletion"
    assert not waiting.done()
    disk.may_sync.set()
    assert await waiting == (1, True)
    assert disk.synced


async def test_otherwise_nobody_waits_for_the_disk_but_it_is_synced_all_the_same(journal: Journal, disk: Disk) -> None:
    disk.may_sync.clear()
    assert await kept(journal, b"completion", completion=True) == (1, True)
    disk.may_sync.set()
    journal.close(rows_durable=False)
    assert disk.synced == [1]


async def test_a_completion_the_disk_did_not_take_is_not_kept(new_journal: NewJournal, disk: Disk) -> None:
    journal = new_journal(strict=True)
    disk.broken = True
    with structlog.testing.capture_logs() as logs:
        assert await kept(journal, b"completion", completion=True) == (1, False)
    assert [entry["event"] for entry in logs] == ["journal_fsync_failed"]


async def test_a_disk_that_failed_before_anyone_waited_is_not_forgotten(new_journal: NewJournal, disk: Disk) -> None:
    """The kernel tells of it once; a completion may have been in what it lost."""
    journal = new_journal(strict=True)
    disk.broken = True
    with structlog.testing.capture_logs():
        await kept(journal, b"intent")
        assert await asyncio.to_thread(disk.has_failed.wait, 10)
    disk.broken = False
    assert await kept(journal, b"completion", completion=True) == (1, False)
    assert await kept(journal, b"completion", completion=True) == (1, True)


async def test_strict_completions_do_not_wait_out_the_pause_between_syncs(new_journal: NewJournal, disk: Disk) -> None:
    journal = new_journal(strict=True)
    loop, waited = asyncio.get_running_loop(), 0.0
    for _ in range(10):
        await kept(journal, b"intent")
        assert await asyncio.to_thread(disk.has_synced.wait, 10)  # and now pauses for 100 ms
        start = loop.time()
        await kept(journal, b"completion", completion=True)
        waited += loop.time() - start
        disk.has_synced.clear()
    assert waited < 0.5


async def test_a_completion_in_a_new_segment_waits_for_that_segment(new_journal: NewJournal, disk: Disk) -> None:
    journal = new_journal(strict=True)
    disk.may_sync.clear()
    await kept(journal, b"intent")  # the syncing thread now waits for segment 1's disk
    first = asyncio.ensure_future(kept(journal, HUGE, completion=True))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(kept(journal, b"b", completion=True))
    await asyncio.sleep(0.01)
    disk.may_sync.set()
    assert await first == (1, True)
    assert await second == (2, True)
    assert 2 in disk.synced


async def test_completions_are_told_in_order_also_where_one_was_not_written(
    new_journal: NewJournal, disk: Disk
) -> None:
    journal = new_journal(strict=True)
    disk.may_sync.clear()
    told: list[tuple[str, bool]] = []
    journal.append(lambda: b"one", lambda kept: told.append(("one", kept)), completion=True)
    await asyncio.sleep(0)
    with structlog.testing.capture_logs(), largest_file(1):
        journal.append(lambda: b"two", lambda kept: told.append(("two", kept)), completion=True)
        await asyncio.sleep(0)
    disk.may_sync.set()
    await kept(journal, b"three", completion=True)
    assert told == [("one", True), ("two", False)]


@pytest.mark.parametrize("strict", [True, False])
async def test_drained_means_that_everyone_was_told(new_journal: NewJournal, folder: Path, strict: bool) -> None:
    journal = new_journal(strict=strict)
    told: list[bool] = []
    segment = journal.append(partial(frame, COMPLETION, make_call(reading=Reading())), told.append, completion=True)
    await journal.drain()
    assert told == [True]
    journal.settle(Counter({segment: 1}))
    journal.close(rows_durable=True)
    assert names(folder) == []
