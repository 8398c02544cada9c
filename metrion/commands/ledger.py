"""How commands change prices and costs: through the running server, or here with a price book of their own."""

from __future__ import annotations

from typing import Any

from metrion.config import Settings
from metrion.control import perform
from metrion.ledger.operations import OPERATIONS
from metrion.prices.catalog import PriceBook
from metrion.storage.database import Database


class Ledger:
    """Performs the operations of `metrion.ledger.operations`; loads the book once, and only where no server runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._book: PriceBook | None = None

    @property
    def is_here(self) -> bool:
        """Whether this process has done something itself, since no server runs."""
        return self._book is not None

    def perform(self, operation: str, args: dict[str, Any], here_args: dict[str, Any] | None = None) -> dict[str, Any]:
        """The operation's answer; raises MetrionError. `here_args` are its arguments where no server runs."""

        def here(database: Database) -> dict[str, Any]:
            if self._book is None:
                self._book = PriceBook.load(self._settings.own_prices)
            return OPERATIONS[operation](self._settings, database, self._book, here_args or args)

        return perform(self._settings, operation, args, here)
