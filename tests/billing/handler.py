"""A process that handles webhooks as a server does, beside others on the same database: one line of input an event.

    python -m tests.billing.handler DATA_DIR STRIPE_ORIGIN SEED

No server does that today, for one has the data directory to itself. A line that says "end" has it handle what is left.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from metrion.accounts.vault import open_vault
from metrion.billing.clerk import Clerk
from metrion.billing.desk import Desk
from metrion.billing.stripe import Stripe
from metrion.billing.webhooks import Inbox
from metrion.config import Settings
from metrion.kit.clock import now_ms
from metrion.kit.secrets import Secret
from metrion.storage import billing as stored
from metrion.storage.database import Connection, Database, open_reader, open_writer
from tests.billing.stripe_fake import KEY, PRICE, WEBHOOK_SECRET, sign

T = TypeVar("T")
TOGETHER = 4  # deliveries under way at once


class Handler:
    """What a server has of billing, with a database connection of its own."""

    def __init__(self, settings: Settings, database: Database, rng: random.Random) -> None:
        self._database = database
        self._one = asyncio.Lock()
        self._rng = rng
        vault = open_vault(settings, database)
        desk = Desk(settings, vault, Stripe(settings), "http://127.0.0.1", open_reader(settings), self._change)
        self._desk = desk
        self._inbox = Inbox(desk, Clerk(desk))

    async def _change(self, act: Callable[[Connection], T], of: int) -> T:
        def work() -> T:
            with self._database.begin() as connection:
                return act(connection)

        async with self._one:
            return await asyncio.to_thread(work)

    async def receive(self, event: dict[str, object]) -> None:
        assert await self._inbox.receive(*sign(event))
        if self._rng.random() < 0.5:
            await self._inbox.handle_due()

    async def handle_all(self) -> None:
        """Also what failed before and waits."""
        while await self._desk.read(stored.next_event_ms) is not None:
            await self._change(lambda connection: stored.hurry(connection, now_ms()), of=0)
            await self._inbox.handle_due()

    def close(self) -> None:
        self._desk.close()


async def main(data_dir: Path, origin: str, seed: int) -> None:
    settings = Settings(
        data_dir=data_dir,
        stripe_secret_key=Secret(KEY),
        stripe_webhook_secret=Secret(WEBHOOK_SECRET),
        stripe_price_id=PRICE,
        stripe_api_origin=origin,
        smtp_url=Secret("smtp://127.0.0.1:9"),  # letters stay in the outbox
    )
    database = open_writer(settings)
    with closing(database), closing(Handler(settings, database, random.Random(seed))) as handler:
        under_way: set[asyncio.Task[None]] = set()
        while (line := (await asyncio.to_thread(sys.stdin.readline)).strip()) and line != "end":
            under_way.add(asyncio.create_task(handler.receive(json.loads(line))))
            if len(under_way) >= TOGETHER:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
        await asyncio.gather(*under_way)
        await handler.handle_all()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
