"""Deliveries get to real receivers, which behave, and which do not."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from metrion.alerts import webhooks
from metrion.alerts.courier import PAUSES_MS
from metrion.alerts.webhooks import LONGEST_MS
from metrion.kit.clock import DAY_MS
from metrion.storage import accounts
from metrion.storage import webhooks as stored
from tests.alerts.post_room import PostRoom
from tests.alerts.receiver import OK, Receiver, answer
from tests.support import free_port

pytestmark = pytest.mark.anyio
QUICK = (20, 20, 20)


@pytest.fixture(params=[("asyncio", {"use_uvloop": True})], ids=["uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The loop that the server runs on."""
    return request.param


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[PostRoom]:
    async with PostRoom(tmp_path, pauses_ms=QUICK, seconds=1.0) as room:
        yield room


async def received(receiver: Receiver, count: int = 1) -> list[Any]:
    return await asyncio.to_thread(receiver.wait_for, count)


# ── as it should be ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_delivery_is_signed_so_that_others_can_tell(room: PostRoom, receiver: Receiver) -> None:
    hook = await room.add(f"{receiver.origin}/hooks/metrion?team=a")
    await room.send(hook)
    (one,) = await received(receiver)
    row = await room.ended(hook)
    secret = webhooks.reveal(room.vault, 1, hook.sealed).secret.reveal()
    at, signature = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", one.headers["metrion-signature"]).groups()  # type: ignore[union-attr]
    assert hmac.new(secret, f"{at}.".encode() + one.body, hashlib.sha256).hexdigest() == signature
    assert abs(int(at) - time.time()) < 10
    assert one.target == "/hooks/metrion?team=a"
    assert one.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert one.headers["content-type"] == "application/json"
    assert one.headers["user-agent"].startswith("Metrion/")
    assert one.headers["metrion-delivery"] == one.json()["id"] == row.name
    assert one.json()["event"] == "webhook.test"
    assert (row.delivered, row.status, row.tries, row.problem) == (1, 200, 1, "")
    assert 0 <= row.took_ms < 1000


async def test_slack_gets_a_message_without_signature(room: PostRoom, receiver: Receiver) -> None:
    hook = await room.add(receiver.origin + "/services/T0/B0/x", kind="slack")
    await room.send(hook)
    (one,) = await received(receiver)
    assert "metrion-signature" not in one.headers
    assert set(one.json()) == {"text", "blocks"}
    assert one.json()["blocks"][0]["text"] == {"type": "plain_text", "text": "Test of a webhook", "emoji": False}


async def test_addresses_and_secrets_stand_nowhere_in_the_files(room: PostRoom, receiver: Receiver) -> None:
    hook = await room.add(f"{receiver.origin}/let-me-in-0123456789")
    await room.send(hook)
    await room.ended(hook)
    secret = webhooks.reveal(room.vault, 1, hook.sealed).secret.reveal()
    assert secret.startswith(b"whsec_")
    for file in room.settings.data_dir.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert b"let-me-in-0123456789" not in content
        assert secret not in content


# ── misbehaving receivers ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "status", "problem"),
    [
        (answer(500, b"boom \x00 <b>loud</b>"), 500, "boom <b>loud</b>"),
        (answer(404), 404, ""),
        (answer(302, b"", "location: http://127.0.0.1:1/"), 302, "It redirects, which is not followed"),
        (answer(400, b"x" * 5000), 400, "x" * 200),
        (b"", 0, "It hangs up, or what it answers is not HTTP"),
        (b"SSH-2.0-OpenSSH_9\r\n", 0, "It hangs up, or what it answers is not HTTP"),
    ],
    ids=["500", "404", "redirect", "much said", "hangs up", "no HTTP"],
)
async def test_what_is_not_taken_is_tried_again_as_it_was(
    room: PostRoom, receiver: Receiver, said: bytes, status: int, problem: str
) -> None:
    receiver.answers = [said, said, OK]
    hook = await room.add(receiver.origin)
    await room.send(hook)
    row = await room.until(hook, lambda row: row.tries >= 1)
    if not row.delivered:
        assert (row.status, row.problem[: len(problem)]) == (status, problem)
    row = await room.ended(hook)
    first, second, third = await received(receiver, 3)
    assert (row.delivered, row.tries, row.problem) == (1, 3, "")
    assert first.body == second.body == third.body
    assert len({one.headers["metrion-delivery"] for one in (first, second, third)}) == 1


