"""A real server ends while it sends mail: nothing is lost, and nothing is doubled but what is in doubt."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP

from metrion.accounts.vault import open_vault
from metrion.config import Settings
from metrion.mail.outbox import post
from metrion.storage.database import migrate, open_writer
from tests.mail.office import notice, pending
from tests.mail_server import OK, MailServer
from tests.support import Metrion

KILLS = 4
PEOPLE = [f"p{number}@example.com" for number in range(40)]


@pytest.mark.parametrize("end", [Metrion.kill, Metrion.stop])
def test_nothing_is_lost_or_doubled_but_what_is_in_doubt(tmp_path: Path, end: Callable[[Metrion], object]) -> None:
    data_dir = tmp_path / "data"
    settings = Settings(data_dir=data_dir)
    fill(settings)
    asked: list[str] = []

    async def consider(address: str, connection: SMTP) -> str:
        asked.append(address)
        await asyncio.sleep(0.02)  # so that the end comes before the letter left
        return OK

    async def read(address: str, connection: SMTP) -> str:
        await asyncio.sleep(0.02)  # so that the end comes before the letter is taken, as the sender sees it
        return OK

    with MailServer() as mail:
        mail.on_rcpt, mail.on_data = consider, read
        server = Metrion(data_dir, {}, {"METRION_SMTP_URL": mail.url, "METRION_PUBLIC_URL": "https://m.example.com"})
        for seen in (asked, mail.offered) * (KILLS // 2):
            server.start()
            least = len(mail.offered) + 4
            until(lambda seen=seen, least=least: len(seen) >= least)  # type: ignore[misc]
            end(server)
        server.start()
        until(lambda: len({letter["To"] for letter in mail.letters()}) == len(PEOPLE))
        server.stop()
    assert pending(settings) == 0
    sent = Counter(letter["Message-ID"] for letter in mail.offered)
    assert len(sent) == len(PEOPLE)
    doubled = sum(sent.values()) - len(sent)
    assert 0 < doubled <= KILLS if end is Metrion.kill else doubled == 0
    log = server.log.read_text()
    assert "mail_sent" in log
    assert not any(person in log for person in PEOPLE)


def fill(settings: Settings) -> None:
    """An outbox as a server that was killed left it."""
    settings.data_dir.mkdir(mode=0o700)
    database = open_writer(settings)
    migrate(database)
    vault = open_vault(settings, database)
    with database.begin() as connection:
        for person in PEOPLE:
            post(connection, vault, 7, notice(person))
    database.close()


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)
