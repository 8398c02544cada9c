"""Mail gets from the outbox to a real mail server, which behaves, and which does not."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiosmtpd.smtp import SMTP

from metrion.config import Settings
from metrion.kit import background
from metrion.kit.clock import now_ms
from metrion.mail.outbox import open_mail, post
from metrion.mail.sender import LONGEST_MS, PAUSES_MS
from metrion.storage import outbox as stored
from metrion.storage.database import Connection
from tests.mail.office import Office, changed, letter, notice, pending, settings_for
from tests.mail_server import OK, MailServer

pytestmark = pytest.mark.anyio
ANN, BEN, EVE = "ann@example.com", "ben@example.com", "eve@example.com"
QUICK = (20, 20, 20)


@pytest.fixture(params=[("asyncio", {"use_uvloop": True})], ids=["uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The loop that the server runs on."""
    return request.param


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, mail: MailServer) -> Settings:
    return settings_for(tmp_path, mail.url)


@pytest.fixture
async def office(settings: Settings) -> AsyncIterator[Office]:
    async with Office(settings) as office:
        yield office


@pytest.fixture
async def quick(settings: Settings) -> AsyncIterator[Office]:
    """The same with short pauses."""
    async with Office(settings, pauses_ms=QUICK) as office:
        yield office


# ── as it should be ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_posted_letter_arrives_at_once_and_leaves_the_outbox(office: Office, mail: MailServer) -> None:
    await office.post(letter(ANN))
    arrived = await asyncio.to_thread(mail.wait_for, ANN)  # long before the sender would look by itself
    assert mail.code_in(arrived) == "483920"
    assert arrived["Subject"] == "483920 is your Metrion code"
    assert arrived["From"] == "Metrion <metrion@metrion.example.com>"
    assert arrived["Message-ID"].endswith("@metrion.example.com>")
    assert arrived["Auto-Submitted"] == "auto-generated"
    await office.until_empty()


async def test_a_letter_of_a_change_that_failed_does_not_exist(office: Office, mail: MailServer) -> None:
    def fail(connection: Connection) -> None:
        post(connection, office.vault, 7, letter(ANN))
        raise LookupError("the change does not happen")

    with pytest.raises(LookupError):
        await office.change(fail)
    await office.post(letter(BEN))
    await asyncio.to_thread(mail.wait_for, BEN)
    assert mail.letters(ANN) == []


async def test_a_thousand_letters_go_over_one_connection_the_oldest_first(office: Office, mail: MailServer) -> None:
    await office.post(*(notice(f"p{number}@example.com") for number in range(1000)))
    worst, began = 0.0, time.monotonic()
    while len(mail.letters()) < 1000:
        asked = time.monotonic()
        await asyncio.sleep(0.005)
        worst = max(worst, time.monotonic() - asked)
        assert time.monotonic() - began < 60
    await office.until_empty()
    assert [message["To"] for message in mail.letters()] == [f"p{number}@example.com" for number in range(1000)]
    assert len({message["Message-ID"] for message in mail.letters()}) == 1000
    assert mail.connections == 1
    assert worst < 1  # the loop is never held up, though a mail server in this process competes with it


async def test_what_waits_in_the_outbox_is_sealed(office: Office, mail: MailServer) -> None:
    mail.on_rcpt = answer("450 4.2.1 later")
    await office.post(letter(ANN))
    await office.until(lambda rows: rows[0].tries == 1)
    (row,) = await office.waiting()
    assert ANN.encode() not in row.sealed
    assert b"483920" not in row.sealed
    posted = open_mail(office.vault, row)
    assert (posted.message.to, posted.message.kind) == (ANN, "login_code")
    for file in office.settings.data_dir.rglob("*"):
        assert not file.is_file() or b"483920" not in file.read_bytes()


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("refusal", ["450 4.2.1 mailbox busy", "452 4.3.1 no room", "451 try again later"])
@pytest.mark.parametrize("stage", ["on_rcpt", "on_data"])
async def test_what_fails_for_now_is_tried_again(quick: Office, mail: MailServer, stage: str, refusal: str) -> None:
    asked: list[str] = []

    async def refuse_twice(address: str, connection: SMTP) -> str:
        asked.append(address)
        return refusal if address == ANN and asked.count(ANN) <= 2 else OK

    setattr(mail, stage, refuse_twice)
    await quick.post(letter(ANN), letter(BEN))
    await quick.until_empty()
    assert asked == [ANN, BEN, ANN, ANN]  # one letter's trouble is not another's
    assert [message["To"] for message in mail.letters()] == [BEN, ANN]


