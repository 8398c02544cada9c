"""Pricing rows again: a few in a step and a transaction, so that new calls are written in between.

A row whose cost and counts come out as they are is left alone. So a run that was stopped is simply run again, and one
that is run twice changes nothing. What providers reported stays: it is in the usage that is read again.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from metrion.kit.clock import now_ms
from metrion.ledger.price import estimated, price
from metrion.ledger.reread import call_of, is_guessed, usage_of
from metrion.ledger.totals import count
from metrion.prices.catalog import PriceBook
from metrion.prices.match import stands_for
from metrion.storage import pricing
from metrion.storage.database import Connection, Database
from metrion.storage.pricing import COST, COUNTS, SPLIT, Change
from metrion.storage.rows import COLUMNS, Row

STEP_ROWS = 200
_STEP_BYTES = 4 * 1024 * 1024  # of usage: the results of a batch are one row
_AT = {name: at for at, name in enumerate(COLUMNS)}
_COMPARED = [name for name in (*COUNTS, *COST) if name not in ("rare", "price_ref")]  # these two may be told otherwise


class Scope(msgspec.Struct, frozen=True):
    """One account's calls with ids from `first` to below `end`; of one provider or model where these are given."""

    account_id: int
    first: bytes
    end: bytes
    provider: str = ""
    model: str = ""

    def holds(self, row: Any) -> bool:
        if self.provider and row.provider != self.provider:
            return False
        return not self.model or stands_for(row.model, self.model) or stands_for(row.requested_model, self.model)


class Repriced(msgspec.Struct):
    """What pricing a model's rows again changes. Money in nano-dollars; rows without a cost are counted apart."""

    provider: str
    model: str
    rows: int = 0
    old_nano: int = 0
    new_nano: int = 0
    old_without: int = 0
    new_without: int = 0

    def add(self, other: Repriced) -> None:
        for name in ("rows", "old_nano", "new_nano", "old_without", "new_without"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Step(msgspec.Struct, frozen=True):
    """What one step did. `next` is the id to go on from, None at the end; `run_id` 0 until something has changed."""

    next: bytes | None
    run_id: int
    changed: list[Repriced]


def step(database: Database, book: PriceBook, scope: Scope, run_id: int, reason: str) -> Step:
    """Price the first rows of `scope` again, as a part of the run `run_id` (0: of a new one)."""
    with database.begin() as connection:
        changes, following = _changes(connection, book, scope)
        if changes:
            moment = now_ms()
            run_id = run_id or pricing.start_run(connection, moment, reason)
            pricing.replace_costs(connection, run_id, moment, changes)
            count(connection, [change.after for change in changes], [_row(change.before) for change in changes])
    return Step(following, run_id, _by_model(changes))


def rehearse(connection: Connection, book: PriceBook, scope: Scope) -> Step:
    """Say what `step` would do; `connection` need only read."""
    changes, following = _changes(connection, book, scope)
    connection.rollback()  # a reader that held on would keep the WAL from being checkpointed
    return Step(following, 0, _by_model(changes))


def _changes(connection: Connection, book: PriceBook, scope: Scope) -> tuple[list[Change], bytes | None]:
    rows, following = _read(connection, scope)
    return [change for row in rows if scope.holds(row) if (change := _change(book, row)) is not None], following


def _read(connection: Connection, scope: Scope) -> tuple[list[Any], bytes | None]:
    rows: list[Any] = []
    size = 0
    for row in pricing.stored_calls(connection, scope.account_id, scope.first, scope.end, STEP_ROWS):
        rows.append(row)
        size += len(row.usage_raw or "")
        if len(rows) == STEP_ROWS or size >= _STEP_BYTES:
            return rows, (int.from_bytes(row.request_id, "big") + 1).to_bytes(16, "big")
    return rows, None


def _change(book: PriceBook, row: Any) -> Change | None:
    """What pricing a row again changes; None where nothing, and where there is no usage to price by."""
    guessed = is_guessed(row)
    if not guessed and row.usage_raw is None and row.rare is None:
        return None
    after = _guessed(book, row) if guessed else price(book, call_of(row))
    if all(getattr(row, name) == after[_AT[name]] for name in _COMPARED):
        return None
    before = {name: getattr(row, name) for name in COUNTS if getattr(row, name) != after[_AT[name]]}
    return Change(row, after, orjson.dumps(before).decode() if before else None)


def _guessed(book: PriceBook, row: Any) -> Row:
    """The row of guessed usage with today's price of it."""
    cost = estimated(book.cost(row.provider, row.model, usage_of(row), row.started_ms))
    after = dict(zip(COLUMNS, _row(row), strict=True))
    after |= dict(zip((*COST, *SPLIT), (*cost[:3], *cost.split), strict=True))
    return tuple(after.values())


def _by_model(changes: list[Change]) -> list[Repriced]:
    found: dict[tuple[str, str], Repriced] = {}
    for change in changes:
        key = (change.before.provider, change.before.model)
        old, new = change.before.cost_nano, change.new_nano
        found.setdefault(key, Repriced(*key)).add(
            Repriced(*key, 1, old or 0, new or 0, int(old is None), int(new is None))
        )
    return list(found.values())


def _row(stored: Any) -> Row:
    return tuple(getattr(stored, name) for name in COLUMNS)
