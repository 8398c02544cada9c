"""The journal: what must not be lost is here before anything is promised.

Records of one loop tick are made one after the other, intents first, since each made between other work takes twice as
long. They go out in one `write`, and what waits for them (dialling, the last chunk) queues behind it.
`write` survives `kill -9`; a thread calls fsync at most every 100 ms, or, where `strict`, before a completion counts as
kept.

Everything here runs on the event loop, but for the syncing thread and `discard`, which the writer's thread calls.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

Record = Callable[[], bytes]
Then = Callable[[bool], None]

SYNC_INTERVAL = 0.1  # seconds
_SEGMENT_BYTES = 32 * 1024 * 1024
_TIDY_BYTES = 1024 * 1024  # an idle segment above this gives way to a new one, so that it can go
_PROBE_BYTES = 1024 * 1024
log = structlog.get_logger("metrion.ledger")


def segment_paths(folder: Path) -> list[Path]:
    """The journal's segments, oldest first."""
    return sorted(folder.glob("*.journal"))


class Journal:
    """Append-only segments in `folder`. `full_bytes`: with this much not in the database, nothing is admitted."""

    def __init__(
        self, folder: Path, loop: asyncio.AbstractEventLoop, *, strict: bool = False, full_bytes: int = 1 << 30
    ) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._loop = loop
        self._strict = strict
        self._full_bytes = full_bytes
        # Segments that are here already were recovered: their rows are committed, and the next checkpoint lets them go.
        self._sizes = {int(path.stem): path.stat().st_size for path in segment_paths(folder)}
        self._segment = max(self._sizes, default=0)
        self._size = 0
        self._fd = -1
        self._intents: list[tuple[Record, Then]] = []
        self._completions: list[tuple[Record, Then]] = []
        self._unsettled: Counter[int] = Counter()  # segment → records whose rows are not committed yet
        self._failing = False
        self._sealing = False
        self._sync = _Syncer(loop)
        self._open_next()

    @property
    def ready(self) -> bool:
        """Whether a call can be recorded safely."""
        return not self._failing and sum(self._sizes.values()) + self._size < self._full_bytes

    def append(self, record: Record, then: Then, completion: bool = False) -> int:
        """Write what `record` makes with this tick's others, then call `then(kept)`; returns the segment to settle
        later.
        """
        if not self._waits:
            self._loop.call_soon(self._flush)
        (self._completions if completion else self._intents).append((record, then))
        return self._segment

    @property
    def _waits(self) -> bool:
        """Whether there is something to write."""
        return bool(self._intents or self._completions)

    def _flush(self) -> None:
        intents, self._intents = self._intents, []
        completions, self._completions = self._completions, []
        self._unsettled[self._segment] += len(intents) + len(completions)
        unmade: list[Then] = []
        records, after_intents = _made(intents, unmade)
        more, after_completions = _made(completions, unmade)
        kept = self._write(b"".join(records + more))
        # Before anybody is told: what they append then is to lie in the segment whose number it got.
        if self._size > _SEGMENT_BYTES or self._sealing:
            self._open_next()
        _tell(after_intents, kept)
        _tell(unmade, False)
        if not self._strict:
            _tell(after_completions, kept)
        elif after_completions:
            self._sync.wait_for(after_completions, kept)

    def _write(self, data: bytes) -> bool:
        try:
            if self._fd < 0:  # the last segment could not be opened: the disk may be back
                self._fd = self._open()
            if os.write(self._fd, data) != len(data):
                raise OSError("short write")
        except OSError as problem:
            if not self._failing:
                log.error(
                    "journal_failing", reason=str(problem), hint="free disk space; calls are refused until it works"
                )
            self._failing = True
            self._cut_back()
            return False
        if self._failing:
            log.warning("journal_works_again")
        self._failing = False
        self._size += len(data)
        self._sync.dirty(self._fd)
        return True

    def _cut_back(self) -> None:
        """Take back half a record, so that what is written later can be read."""
        if self._fd >= 0:
            try:
                os.ftruncate(self._fd, self._size)
            except OSError:
                self._open_next()

    def probe(self) -> None:
        """Where the last write failed, see whether a larger one works; called now and then."""
        if self._failing and not self._waits and self._write(bytes(_PROBE_BYTES)):
            self._size -= _PROBE_BYTES
            self._cut_back()

    def _open(self) -> int:
        path = self._folder / f"{self._segment:010d}.journal"
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _open_next(self) -> None:
        if self._fd >= 0:
            self._sync.retire(self._fd)
        if self._size or self._unsettled[self._segment]:
            self._sizes[self._segment] = self._size
        self._segment += 1
        self._size = 0
        try:
            self._fd = self._open()
        except OSError as problem:
            self._fd = -1
            self._failing = True
            log.error("journal_failing", reason=str(problem), hint="check the data dir's disk and rights")

    def settle(self, settled: Counter[int]) -> None:
        """The rows of these records (segment → count) are committed."""
        self._unsettled.subtract(settled)
        if not self._unsettled[self._segment] and self._size > _TIDY_BYTES and not self._waits:
            self._open_next()

    def removable(self) -> list[int]:
        """Closed segments of which every record's row is committed."""
        return [segment for segment in list(self._sizes) if self._unsettled[segment] <= 0]

    def discard(self, segments: list[int]) -> None:
        """Delete segments whose rows are durable in the database."""
        for segment in segments:
            path = self._folder / f"{segment:010d}.journal"
            try:
                path.unlink(missing_ok=True)
            except OSError as problem:  # a later start reads it again and finds nothing missing
                log.warning("segment_not_removed", path=str(path), reason=problem.strerror)

    def forget(self, segments: list[int]) -> None:
        """Stop counting deleted segments."""
        for segment in segments:
            self._sizes.pop(segment, None)
            self._unsettled.pop(segment, None)

    async def seal(self) -> list[Path]:
        """Go on in a new segment; returns those before it, which nothing is written to any more."""
        self._sealing = True
        await self.drain()
        self._sealing = False
        return [path for path in segment_paths(self._folder) if int(path.stem) < self._segment]

    async def drain(self) -> None:
        """Return when all that was appended is kept, or known not to be, and who waited for it was told."""
        told = self._loop.create_future()
        segment = self.append(bytes, told.set_result, completion=True)
        await told
        self.settle(Counter((segment,)))

    def close(self, *, rows_durable: bool) -> None:
        """Write and sync what is left. Where the rows written so far are on the disk, segments without others go."""
        if self._waits:
            self._flush()
        self._sync.stop()
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
        if rows_durable:
            self._sizes[self._segment] = self._size
            self.discard(self.removable())