async def test_an_endless_answer_is_not_read(room: PostRoom, receiver: Receiver) -> None:
    receiver.answers = [answer(500, b"y" * 50_000_000), OK]
    hook = await room.add(receiver.origin)
    await room.send(hook)
    assert (await room.ended(hook)).tries == 2
    assert receiver.sent < 20_000_000


async def test_a_silent_receiver_is_left_after_a_while_and_holds_up_nobody(room: PostRoom, receiver: Receiver) -> None:
    with Receiver() as silent:
        silent.hold.clear()
        slow, good = await room.add(silent.origin), await room.add(receiver.origin)
        began = time.monotonic()
        await room.send(slow, slow, good, good, good)
        await received(receiver, 3)
        assert time.monotonic() - began < 0.9  # a second is what the silent one gets
        row = await room.until(slow, lambda row: row.tries == 1, 5)
        assert row.problem == "No answer within 1 seconds"
        silent.hold.set()


async def test_a_receiver_that_is_not_there(room: PostRoom) -> None:
    hook = await room.add(f"http://127.0.0.1:{free_port()}")
    await room.send(hook)
    row = await room.until(hook, lambda row: row.tries == 2)
    assert (row.status, row.problem) == (0, "It cannot be reached")


async def test_a_webhook_is_sent_one_thing_at_a_time_the_oldest_first(room: PostRoom, receiver: Receiver) -> None:
    hook = await room.add(receiver.origin)
    await room.send(*[hook] * 20)
    await received(receiver, 20)
    rows = await room.log(hook)
    names = [one.headers["metrion-delivery"] for one in receiver.received]
    assert names == [row.name for row in reversed(rows)]


# ── giving up ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pauses_grow_and_make_about_a_day() -> None:
    assert list(PAUSES_MS) == sorted(PAUSES_MS)
    tries, at = 0, 0
    while at + PAUSES_MS[min(tries, len(PAUSES_MS) - 1)] <= LONGEST_MS:
        at += PAUSES_MS[min(tries, len(PAUSES_MS) - 1)]
        tries += 1
    assert (tries, at) == (12, 80_470_000)  # 22 hours


