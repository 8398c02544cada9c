"""What the journal holds and the database lacks, written before anything new is. Run under the data dir's lock."""

from __future__ import annotations

from pathlib import Path

import structlog

from metrion.accounts.deletion import who_is_gone
from metrion.call import Call
from metrion.config import Settings
from metrion.ledger.journal import segment_paths
from metrion.ledger.record import COMPLETION, records
from metrion.ledger.rewrite import drop_drafts
from metrion.ledger.writer import interrupted, write_apart, write_calls
from metrion.prices.catalog import PriceBook
from metrion.storage.database import Database

_BATCH = 1000
log = structlog.get_logger("metrion.ledger")


def recover(settings: Settings, database: Database) -> int:
    """Write the journal's calls that have no row, an intent without completion as `interrupted`; returns how many.

    Calls of an account that was deleted are dropped.
    """
    drop_drafts(settings.data_dir / "journal")
    segments = segment_paths(settings.data_dir / "journal")
    if not segments:
        return 0
    book = PriceBook.load(settings.own_prices)
    is_gone = who_is_gone(settings, database)
    found = 0
    open_calls: dict[bytes, Call] = {}
    ended: dict[bytes, Call] = {}  # a stream may have two completions, of which the second knows more
    for segment in segments:
        for kind, call in records(segment.read_bytes()):
            if is_gone(call.account_id):
                continue
            if kind != COMPLETION:
                open_calls[call.id] = call
                continue
            open_calls.pop(call.id, None)
            ended[call.id] = call
            if len(ended) >= _BATCH:
                found += _write(database, book, list(ended.values()))
                ended.clear()
    rest = [*ended.values(), *map(interrupted, open_calls.values())]
    for at in range(0, len(rest), _BATCH):
        found += _write(database, book, rest[at : at + _BATCH])
    _remove(segments, database)
    if found:
        log.warning("calls_recovered", calls=found, interrupted=len(open_calls))
    return found


def _write(database: Database, book: PriceBook, calls: list[Call]) -> int:
    try:
        return write_calls(database, book, calls, fresh=False)
    except Exception as problem:  # one of them, or the database: then this raises, and nothing is removed
        log.warning("calls_recovered_one_by_one", calls=len(calls), reason=str(problem))
        return write_apart(database, book, calls)


def _remove(segments: list[Path], database: Database) -> None:
    """Delete what is now on the disk elsewhere; else leave it, since writing it again changes nothing."""
    if database.checkpoint():
        for segment in segments:
            segment.unlink()
