"""Courier: brings deliveries to webhooks, each webhook's one after the other, and many webhooks' at once.

A delivery is claimed before it is sent, by a conditional update that gives it to us for a moment (`LEASE_MS`), so that
of several processes one sends it. Whoever is killed meanwhile leaves it to the next once that moment is over, under the
same name: it is sent at least once, and a receiver knows by the name what it has already. What is not answered with 2xx
is tried again, with growing pauses, for about a day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from metrion.accounts.vault import Vault
from metrion.alerts.bodies import headers_of
from metrion.alerts.failing import Failures
from metrion.alerts.post import SECONDS, Answer, Poster
from metrion.alerts.webhooks import Target, reveal
from metrion.errors import StorageError, VaultError
from metrion.kit.background import Background
from metrion.kit.clock import now_ms
from metrion.kit.secrets import mask_credentials
from metrion.mail.sender import Write
from metrion.storage import webhooks as stored
from metrion.storage.database import Database, Engine
from metrion.storage.webhooks import Delivery, Outcome

PAUSES_MS = (10_000, 60_000, 300_000, 900_000, 3_600_000, 10_800_000)  # before each next try; the last again and again
LEASE_MS = round(SECONDS * 1000) + 5_000
_AT_ONCE = 32  # requests under way; an account has at most five webhooks
_LOOK_SECONDS = 30.0  # at most between two looks
_RETRY_SECONDS = 1.0  # for a database that takes nothing
_STOP_SECONDS = 3.0  # for what is on its way when we stop
log = structlog.get_logger("metrion.alerts")


class Courier(Background):
    """One task that looks, and one for each request, on the server's loop; reads in a thread, writes by the writer."""

    def __init__(
        self,
        vault: Vault,
        reader: Engine,
        write: Write,
        poster: Poster,
        *,
        failures: Failures | None = None,
        pauses_ms: Sequence[int] = PAUSES_MS,
        lease_ms: int = LEASE_MS,
    ) -> None:
        super().__init__("courier", failed="webhooks_not_sent")
        self._vault = vault
        self._reader = reader
        self._write = write
        self._poster = poster
        self._failures = failures  # None: mail is off
        self._pauses_ms = pauses_ms
        self._lease_ms = lease_ms
        self._under_way: dict[int, asyncio.Task[None]] = {}  # by webhook

    async def stop(self) -> None:
        """Begin nothing more; what is on its way gets a moment to be answered, the rest waits for the next start."""
        await super().stop()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way.values(), timeout=_STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._poster.close()
        self._reader.dispose()

    async def work(self) -> float:
        """Begin to send what is due; returns for how many seconds there is nothing more to begin."""
        busy, room = list(self._under_way), _AT_ONCE - len(self._under_way)
        if not room:
            return _LOOK_SECONDS  # whatever ends wakes us
        due, next_ms = await asyncio.to_thread(self._look, busy, room)
        for delivery in await self._claim(due) if due else ():
            task = asyncio.create_task(self._deliver(delivery))
            self._under_way[delivery.webhook_id] = task
            task.add_done_callback(lambda _, webhook_id=delivery.webhook_id: self._ended(webhook_id))  # type: ignore[misc]
        if due:
            return 0  # other webhooks may have something, too
        wait = _LOOK_SECONDS if next_ms is None else (next_ms - now_ms()) / 1000
        return min(max(wait, 0), _LOOK_SECONDS)

    def _ended(self, webhook_id: int) -> None:
        del self._under_way[webhook_id]
        self.wake()

    def _look(self, busy: Sequence[int], room: int) -> tuple[list[Delivery], int | None]:
        with self._reader.connect() as connection:
            return (
                stored.due_deliveries(connection, now_ms(), busy, room),
                stored.next_delivery_ms(connection, busy),
            )

    async def _claim(self, due: Sequence[Delivery]) -> list[Delivery]:
        return await self._write(lambda database: _claim(database, due, self._lease_ms))

    async def _deliver(self, delivery: Delivery) -> None:
        """Send it and remember what came of it, however long the database takes to take that."""
        outcome = await self._try(delivery)
        while True:
            try:
                mailed = await self._write(lambda database: self._settle(database, delivery, outcome))
                break
            except StorageError as problem:
                log.error("delivery_not_written", reason=str(problem), retry_in=_RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)
        if mailed and self._failures is not None:
            self._failures.wake()

    def _settle(self, database: Database, delivery: Delivery, outcome: Outcome) -> bool:
        """Whether a mail tells of it."""
        with database.begin() as connection:
            stored.settle_delivery(connection, delivery.account_id, delivery.id, outcome)
            return self._failures is not None and self._failures.settle(connection, delivery, outcome)

    async def _try(self, delivery: Delivery) -> Outcome:
        began = now_ms()
        if began > delivery.until_ms:  # its account or webhook was off, or we were
            return Outcome(None, began, 0, 0, False, "It waited for too long, and was not sent", tried=False)
        try:
            target = reveal(self._vault, delivery.account_id, delivery.sealed)
        except (VaultError, msgspec.DecodeError):
            return Outcome(None, began, 0, 0, False, "Its address does not open; enter it again")
        try:
            body = delivery.body.encode()
            headers = headers_of(delivery.kind, delivery.name, body, target.secret, began // 1000)
            answer = await self._poster.post(target.url.reveal().decode(), body, headers)
        except Exception as problem:  # a fault of ours must not have it sent for ever
            log.error("webhook_failed", why=type(problem).__name__, delivery=delivery.name)
            answer = Answer(0, now_ms() - began, "It could not be sent")
        outcome = self._judge(delivery, answer, target)
        log.info(
            "webhook_sent" if answer.ok else "webhook_given_up" if outcome.next_ms is None else "webhook_put_off",
            delivery=delivery.name,
            webhook_id=delivery.webhook_id,
            account_id=delivery.account_id,
            status=answer.status,
            tries=delivery.tries + 1,
            ms=answer.took_ms,
        )
        return outcome

    def _judge(self, delivery: Delivery, answer: Answer, target: Target) -> Outcome:
        now = now_ms()
        problem = mask_credentials(answer.problem, target.url, target.secret)
        after = now + self._pauses_ms[min(delivery.tries, len(self._pauses_ms) - 1)]
        over = answer.ok or answer.final or after > delivery.until_ms
        return Outcome(None if over else after, now - answer.took_ms, answer.took_ms, answer.status, answer.ok, problem)


def _claim(database: Database, due: Sequence[Delivery], lease_ms: int) -> list[Delivery]:
    now = now_ms()
    with database.begin() as connection:
        return [one for one in due if stored.claim_delivery(connection, one.account_id, one.id, now, lease_ms)]
