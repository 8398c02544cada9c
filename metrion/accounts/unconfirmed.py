"""Addresses that nobody confirmed: accounts that never came to life go after two weeks, by a task of the server.

Anybody may type anybody's address into the form for signing up, and nobody is to be kept for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

import structlog

from metrion.accounts.deletion import begin_deletion
from metrion.accounts.vault import Vault
from metrion.kit.background import Background
from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage.accounts import never_confirmed
from metrion.storage.database import Connection

T = TypeVar("T")
KEPT_MS = 14 * DAY_MS
_LOOK_SECONDS = 3600.0
_AT_ONCE = 100  # accounts of a look
log = structlog.get_logger("metrion.accounts")


class Change(Protocol):
    """Runs `act` in one write transaction, then makes account `of` (0: none) effective at once."""

    def __call__(self, act: Callable[[Connection], T], of: int) -> Awaitable[T]: ...


class Unconfirmed(Background):
    """Deletes them one after the other, between the writer's batches; the caretaker erases them."""

    def __init__(self, vault: Vault, change: Change) -> None:
        super().__init__("unconfirmed", failed="unconfirmed_not_deleted")
        self._vault = vault
        self._change = change

    async def work(self) -> float:
        """Delete those of a look."""
        before_ms = now_ms() - KEPT_MS
        found = await self._change(lambda connection: never_confirmed(connection, before_ms, _AT_ONCE), of=0)
        for account_id in found:
            await self._change(partial(self._delete, account_id=account_id, before_ms=before_ms), of=account_id)
        if found:
            log.info("unconfirmed_deleted", accounts=len(found))
        return 0 if len(found) == _AT_ONCE else _LOOK_SECONDS

    def _delete(self, connection: Connection, account_id: int, before_ms: int) -> None:
        if never_confirmed(connection, before_ms, 1, account_id):  # still
            begin_deletion(connection, self._vault, account_id)
