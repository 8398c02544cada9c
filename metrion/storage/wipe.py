"""Wiping: zeros where the database file still holds bytes that belong to no row.

SQLite zeroes what is deleted (`secure_delete`). But where it moves rows from one page to another, their old bytes stay
in the page's unallocated part, between its pointers and its cells (https://www.sqlite.org/fileformat2.html#b_tree_pages)
and may outlive the rows, in a neighbour's page. Only VACUUM would clear them: it writes the whole file anew, while no
row can be written. So these parts, and not a byte else, are zeroed in the file itself, some pages at a time.

That is safe because nothing reads an unallocated part, and lasts because no older copy of a wiped page is left to come
back: we are the only writer, the WAL has just been moved into the file and emptied, and so has the writer's own cache.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

import structlog

from metrion.storage.database import Database

STEP_PAGES = 4096
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_TREE_PAGES = {2: 12, 5: 12, 10: 8, 13: 8}  # kind of page → bytes of its head
# Other pages begin with the number of another page: its first byte is never a kind, as long as numbers are small.
_MOST_PAGES = 2 << 24
_COUNTS = struct.Struct(">HH")
log = structlog.get_logger("metrion.storage")


class Wiped(NamedTuple):
    """What a step did. `next`: the page to go on from; None at the end."""

    next: int | None
    pages: int


def wipe(database: Database, first: int) -> Wiped | None:
    """Zero the unallocated parts of STEP_PAGES pages from `first` (0 to begin) on; None if a reader is in the way."""
    file = database.file
    header = os.pread(file, _HEADER_BYTES, 0)
    size = _page_size(header)
    pages = os.fstat(file).st_size // size if size else 0
    if size == 0 or pages >= _MOST_PAGES:
        log.warning("database_not_wiped", pages=pages, hint="run VACUUM on it while the server is stopped")
        return Wiped(None, 0)
    following = first + STEP_PAGES if first + STEP_PAGES < pages else None
    if not _unallocated(file, first, size):
        return Wiped(following, 0)
    if not database.empty_wal():
        return None
    parts = _unallocated(file, first, size)  # as they are now
    for at, length in parts:
        os.pwrite(file, bytes(length), at)
    os.fdatasync(file)
    return Wiped(following, len(parts))


def _page_size(header: bytes) -> int:
    """Bytes of a page; 0 where the file is not laid out as we make it."""
    if not header.startswith(_MAGIC) or header[20] or header[52:56] != bytes(4):  # reserved bytes; auto-vacuum
        return 0
    size = int.from_bytes(header[16:18], "big")
    return 65536 if size == 1 else size


def _unallocated(file: int, first: int, size: int) -> list[tuple[int, int]]:
    """Where in the file (offset, length) the unallocated parts of these pages are that hold anything."""
    data = os.pread(file, STEP_PAGES * size, first * size)
    zeros = bytes(size)
    found = []
    for page in range(0, len(data) - size + 1, size):
        head = page + (_HEADER_BYTES if first == page == 0 else 0)
        fixed = _TREE_PAGES.get(data[head])
        if fixed is None:
            continue
        cells, content = _COUNTS.unpack_from(data, head + 3)
        start, end = head + fixed + 2 * cells, page + (content or 65536)
        if start < end <= page + size and data[start:end] != zeros[: end - start] and _is_sound(data, head, page, size):
            found.append((first * size + start, end - start))
    return found


def _is_sound(data: bytes, head: int, page: int, size: int) -> bool:
    """Whether a page is what its first byte says: all of its cells and free blocks lie behind its unallocated part."""
    free, cells, content = struct.unpack_from(">HHH", data, head + 1)
    content = content or 65536
    pointers = struct.unpack_from(f">{cells}H", data, head + _TREE_PAGES[data[head]])
    return all(content <= at < size for at in (*pointers, *((free,) if free else ())))
