"""A webhook that takes nothing for long: its owner is mailed once, by a real mail server, and told while it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from metrion.alerts import webhooks
from metrion.alerts.courier import PAUSES_MS
from metrion.alerts.failing import LONG_TRIES, Failing, failing_webhooks
from metrion.alerts.webhooks import LONGEST_MS
from metrion.storage import webhooks as stored
from metrion.storage.database import Connection
from metrion.storage.tables import accounts, deliveries, outbox
from metrion.storage.webhooks import Webhook
from tests.alerts.post_room import URL, PostRoom
from tests.alerts.receiver import OK, Receiver, answer
from tests.mail_server import MailServer, text_of

pytestmark = pytest.mark.anyio
OWNER = "1@b.c"
BROKEN = answer(500, b"words of its own")
QUICK = (20,)
NEVER = (LONGEST_MS + 1000,)  # given up after the first try


@pytest.fixture(params=[("asyncio", {"use_uvloop": True})], ids=["uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The loop that the server runs on."""
    return request.param


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def heard(mail: MailServer) -> EmailMessage:
    return await asyncio.to_thread(mail.wait_for, OWNER)


async def failing(room: PostRoom) -> list[Failing]:
    return await room.change(lambda connection: failing_webhooks(connection, 1))


async def letters(room: PostRoom, mail: MailServer) -> int:
    """How many came, with those on their way."""
    async with asyncio.timeout(10):
        while True:
            if await room.change(lambda connection: connection.execute(select(outbox)).first()) is None:
                return len(mail.letters())
            await asyncio.sleep(0.01)


async def try_once(room: PostRoom, receiver: Receiver, hook: Webhook, said: bytes) -> Any:
    """A delivery, and what came of it."""
    receiver.answers = [said]
    await room.send(hook)
    return await room.ended(hook)


def test_long_is_more_than_an_hour() -> None:
    assert sum(PAUSES_MS[: LONG_TRIES - 1]) == 4_870_000  # milliseconds: 81 minutes


async def test_its_owner_is_mailed_once_until_it_takes_something(
    tmp_path: Path, receiver: Receiver, mail: MailServer
) -> None:
    async with PostRoom(tmp_path, pauses_ms=NEVER, mail_url=mail.url) as room:
        hook, good = await room.add(receiver.origin), await room.add(receiver.origin)
        await try_once(room, receiver, good, OK)
        assert await failing(room) == []
        await try_once(room, receiver, hook, BROKEN)
        letter = await heard(mail)
        await try_once(room, receiver, hook, BROKEN)
        (one,) = await failing(room)
        assert (one.webhook.id, one.said) == (hook.id, "It answers 500")
        await try_once(room, receiver, hook, OK)
        assert await failing(room) == []
        await try_once(room, receiver, hook, BROKEN)
        assert await letters(room, mail) == 2  # it fails anew
    assert letter["Subject"] == f"Signed JSON at 127.0.0.1:{receiver.port} does not take your alerts"
    text = text_of(letter)
    assert f"{URL}/settings/alerts/webhooks/{hook.id}" in text
    assert "It answers 500" in text
    assert "words of its own" not in text  # which whoever answers has chosen


async def test_one_that_is_still_tried_is_told_of_after_an_hour(
    tmp_path: Path, receiver: Receiver, mail: MailServer
) -> None:
    receiver.answers = [BROKEN] * (LONG_TRIES - 1) + [OK]
    async with PostRoom(tmp_path, pauses_ms=QUICK, mail_url=mail.url) as room:
        hook = await room.add(receiver.origin)
        await room.send(hook)
        assert (await room.ended(hook)).tries == LONG_TRIES  # the last was taken
        assert await letters(room, mail) == 0
        receiver.answers = [BROKEN]
        await room.send(hook, hook)
        await heard(mail)
        await room.until(hook, lambda row: row.tries > LONG_TRIES)  # the later one, too: it is one webhook
        assert [one.webhook.id for one in await failing(room)] == [hook.id]
        receiver.answers = [OK]
        await room.ended(hook)
        assert await failing(room) == []
        assert await letters(room, mail) == 1


def turned_off(connection: Connection) -> None:
    stored.update_webhook(connection, 1, 1, disabled_ms=5)


def account_disabled(connection: Connection) -> None:
    connection.execute(update(accounts).values(disabled_ms=5))


@pytest.mark.parametrize("meanwhile", [turned_off, account_disabled])
async def test_nobody_is_told_of_one_that_is_off(
    tmp_path: Path, receiver: Receiver, mail: MailServer, meanwhile: Callable[[Connection], None]
) -> None:
    receiver.answers = [BROKEN]
    receiver.hold.clear()
    async with PostRoom(tmp_path, pauses_ms=NEVER, mail_url=mail.url) as room:
        hook = await room.add(receiver.origin)
        await room.send(hook)
        await asyncio.to_thread(receiver.wait_for, 1)
        await room.change(meanwhile)
        receiver.hold.set()
        await room.ended(hook)
        assert await letters(room, mail) == 0


async def test_what_was_never_tried_says_nothing_of_a_webhook(
    tmp_path: Path, receiver: Receiver, mail: MailServer
) -> None:
    async with PostRoom(tmp_path, pauses_ms=NEVER, mail_url=mail.url) as room:
        hook = await room.add(receiver.origin)
        await room.change(turned_off)
        await room.send(hook)
        await room.change(lambda connection: connection.execute(update(deliveries).values(until_ms=1)))
        await room.change(lambda connection: stored.update_webhook(connection, 1, hook.id, disabled_ms=None))
        room.courier.wake()
        assert (await room.ended(hook)).tries == 0
        assert await failing(room) == []
        assert await letters(room, mail) == 0
        await try_once(room, receiver, hook, BROKEN)
        await heard(mail)


async def test_what_was_sent_again_in_vain_is_told_of_again(
    tmp_path: Path, receiver: Receiver, mail: MailServer
) -> None:
    async with PostRoom(tmp_path, pauses_ms=NEVER, mail_url=mail.url) as room:
        hook = await room.add(receiver.origin)
        row = await try_once(room, receiver, hook, BROKEN)
        await heard(mail)
        receiver.answers = [BROKEN]
        assert await room.change(lambda connection: webhooks.send_again(connection, hook, row.id))
        assert await failing(room) == []
        room.courier.wake()
        await room.ended(hook)
        await heard(mail)
