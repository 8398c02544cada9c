"""Site: what every page works with. Made once, in app.py; tells pages nothing about sockets or threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from jinja2 import Environment

from metrion.accounts.limits import Limits
from metrion.accounts.passwords import Passwords
from metrion.accounts.vault import Vault
from metrion.alerts.engine import Engine as Alerts
from metrion.billing.service import Billing
from metrion.config import Settings
from metrion.mail.letters import Letters
from metrion.mail.message import Message
from metrion.mail.outbox import mail_on, post
from metrion.prices.chat import ChatModels
from metrion.rates.latest import LatestRates
from metrion.storage.database import Connection, Engine
from metrion.web.assets import Assets
from metrion.web.known import KnownNames

T = TypeVar("T")
_READERS = 4


class Change(Protocol):
    """Runs `act` in one transaction on the writing connection, then makes account `of` (0: none) effective at once."""

    def __call__(self, act: Callable[[Connection], T], of: int) -> Awaitable[T]: ...


class Site:
    """Settings, what is stored, and the rules that need memory."""

    def __init__(
        self,
        settings: Settings,
        vault: Vault,
        reader: Engine,
        change: Change,
        *,
        assets: Assets,
        templates: Environment,
        address: str,
        wake: Callable[[], None],
        billing: Billing | None,
        alerts: Alerts,
        month_used: Callable[[int], int],
        sandbox: bool = False,
    ) -> None:
        self.settings = settings
        self.vault = vault
        self.assets = assets
        self.templates = templates
        self.address = address  # how this process reaches its own listener
        self.public_url = settings.public_url or address
        self.sandbox = sandbox  # a demo: the providers are played, and any key is good
        self.secure = self.public_url.startswith("https://")
        self.mail_on = mail_on(settings)
        self.letters = Letters(self.public_url)
        self.billing = billing
        self.alerts = alerts
        self.month_used = month_used  # how many calls of this month count, of an account on the free plan
        self._wake = wake
        self.passwords = Passwords()
        self.limits = Limits()
        self.models = ChatModels(lambda: settings.own_prices)
        self.rates = LatestRates(settings.data_dir)
        self.known = KnownNames()
        self._reader = reader
        self._change = change
        self._threads = ThreadPoolExecutor(_READERS, "metrion-page")

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run `query` on a connection that only reads, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, query)

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self._reader.connect() as connection:
            return query(connection)

    async def change(self, act: Callable[[Connection], T], *, of: int = 0) -> T:
        """Run `act` in one write transaction: all of it or nothing. `of`: the account whose keys or state it changes.

        Mail and alerts that `act` posts leave at once. Raises what `act` raises.
        """
        result = await self._change(act, of)
        self._wake()
        return result

    async def reload(self, account_id: int) -> None:
        """Make what is stored of an account effective at once: one that was just made, for instance."""
        await self._change(lambda connection: None, account_id)

    def post(self, connection: Connection, account_id: int, message: Message) -> None:
        """Mail `message` if what the transaction changes is committed; nothing where mail is off."""
        if self.mail_on:
            post(connection, self.vault, account_id, message)

    def close(self) -> None:
        """End the threads and connections; no page is being made any more."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.passwords.close()
        self._reader.dispose()