@pytest.mark.parametrize("refusal", ["550 5.1.1 no such user", "553 what a name", "554 5.7.1 spam"])
@pytest.mark.parametrize("stage", ["on_rcpt", "on_data"])
async def test_what_fails_for_good_is_given_up(quick: Office, mail: MailServer, stage: str, refusal: str) -> None:
    async def refuse_ann(address: str, connection: SMTP) -> str:
        return f"{refusal} {ANN} 483920" if address == ANN else OK

    setattr(mail, stage, refuse_ann)
    with structlog.testing.capture_logs() as logs:
        await quick.post(letter(ANN), letter(BEN))
        await quick.until_empty()
    assert [message["To"] for message in mail.letters()] == [BEN]
    (given_up,) = (entry for entry in logs if entry["event"] == "mail_given_up")
    assert (given_up["kind"], given_up["to"]) == ("login_code", "a***@example.com")
    assert given_up["reason"] == "answer " + " ".join(part for part in refusal.split()[:2] if part[0].isdigit())
    assert not any(ANN in str(entry) or "483920" in str(entry) for entry in logs)


async def test_a_server_that_refuses_the_sender_loses_no_mail(quick: Office, mail: MailServer) -> None:
    """It is the operator's to correct, so nobody's letter is given up for it."""
    refused = 0

    async def refuse(address: str, connection: SMTP) -> str:
        nonlocal refused
        refused += 1
        return OK if refused > 3 else "550 5.7.1 not your sender address"

    mail.on_mail = refuse
    await quick.post(letter(ANN), letter(BEN))
    await quick.until_empty()
    assert sorted(message["To"] for message in mail.letters()) == [ANN, BEN]


async def test_pauses_grow_and_after_two_days_a_letter_is_given_up(settings: Settings, mail: MailServer) -> None:
    mail.on_rcpt = answer("450 4.2.1 later")
    async with Office(settings) as office:
        before = now_ms()
        await office.post(notice(ANN))
        for tries, pause in enumerate([*PAUSES_MS, PAUSES_MS[-1]], 1):
            await office.until(lambda rows, tries=tries: rows[0].tries == tries)  # type: ignore[misc]
            assert before + pause <= await due_ms(office) <= now_ms() + pause
            if tries <= len(PAUSES_MS):
                before = now_ms()
                await office.change(lambda connection: set_mail(connection, next_ms=now_ms()))
                office.sender.wake()
        long_ago = now_ms() - LONGEST_MS
        with structlog.testing.capture_logs() as logs:
            await office.change(lambda connection: set_mail(connection, created_ms=long_ago, next_ms=now_ms()))
            office.sender.wake()
            await office.until_empty()
    assert [entry["reason"] for entry in logs] == ["answer 450 4.2.1"]


@pytest.mark.parametrize(("left_ms", "sent"), [(60_000, True), (-1, False)])
async def test_a_code_that_expired_meanwhile_is_not_sent(
    office: Office, mail: MailServer, left_ms: int, sent: bool
) -> None:
    await office.post(letter(ANN, at_ms=now_ms() - 600_000 + left_ms), letter(BEN))
    await office.until_empty()
    assert [message["To"] for message in mail.letters()] == ([ANN, BEN] if sent else [BEN])


