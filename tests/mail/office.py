"""A sender as the server has it, with everything it works on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import msgspec

from metrion.accounts.vault import open_vault
from metrion.config import Settings
from metrion.kit.clock import now_ms
from metrion.kit.secrets import Secret
from metrion.ledger.journal import Journal
from metrion.ledger.writer import Writer
from metrion.mail.letters import Letters, Occasion
from metrion.mail.message import Message
from metrion.mail.outbox import post
from metrion.mail.sender import PAUSES_MS, Sender
from metrion.prices.catalog import PriceBook
from metrion.storage.database import Connection, Database, migrate, open_reader, open_writer
from metrion.storage.outbox import StoredMail, due_mail

LETTERS = Letters("https://metrion.example.com")
LAST_MS = 2**53  # a time after every other


def settings_for(data_dir: Path, url: str) -> Settings:
    return Settings(data_dir=data_dir, public_url="https://metrion.example.com", smtp_url=Secret(url))


def letter(to: str, *, at_ms: int | None = None) -> Message:
    """A code's letter, posted `at_ms` (now unless told)."""
    return LETTERS.login_code(to, "483920", Occasion(at_ms or now_ms()))


def notice(to: str) -> Message:
    """A letter that holds for ever."""
    return LETTERS.password_changed(to, Occasion(now_ms()))


class Office:
    """Database, writer and sender on the running loop: `async with Office(settings) as office`."""

    def __init__(
        self, settings: Settings, *, pauses_ms: Sequence[int] = PAUSES_MS, seconds: float = 30.0, running: bool = True
    ) -> None:
        self.settings = settings
        self._pauses_ms, self._seconds = pauses_ms, seconds
        self._running = running

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.database = open_writer(self.settings)
        migrate(self.database)
        self.vault = open_vault(self.settings, self.database)
        self._journal = Journal(self.settings.data_dir / "journal", loop)
        self.writer = Writer(self.database, PriceBook([]), self._journal, loop)
        self.writer.start()
        self.reader = open_reader(self.settings)
        self.sender = Sender(
            self.settings,
            self.vault,
            self.reader,
            self.writer.run,
            pauses_ms=self._pauses_ms,
            seconds=self._seconds,
        )
        if self._running:
            self.sender.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sender.stop()
        await asyncio.to_thread(self.writer.stop)
        self._journal.close(rows_durable=self.writer.sync())
        self.database.close()

    async def post(self, *messages: Message, account_id: int = 7) -> None:
        """As a page does: in one transaction, then wake the sender."""

        def job(connection: Connection) -> None:
            for message in messages:
                post(connection, self.vault, account_id, message)

        await self.change(job)
        self.sender.wake()

    async def change(self, act: Callable[[Connection], None]) -> None:
        def job(database: Database) -> None:
            with database.begin() as connection:
                act(connection)

        await self.writer.run(job)

    async def waiting(self) -> Sequence[StoredMail]:
        """What is in the outbox, due or not."""

        def look() -> Sequence[StoredMail]:
            with self.reader.connect() as connection:
                return due_mail(connection, LAST_MS, 10_000)

        return await asyncio.to_thread(look)

    async def until_empty(self, seconds: float = 10.0) -> None:
        await self.until(lambda rows: not rows, seconds)

    async def until(self, true_of: Callable[[Sequence[StoredMail]], bool], seconds: float = 10.0) -> None:
        """Until the outbox is as described; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not true_of(await self.waiting()):  # noqa: ASYNC110 (there is no event in the database)
                await asyncio.sleep(0.01)


def pending(settings: Settings) -> int:
    """How many mails are in the outbox of a Metrion that does not run."""
    database = open_writer(settings)
    try:
        with database.begin() as connection:
            return len(due_mail(connection, LAST_MS, 10_000))
    finally:
        database.close()


def changed(settings: Settings, url: str) -> Settings:
    return msgspec.structs.replace(settings, smtp_url=Secret(url))