def _made(appended: list[tuple[Record, Then]], unmade: list[Then]) -> tuple[list[bytes], list[Then]]:
    """The records, and who waits for them; who waits for one that could not be made comes to `unmade`."""
    records: list[bytes] = []
    thens: list[Then] = []
    for record, then in appended:
        try:
            records.append(record())
            thens.append(then)
        except Exception:  # one call's trouble must not take its neighbours' records along
            log.exception("record_not_made")
            unmade.append(then)
    return records, thens


def _tell(thens: Iterable[Then], kept: bool) -> None:
    for then in thens:
        try:
            then(kept)
        except Exception:  # one call's trouble must not take its neighbours' records along
            log.exception("after_journal_failed")


class _Syncer:
    """The thread that calls fsync: it may take as long as the disk takes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Condition()
        self._dirty: int | None = None
        self._retired: list[int] = []
        self._waiting: list[tuple[Then, bool]] = []  # and whether its record was written
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="metrion-fsync", daemon=True)
        self._thread.start()

    def dirty(self, fd: int) -> None:
        if self._dirty != fd:  # read without the lock: at worst the thread is told once more than needed
            with self._lock:
                self._dirty = fd
                self._lock.notify()

    def wait_for(self, thens: list[Then], written: bool) -> None:
        """Call `thens` after the next fsync; also those whose write failed, so that all are called in order."""
        with self._lock:
            self._waiting.extend((then, written) for then in thens)
            self._lock.notify()

    def retire(self, fd: int) -> None:
        with self._lock:
            self._retired.append(fd)
            self._lock.notify()

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            self._lock.notify()
        self._thread.join()

    def _run(self) -> None:
        synced = True  # since somebody last waited: the system tells of a failure only once
        while True:
            with self._lock:
                while self._dirty is None and not self._retired and not self._waiting and not self._stopping:
                    self._lock.wait()
                fd, self._dirty = self._dirty, None
                retired, self._retired = self._retired, []
                waiting, self._waiting = self._waiting, []
                stopping = self._stopping
            for one in {*retired, *(() if fd is None else (fd,))}:
                synced = _fsync(one) and synced
            for one in retired:
                os.close(one)
            if waiting:
                self._loop.call_soon_threadsafe(_call_all, waiting, synced)
                synced = True
            if stopping:
                return
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._stopping, SYNC_INTERVAL)


def _call_all(waiting: list[tuple[Then, bool]], synced: bool) -> None:
    for then, written in waiting:
        _tell((then,), written and synced)


def _fsync(fd: int) -> bool:
    try:
        os.fdatasync(fd)
    except OSError as problem:
        log.error("journal_fsync_failed", reason=str(problem))
        return False
    return True
