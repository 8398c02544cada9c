"""Rewriting closed journal segments without the records of accounts that are gone; all others stay byte for byte.

A segment is written anew beside itself, synced, and put in its place, so that a crash leaves the one or the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from metrion.ledger.record import frames

_DRAFT = ".rewritten"


def write_without(segment: Path, is_gone: Callable[[int], bool]) -> Path | None:
    """The segment anew, in a file beside it; None where it holds nothing of theirs, or is gone itself.

    A damaged end, behind which nothing can be told apart, stays as it is.
    """
    try:
        data = segment.read_bytes()
    except FileNotFoundError:
        return None
    kept, read, dropped = [], 0, False
    for record, _, call in frames(data):
        read += len(record)
        if call is not None and is_gone(call.account_id):
            dropped = True
        else:
            kept.append(record)
    if not dropped:
        return None
    draft = segment.with_name(segment.name + _DRAFT)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as out:
        out.writelines((*kept, data[read:]))
        out.flush()
        os.fsync(file)
    return draft


def put_in_place(draft: Path, segment: Path) -> None:
    """Let the draft be the segment, unless that was deleted meanwhile; on the thread that deletes segments."""
    if not segment.exists():
        draft.unlink()
        return
    draft.replace(segment)
    sync_folder(segment.parent)


def drop_drafts(folder: Path) -> None:
    """Delete drafts that a process left which was killed."""
    for draft in folder.glob(f"*{_DRAFT}"):
        draft.unlink()


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
