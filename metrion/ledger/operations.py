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
from metrion.ledger.reprice import Scope, Step, step
from metrion.prices import rules
from metrion.prices.catalog import PriceBook
from metrion.prices.edit import add_price
from metrion.storage.database import Database

Operation = Callable[[Settings, Database, PriceBook, dict[str, Any]], dict[str, Any]]


class Asked(msgspec.Struct):
    """Steps of pricing again: `run_id` as the step before answered it, at first 0; at most `steps` of them."""

    scope: Scope
    reason: str
    run_id: int = 0
    steps: int = 1


def reload_prices(settings: Settings, database: Database, book: PriceBook, args: dict[str, Any]) -> dict[str, Any]:
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


def reprice(settings: Settings, database: Database, book: PriceBook, args: dict[str, Any]) -> dict[str, Any]:
    """`Asked` → `Step`, as built-in types."""
    try:
        asked = msgspec.convert(args, Asked)
    except msgspec.ValidationError as error:
        raise InputError(f"these rows cannot be priced again: {error}") from error
    done = Step(asked.scope.first, asked.run_id, [])
    for _ in range(asked.steps):
        if done.next is not None:
            scope = msgspec.structs.replace(asked.scope, first=done.next)
            one = step(database, book, scope, done.run_id, asked.reason)
            done = msgspec.structs.replace(one, changed=done.changed + one.changed)
    answer: dict[str, Any] = msgspec.to_builtins(done)
    return answer


OPERATIONS: dict[str, Operation] = {"reload_prices": reload_prices, "set_price": set_price, "reprice": reprice}
