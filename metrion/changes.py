"""Changes of accounts, and who must know before anybody is told: calls, the month, and whoever tidies up or pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from metrion.accounts.registry import Registry
from metrion.ledger.writer import Writer
from metrion.proxy.admit import Admission
from metrion.storage.accounts import list_accounts
from metrion.storage.database import Connection, Database

T = TypeVar("T")


class Changes:
    """Runs them on the writer's thread. Each of `wakes` is called after a change of an account."""

    def __init__(self, writer: Writer, registry: Registry, admission: Admission, *wakes: Callable[[], None]) -> None:
        self._writer = writer
        self._registry = registry
        self._admission = admission
        self._wakes = list(wakes)

    def tell(self, wake: Callable[[], None]) -> None:
        """From now on, call this one too."""
        self._wakes.append(wake)

    async def make(self, act: Callable[[Connection], T], of: int | Callable[[T], int]) -> T:
        """Run `act` in one transaction; `of`: the account it changed (0: none), or what tells it from the result."""

        def job(database: Database) -> tuple[T, int, int]:
            with database.begin() as connection:
                result = act(connection)
            account_id = of if isinstance(of, int) else of(result)
            return result, account_id, self._reload(database, account_id) if account_id else 0

        result, account_id, free_since_ms = await self._writer.run(job)
        if account_id:
            self._admission.count_from(account_id, free_since_ms)
            for wake in self._wakes:
                wake()
        return result

    def _reload(self, database: Database, account_id: int) -> int:
        """Make what is stored of an account effective for its next call; returns since when it is free, or 0."""
        with database.begin() as connection:
            self._registry.reload_account(connection, account_id)
            rows = list_accounts(connection, account_id)
        return rows[0].free_since_ms or 0 if rows else 0
