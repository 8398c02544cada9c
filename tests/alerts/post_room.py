"""A courier as the server has it, with everything it works on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from metrion.accounts.vault import open_vault
from metrion.alerts import webhooks
from metrion.alerts.addresses import resolve
from metrion.alerts.bodies import trial_news
from metrion.alerts.courier import LEASE_MS, PAUSES_MS, Courier
from metrion.alerts.failing import Failures
from metrion.alerts.post import SECONDS, Poster
from metrion.alerts.resolver import Resolve
from metrion.config import Settings
from metrion.kit.clock import now_ms
from metrion.kit.secrets import Secret
from metrion.ledger.journal import Journal
from metrion.ledger.writer import Writer
from metrion.mail.outbox import mail_on
from metrion.mail.sender import Sender
from metrion.prices.catalog import PriceBook
from metrion.storage import accounts
from metrion.storage import webhooks as stored
from metrion.storage.database import Connection, Database, migrate, open_reader, open_writer
from metrion.storage.webhooks import Webhook

T = TypeVar("T")
URL = "https://metrion.example.com"


class PostRoom:
    """Database, writer and courier on the running loop, and account 1: `async with PostRoom(folder) as room`."""

    def __init__(
        self,
        folder: Path,
        *,
        private: bool = True,
        pauses_ms: Sequence[int] = PAUSES_MS,
        lease_ms: int = LEASE_MS,
        seconds: float = SECONDS,
        resolve: Resolve = resolve,
        mail_url: str = "",
    ) -> None:
        self.settings = Settings(data_dir=folder, public_url=URL, smtp_url=Secret(mail_url))
        self._poster: Callable[[], Poster] = lambda: Poster(allow_private=private, seconds=seconds, resolve=resolve)
        self._pauses_ms, self._lease_ms = pauses_ms, lease_ms

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.database = open_writer(self.settings)
        migrate(self.database)
        self.vault = open_vault(self.settings, self.database)
        with self.database.begin() as connection:
            if not accounts.list_accounts(connection, None):
                accounts.add_account(connection, "1@b.c", "pro", now_ms())
        self._journal = Journal(self.settings.data_dir / "journal", loop)
        self.writer = Writer(self.database, PriceBook([]), self._journal, loop)
        self.writer.start()
        self.reader = open_reader(self.settings)
        self.sender = Sender(self.settings, self.vault, open_reader(self.settings), self.writer.run)
        self.sender.start()
        self.courier = self.new_courier()
        self.courier.start()
        return self

    def new_courier(self) -> Courier:
        reader = open_reader(self.settings)
        failures = Failures(self.vault, URL, self.sender.wake) if mail_on(self.settings) else None
        pauses_ms, lease_ms = self._pauses_ms, self._lease_ms
        return Courier(
            self.vault,
            reader,
            self.writer.run,
            self._poster(),
            failures=failures,
            pauses_ms=pauses_ms,
            lease_ms=lease_ms,
        )

    async def __aexit__(self, *_: object) -> None:
        await self.courier.stop()
        await self.sender.stop()
        await asyncio.to_thread(self.writer.stop)
        self._journal.close(rows_durable=self.writer.sync())
        self.reader.dispose()
        self.database.close()

    async def change(self, act: Callable[[Connection], T]) -> T:
        def job(database: Database) -> T:
            with database.begin() as connection:
                return act(connection)

        return await self.writer.run(job)

    async def add(self, url: str, *, kind: str = "signed", account_id: int = 1) -> Webhook:
        """A webhook, whatever its address is."""

        def act(connection: Connection) -> Webhook:
            number = webhooks.add(connection, self.vault, account_id, kind=kind, name="", url=url, allow_private=True)
            webhook = stored.find_webhook(connection, account_id, number)
            assert webhook is not None
            return webhook

        return await self.change(act)

    async def send(self, *hooks: Webhook) -> None:
        """A test to each of them."""

        def act(connection: Connection) -> None:
            for webhook in hooks:
                webhooks.put_down(connection, webhook, trial_news(now_ms(), URL))

        await self.change(act)
        self.courier.wake()

    async def log(self, webhook: Webhook) -> Sequence[Any]:
        """Its deliveries, the latest first."""

        def look() -> Sequence[Any]:
            with self.reader.connect() as connection:
                return stored.deliveries_of(connection, webhook.account_id, webhook.id, 1000)

        return await asyncio.to_thread(look)

    async def until(self, webhook: Webhook, true_of: Callable[[Any], bool], seconds: float = 10.0) -> Any:
        """Its latest delivery, once it is as described; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                rows = await self.log(webhook)
                if rows and true_of(rows[0]):
                    return rows[0]
                await asyncio.sleep(0.01)

    async def ended(self, webhook: Webhook, seconds: float = 10.0) -> Any:
        """Its latest delivery, once it is delivered or given up."""
        return await self.until(webhook, lambda row: row.next_ms is None, seconds)
