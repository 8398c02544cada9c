"""Sender: takes mail from the outbox to the mail server, the oldest first, until the server has it.

A row goes when the server took its mail, so a mail is sent at least once; after a crash in between it is sent again,
under the same Message-ID. What fails for now waits, each mail its own pauses, at most 48 hours; what fails for good is
dropped. The log says so without addressee and content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

import msgspec
import structlog

from metrion.accounts.vault import Vault
from metrion.config import Settings
from metrion.errors import StorageError, VaultError
from metrion.kit.background import Background
from metrion.kit.clock import HOUR_MS, now_ms
from metrion.kit.mailbox import mask_address
from metrion.mail.message import Message, write_mail
from metrion.mail.outbox import Posted, mail_on, open_mail
from metrion.mail.server import PROBLEMS, SECONDS, explain, judge, new_connection, sender_of
from metrion.storage import outbox as stored
from metrion.storage.database import Database, Engine
from metrion.storage.outbox import StoredMail

T = TypeVar("T")
PAUSES_MS = (5_000, 30_000, 120_000, 600_000, 3_600_000)  # before each next try; the last one again and again
LONGEST_MS = 48 * HOUR_MS  # after which a mail is given up
_BATCH = 100
_LOOK_SECONDS = 60.0  # at most between two looks into the outbox
_RETRY_SECONDS = 1.0  # for a database that takes nothing
_STOP_SECONDS = 3.0  # for the mail that is on the wire when we stop
_QUIT_SECONDS = 2.0
log = structlog.get_logger("metrion.mail")


class Write(Protocol):
    """Runs a job with the writing connection: `Writer.run` of metrion.ledger."""

    def __call__(self, job: Callable[[Database], T]) -> Awaitable[T]: ...


class _Fate(NamedTuple):
    """What came of a mail: it is out of the outbox (`next_ms` None), or tried again then."""

    row: StoredMail
    next_ms: int | None
    tries: int = 0
    problem: str = ""


class Sender(Background):
    """One task on the server's loop; it reads in a thread and writes through the writer."""

    def __init__(
        self,
        settings: Settings,
        vault: Vault,
        reader: Engine,
        write: Write,
        *,
        pauses_ms: Sequence[int] = PAUSES_MS,
        seconds: float = SECONDS,
    ) -> None:
        super().__init__("mail", failed="mail_not_sent")
        self._on = mail_on(settings)
        self._vault = vault
        self._reader = reader
        self._write = write
        self._pauses_ms = pauses_ms
        self._from = sender_of(settings)
        self._client = new_connection(settings, seconds)
        self._wire = asyncio.Lock()  # held while a mail is on the wire, until its row says what came of it

    def start(self) -> None:
        """Begin, where mail is on; say so where it is off."""
        if self._on:
            super().start()
        else:
            log.info("mail_off", hint="nobody is mailed; METRION_SMTP_URL turns it on")

    async def stop(self) -> None:
        """Send no more; a mail that is on the wire gets a moment to arrive. The others wait for the next start."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS), self._wire:
                await super().stop()
        await super().stop()  # whatever is on the wire still
        self._reader.dispose()

    async def work(self) -> float:
        """Send all that is due; no connection is left open."""
        try:
            return await self._send_due()
        finally:
            self._client.close()

    async def _send_due(self) -> float:
        """Send all that is due, over one connection; returns for how many seconds there is nothing more to do."""
        due, next_ms = await asyncio.to_thread(self._look)
        while due:
            await self._send(due)
            due, next_ms = await asyncio.to_thread(self._look)
        if self._client.is_connected:
            with suppress(*PROBLEMS):
                await self._client.quit(timeout=_QUIT_SECONDS)
        wait = _LOOK_SECONDS if next_ms is None else (next_ms - now_ms()) / 1000
        return min(max(wait, 0), _LOOK_SECONDS)

    def _look(self) -> tuple[Sequence[StoredMail], int | None]:
        with self._reader.connect() as connection:
            next_ms = stored.next_mail_ms(connection)  # from here on nothing new is seen, so all that was posted is due
            return stored.due_mail(connection, now_ms(), _BATCH), next_ms

    async def _send(self, due: Sequence[StoredMail]) -> None:
        """Send these mails, or as many as the connection bears: each is out of the outbox then, or waits."""
        for at, row in enumerate(due):
            message, content = await asyncio.to_thread(self._write_out, row)
            if message is None or 0 < message.valid_until_ms <= now_ms():
                await self._settle([self._give_up(row, "out of date" if message else "does not open")])
                continue
            if not self._client.is_connected and (problem := await _problem(self._client.connect())):
                log.warning("mail_server_fails", reason=explain(problem), hint="see `metrion doctor`")
                await self._settle([self._put_off(one, explain(problem)) for one in due[at:]])
                return
            async with self._wire:
                problem = await _problem(self._client.sendmail(self._from.addr_spec, message.to, content))
                behind = due[at + 1 :] if problem and judge(problem) == "connection" else ()
                await self._settle([self._fate(row, message, problem), *map(self._wait_behind, behind)])
            if behind:
                return

    def _write_out(self, row: StoredMail) -> tuple[Message | None, bytes]:
        """A mail as it goes over the wire; None where it does not open."""
        posted = self._open(row)
        if posted is None:
            return None, b""
        mail = write_mail(posted.message, self._from, f"{posted.id}@{self._from.domain}", row.created_ms)
        return posted.message, mail.as_bytes()

    def _open(self, row: StoredMail) -> Posted | None:
        try:
            return open_mail(self._vault, row)
        except (VaultError, msgspec.DecodeError):
            return None

    def _fate(self, row: StoredMail, message: Message, problem: Exception | None) -> _Fate:
        if problem is None:
            log.info("mail_sent", kind=message.kind, to=mask_address(message.to), tries=row.tries + 1)
            return _Fate(row, None)
        if judge(problem) == "for good":
            return self._give_up(row, explain(problem))
        return self._put_off(row, explain(problem))

    def _put_off(self, row: StoredMail, reason: str) -> _Fate:
        now = now_ms()
        if now - row.created_ms >= LONGEST_MS:
            return self._give_up(row, reason)
        pause = self._pauses_ms[min(row.tries, len(self._pauses_ms) - 1)]
        return _Fate(row, now + pause, row.tries + 1, reason)

    def _wait_behind(self, row: StoredMail) -> _Fate:
        """What was not tried, because the connection broke before: a server in trouble is left alone for a moment."""
        return _Fate(row, now_ms() + self._pauses_ms[0], row.tries)

    def _give_up(self, row: StoredMail, reason: str) -> _Fate:
        posted = self._open(row)
        kind, to = (posted.message.kind, mask_address(posted.message.to)) if posted else ("", "")
        log.warning("mail_given_up", kind=kind, to=to, reason=reason, tries=row.tries, account_id=row.account_id)
        return _Fate(row, None)

    async def _settle(self, fates: Sequence[_Fate]) -> None:
        """Write what came of these mails, however long the database takes to take it: else they would be sent twice."""
        while True:
            try:
                await self._write(lambda database: _record(database, fates))
                return
            except StorageError as problem:
                log.error("outbox_not_written", reason=str(problem), retry_in=_RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)


async def _problem(doing: Awaitable[object]) -> Exception | None:
    """Do it; what went wrong with the mail server, if anything did."""
    try:
        await doing
    except PROBLEMS as problem:
        return problem
    return None


def _record(database: Database, fates: Sequence[_Fate]) -> None:
    with database.begin() as connection:
        for row, next_ms, tries, problem in fates:
            if next_ms is None:
                stored.delete_mail(connection, row.account_id, row.id)
            else:
                stored.postpone_mail(connection, row.account_id, row.id, next_ms, tries, problem)