async def test_a_letter_that_does_not_open_is_given_up_and_holds_up_nobody(office: Office, mail: MailServer) -> None:
    def add(connection: Connection) -> None:
        post(connection, office.vault, 7, letter(ANN))
        set_mail(connection, account_id=8)  # a row of another account's

    await office.change(add)
    with structlog.testing.capture_logs() as logs:
        await office.post(letter(BEN))
        await office.until_empty()
    assert [message["To"] for message in mail.letters()] == [BEN]
    assert [entry["reason"] for entry in logs if entry["event"] == "mail_given_up"] == ["does not open"]


# ── trouble on the way ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_server_that_is_down_for_a_while(settings: Settings, mail: MailServer) -> None:
    mail.stop()
    async with Office(settings, pauses_ms=(200, 200)) as office:
        with structlog.testing.capture_logs() as logs:
            await office.post(letter(ANN), notice(BEN))
            await office.until(lambda rows: min(row.tries for row in rows) > 0)
        assert {(entry["event"], entry["reason"]) for entry in logs} == {("mail_server_fails", "Connection refused")}
        mail.start()
        await office.until_empty()
    assert sorted(message["To"] for message in mail.letters()) == [ANN, BEN]


async def test_a_server_that_closes_with_421(quick: Office, mail: MailServer) -> None:
    asked = 0

    async def close_at_first(address: str, connection: SMTP) -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            connection.transport.close()  # type: ignore[union-attr]
            return "421 4.3.2 going down"
        return OK

    mail.on_rcpt = close_at_first
    await quick.post(letter(ANN), letter(BEN))
    await quick.until_empty()
    assert sorted(message["To"] for message in mail.letters()) == [ANN, BEN]
    assert mail.connections == 2


async def test_a_server_in_trouble_is_left_alone_for_a_moment(settings: Settings, mail: MailServer) -> None:
    """What stood behind the letter that met the trouble waits as well, but has not used up a try."""

    async def go_down(address: str, connection: SMTP) -> str:
        if address == EVE:
            return OK
        connection.transport.close()  # type: ignore[union-attr]
        return "421 4.3.2 going down"

    mail.on_rcpt = go_down
    async with Office(settings, pauses_ms=(60_000,)) as office:
        await office.post(notice(ANN), notice(BEN), notice(BEN))
        await office.until(lambda rows: [row.tries for row in rows] == [1, 0, 0])
        await office.post(notice(EVE))  # what was not there then is tried at once
        await asyncio.to_thread(mail.wait_for, EVE)
        await office.until(lambda rows: [row.tries for row in rows] == [1, 0, 0])
    assert mail.connections == 2


async def test_a_server_that_hangs_up_at_the_end_of_a_letter(quick: Office, mail: MailServer) -> None:
    """Whether it took the letter cannot be known: it gets it again, under the same Message-ID."""

    async def hang_up_at_first(address: str, connection: SMTP) -> str:
        if len(mail.offered) == 1:
            connection.transport.abort()  # type: ignore[union-attr]
        return OK

    mail.on_data = hang_up_at_first
    await quick.post(letter(ANN), letter(BEN))
    await quick.until_empty()
    offered = Counter(message["Message-ID"] for message in mail.offered)
    assert sorted(offered.values()) == [1, 2]
    assert mail.connections == 2


