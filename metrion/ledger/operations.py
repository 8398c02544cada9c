"""What commands change in prices and costs: run by the server's writer, or by a command that holds the data directory.

Each gets the settings, the writing connection and the book that calls are priced by, and its arguments as they came
over the control socket; it answers with a dict, and raises MetrionError for what cannot be done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from metrion.config import Settings
from metrion.errors import InputError
from metrion.ledger.reprice import Scope, step
from metrion.prices import rules
from metrion.prices.catalog import PriceBook
from metrion.prices.edit import add_price
from metrion.storage.database import Database
from metrion.storage.pricing import Change

Operation = Callable[[Settings, Database, PriceBook, dict[str, Any]], dict[str, Any]]


class Repriced(msgspec.Struct):
    """What pricing a model's rows again changed. Money in nano-dollars; rows without a cost count apart."""

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


class RepriceArguments(msgspec.Struct, kw_only=True):
    """Which calls to price again; ids as hex, `after` that of the step before. Of one account; "" means any."""

    account_id: int
    after: str
    until: str
    provider: str
    model: str
    reason: str
    run_id: int
    dry_run: bool


def reload_prices(settings: Settings, _: Database, book: PriceBook, __: dict[str, Any]) -> dict[str, Any]:
    """{} → {file, prices}: price by the operator's file as it is now; it may be gone."""
    file = settings.own_prices
    own = [] if file is None else rules.read(file, rules.OPERATOR)
    book.replace([*rules.load(None), *own])
    return {"file": str(settings.prices_path), "prices": len(own)}


def set_price(settings: Settings, database: Database, book: PriceBook, args: dict[str, Any]) -> dict[str, Any]:
    """{entry} → {file, prices}: add an entry to the operator's file and price by it from now on."""
    try:
        entry = msgspec.convert(args.get("entry"), rules.Entry)
    except msgspec.ValidationError as error:
        raise InputError(f"this is no price: {error}") from error
    add_price(settings.prices_path, entry)
    return reload_prices(settings, database, book, {})


def reprice(_: Settings, database: Database, book: PriceBook, args: dict[str, Any]) -> dict[str, Any]:
    """RepriceArguments → {last, run_id, changed}: one step; `last` is None at the end, `changed` is by model."""
    try:
        asked = msgspec.convert(args, RepriceArguments)
        scope = Scope(
            asked.account_id, bytes.fromhex(asked.after), bytes.fromhex(asked.until), asked.provider, asked.model
        )
    except ValueError as error:  # msgspec's own is one
        raise InputError(f"these rows cannot be priced again: {error}") from error
    done = step(database, book, scope, asked.run_id, asked.reason, dry_run=asked.dry_run)
    return {
        "last": None if done.last is None else done.last.hex(),
        "run_id": done.run_id,
        "changed": msgspec.to_builtins(_by_model(done.changes)),
    }


def _by_model(changes: list[Change]) -> list[Repriced]:
    found: dict[tuple[str, str], Repriced] = {}
    for change in changes:
        key = (change.before.provider, change.before.model)
        old, new = change.before.cost_nano, change.new_nano
        found.setdefault(key, Repriced(*key)).add(
            Repriced(*key, 1, old or 0, new or 0, int(old is None), int(new is None))
        )
    return list(found.values())


OPERATIONS: dict[str, Operation] = {"reload_prices": reload_prices, "set_price": set_price, "reprice": reprice}
