"""Desk: what all of billing works with. It tells the rest nothing about threads, connections or who else must know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

from metrion.accounts.vault import Vault
from metrion.config import Settings
from metrion.mail.letters import Letters
from metrion.mail.message import Message
from metrion.mail.outbox import mail_on, post
from metrion.storage.database import Connection, Engine

if TYPE_CHECKING:
    from metrion.billing.stripe import Stripe

T = TypeVar("T")
TOGETHER = 4  # questions to Stripe under way at once
PAUSES_MS = (10_000, 60_000, 600_000, 3_600_000)  # before each next try of what Stripe did not take; the last for ever


class Change(Protocol):
    """Runs `act` in one write transaction, then makes account `of` (0: none) effective at once."""

    def __call__(self, act: Callable[[Connection], T], of: int) -> Awaitable[T]: ...


class Desk:
    """Stripe, the database and the mail."""

    def __init__(
        self, settings: Settings, vault: Vault, stripe: Stripe, public_url: str, reader: Engine, change: Change
    ) -> None:
        self.settings = settings
        self.stripe = stripe
        self.change = change
        self.page = f"{public_url}/settings/billing"
        self.letters = Letters(public_url)
        self._vault = vault
        self._reader = reader
        self._threads = ThreadPoolExecutor(TOGETHER, "metrion-stripe")

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run `query` on a connection that only reads, off the event loop."""
        return await asyncio.to_thread(self._read, query)

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self._reader.connect() as connection:
            return query(connection)

    async def ask(self, question: Callable[[Stripe], T]) -> T:
        """Ask Stripe, off the event loop; raises BillingError."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, question, self.stripe)

    def post(self, connection: Connection, account_id: int, message: Message) -> None:
        """Mail `message` if what the transaction changes is committed; nothing where mail is off."""
        if mail_on(self.settings):
            post(connection, self._vault, account_id, message)

    def close(self) -> None:
        """Ask nothing more; a question under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._reader.dispose()


def pause_ms(tries: int) -> int:
    """How long to wait after so many tries that failed, and one more."""
    return PAUSES_MS[min(tries, len(PAUSES_MS) - 1)]