@pytest.mark.parametrize("greeting", [b"", b"220 ready\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"554 not you\r\n"])
async def test_a_server_that_says_nothing_or_nonsense(tmp_path: Path, greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"smtp://127.0.0.1:{listener.getsockname()[1]}"
        async with Office(settings_for(tmp_path, url), seconds=0.2) as office:
            await office.post(letter(ANN))
            loop = asyncio.get_running_loop()
            connection, _ = await loop.sock_accept(listener)
            await loop.sock_sendall(connection, greeting)
            await office.until(lambda rows: [row.tries for row in rows] == [1])
            connection.close()


async def test_the_server_stops_at_once_while_another_one_is_silent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"smtp://127.0.0.1:{listener.getsockname()[1]}"
        async with Office(settings_for(tmp_path, url)) as office:
            await office.post(letter(ANN))
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            began = time.monotonic()
            await office.sender.stop()
            assert time.monotonic() - began < 2
            connection.close()
    assert pending(office.settings) == 1


async def test_stopping_lets_the_letter_on_the_wire_arrive(settings: Settings, mail: MailServer) -> None:
    async def take_a_while(address: str, connection: SMTP) -> str:
        await asyncio.sleep(0.5)
        return OK

    mail.on_data = take_a_while
    async with Office(settings) as office:
        await office.post(letter(ANN), letter(BEN))
        await asyncio.to_thread(wait_until, lambda: len(mail.offered) == 1)
    assert [message["To"] for message in mail.letters()] == [ANN]
    assert pending(settings) == 1
    async with Office(settings) as office:
        await office.until_empty()
    assert [message["To"] for message in mail.letters()] == [ANN, BEN]


async def test_a_database_that_cannot_be_read_does_not_end_the_sender(
    settings: Settings, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSES", (0.05,))
    async with Office(settings) as office:
        with structlog.testing.capture_logs() as logs:
            await office.change(lambda connection: rename(connection, "outbox", "elsewhere"))
            office.sender.wake()
            await asyncio.to_thread(wait_until, lambda: len(logs) >= 2)
        assert {entry["event"] for entry in logs} == {"mail_not_sent"}
        assert "no such table: outbox" in logs[0]["reason"]
        await office.change(lambda connection: rename(connection, "elsewhere", "outbox"))
        await office.post(letter(ANN))
        await asyncio.to_thread(mail.wait_for, ANN)


async def test_a_database_that_takes_nothing_doubles_no_mail(office: Office, mail: MailServer) -> None:
    await office.change(lambda connection: post(connection, office.vault, 7, letter(ANN)))
    other = sqlite3.connect(office.database.path, isolation_level=None)
    raw = office.database.connection.connection.dbapi_connection
    raw.execute("PRAGMA busy_timeout=20")  # type: ignore[union-attr]
    other.execute("BEGIN IMMEDIATE")
    with structlog.testing.capture_logs() as logs:
        office.sender.wake()
        await asyncio.to_thread(wait_until, lambda: any(one["event"] == "outbox_not_written" for one in logs))
        other.execute("ROLLBACK")
        await office.until_empty()
    other.close()
    assert len(mail.offered) == 1


# ── after the end ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_is_lost_or_doubled_by_a_restart(settings: Settings, mail: MailServer) -> None:
    people = [f"p{number}@example.com" for number in range(100)]
    async with Office(settings, running=False) as office:
        await office.post(*map(notice, people))
    for _ in range(3):
        async with Office(settings) as office:
            taken = len(mail.letters())
            await asyncio.to_thread(wait_until, lambda taken=taken: len(mail.letters()) > taken + 5)
    async with Office(settings) as office:
        await office.until_empty()
    assert [message["To"] for message in mail.letters()] == people


async def test_with_mail_off_nothing_is_sent_and_the_log_says_so(settings: Settings, mail: MailServer) -> None:
    with structlog.testing.capture_logs() as logs:
        async with Office(changed(settings, "")) as office:
            await office.post(letter(ANN))
    assert [entry["event"] for entry in logs] == ["mail_off"]
    assert mail.connections == 0
    assert pending(settings) == 1


# ── helpers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(text: str) -> Any:
    async def say(address: str, connection: SMTP) -> str:
        return text

    return say


def set_mail(connection: Connection, **values: int) -> None:
    assignments = ", ".join(f"{name} = {value}" for name, value in values.items())
    connection.exec_driver_sql(f"UPDATE outbox SET {assignments}")  # noqa: S608


def rename(connection: Connection, old: str, new: str) -> None:
    connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


async def due_ms(office: Office) -> int:
    def look() -> int:
        with office.reader.connect() as connection:
            return stored.next_mail_ms(connection) or 0

    return await asyncio.to_thread(look)


def wait_until(true: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)