async def test_after_the_last_try_it_is_given_up_and_can_be_sent_again(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [answer(500), OK]
    async with PostRoom(tmp_path, pauses_ms=(LONGEST_MS + 1000,)) as room:
        hook = await room.add(receiver.origin)
        await room.send(hook)
        row = await room.ended(hook)
        assert (row.delivered, row.status, row.tries) == (0, 500, 1)
        assert await room.change(lambda connection: webhooks.send_again(connection, hook, row.id))
        assert not await room.change(lambda connection: webhooks.send_again(connection, hook, row.id))  # it waits
        room.courier.wake()
        again = await room.ended(hook)
        assert (again.delivered, again.name, again.tries, again.problem) == (1, row.name, 1, "")


async def test_what_waited_for_more_than_a_day_is_not_sent_late(tmp_path: Path, receiver: Receiver) -> None:
    async with PostRoom(tmp_path) as room:
        hook = await room.add(receiver.origin)
        await room.change(lambda connection: stored.update_webhook(connection, 1, hook.id, disabled_ms=5))
        await room.send(hook)
        await room.change(lambda connection: age(connection, LONGEST_MS + 1))
        await room.change(lambda connection: stored.update_webhook(connection, 1, hook.id, disabled_ms=None))
        room.courier.wake()
        assert (await room.ended(hook)).problem.startswith("It waited for too long")
    assert receiver.received == []


def age(connection: Any, by_ms: int) -> None:
    connection.exec_driver_sql("UPDATE deliveries SET created_ms=created_ms-?, until_ms=until_ms-?", (by_ms, by_ms))


async def test_nothing_is_sent_for_who_is_disabled_until_that_ends(room: PostRoom, receiver: Receiver) -> None:
    hook, off = await room.add(receiver.origin), await room.add(receiver.origin + "/off")
    await room.change(lambda connection: accounts.update_account(connection, 1, disabled_ms=5))
    await room.change(lambda connection: stored.update_webhook(connection, 1, off.id, disabled_ms=5))
    await room.send(hook, off)
    with room.reader.connect() as connection:
        assert stored.due_deliveries(connection, 1 << 60, [], 9) == []
        assert stored.next_delivery_ms(connection, []) is None
    await room.change(lambda connection: accounts.update_account(connection, 1, disabled_ms=None))
    room.courier.wake()
    await room.ended(hook)
    assert [one.target for one in receiver.received] == ["/"]


async def test_what_does_not_open_is_given_up(room: PostRoom, receiver: Receiver) -> None:
    hook = await room.add(receiver.origin)
    await room.change(lambda connection: stored.update_webhook(connection, 1, hook.id, sealed=b"\x01" + bytes(40)))
    await room.send(hook)
    assert "does not open" in (await room.ended(hook)).problem
    assert receiver.received == []


async def test_the_log_keeps_thirty_days(room: PostRoom, receiver: Receiver) -> None:
    hook = await room.add(receiver.origin)
    await room.send(hook)
    await room.ended(hook)
    await room.change(lambda connection: age(connection, 30 * DAY_MS - 5000))
    await room.send(hook)
    await room.until(hook, lambda row: row.id == 2 and row.delivered)
    assert len(await room.log(hook)) == 2
    await room.change(lambda connection: age(connection, 5001))
    await room.send(hook)
    assert [row.id for row in await room.log(hook)] == [3, 2]


# ── stops, kills, and two at once ─────────────────────────────────────────────────────────────────────────────────────


async def test_two_couriers_send_each_delivery_once(room: PostRoom, receiver: Receiver) -> None:
    other = room.new_courier()
    other.start()
    hooks = [await room.add(f"{receiver.origin}/{number}") for number in range(5)]
    for _ in range(6):
        await room.send(*hooks)
        other.wake()
    await received(receiver, 30)
    for hook in hooks:
        await room.ended(hook)
    await other.stop()
    assert len(receiver.received) == len({one.headers["metrion-delivery"] for one in receiver.received}) == 30


async def test_what_was_under_way_when_it_was_killed_is_sent_again_under_the_same_name(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with PostRoom(tmp_path, lease_ms=300) as room:
            hook = await room.add(receiver.origin)
            receiver.hold.clear()
            await room.send(hook)
            await received(receiver)
            room.courier._task.cancel()  # type: ignore[union-attr]  # as a kill: it settles nothing
            for task in list(room.courier._under_way.values()):
                task.cancel()
            receiver.hold.set()
            other = room.new_courier()
            other.start()
            first, second = await received(receiver, 2)
            assert (await room.ended(hook)).delivered
            await other.stop()
        assert first.headers["metrion-delivery"] == second.headers["metrion-delivery"]
        assert second.at - first.at > 0.2  # whoever had claimed it had its time
        assert len(receiver.received) == 2


async def test_what_is_under_way_when_it_is_stopped_may_end(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with PostRoom(tmp_path) as room:
            hook = await room.add(receiver.origin)
            receiver.hold.clear()
            await room.send(hook)
            await received(receiver)
            stopping = asyncio.create_task(room.courier.stop())
            await asyncio.sleep(0)
            receiver.hold.set()
            await stopping
            assert (await room.log(hook))[0].delivered


async def test_a_database_that_takes_nothing_has_nothing_sent_twice(room: PostRoom, receiver: Receiver) -> None:
    hook = await room.add(receiver.origin)
    receiver.hold.clear()
    await room.send(hook)
    await received(receiver)
    other = sqlite3.connect(room.settings.database_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    receiver.hold.set()
    await asyncio.sleep(0.3)
    other.execute("COMMIT")
    other.close()
    assert (await room.ended(hook, 20)).delivered
    assert len(receiver.received) == 1
