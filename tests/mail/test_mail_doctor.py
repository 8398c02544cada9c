"""`metrion doctor` about mail: whether it could be sent, and where a test mail goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metrion.__main__ import app
from metrion.accounts.vault import open_vault
from metrion.config import Settings
from metrion.kit.clock import now_ms
from metrion.mail.letters import Letters, Occasion
from metrion.mail.outbox import post
from metrion.storage.database import Database, migrate, open_writer
from tests.mail_server import MailServer
from tests.support import PROVIDERS

TO = "ann@example.com"
Doctor = Callable[..., list[str]]


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer(user="me:hunter2") as server:
        yield server


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """What `metrion doctor` says of mail, with a mail server at `url`."""

    def run(url: str, *arguments: str, more: Mapping[str, str] | None = None) -> list[str]:
        # Providers' origins lead nowhere, quickly: this is about mail.
        nowhere = {f"METRION_UPSTREAM_{name.upper()}": "http://127.0.0.1:1" for name in PROVIDERS}
        settings = {"METRION_DATA_DIR": str(tmp_path), "METRION_SMTP_URL": url, **nowhere, **(more or {})}
        done = CliRunner().invoke(app, ["doctor", *arguments], env=settings)
        assert "hunter2" not in done.output
        lines = [line for line in done.stdout.splitlines() if line[6:].startswith(("mail:", "test mail:"))]
        assert done.exit_code == (1 if any(line.startswith("FAIL") for line in lines) else 0)
        return lines

    return run


def test_a_mail_server_that_works(doctor: Doctor, mail: MailServer) -> None:
    where = mail.url.rpartition("@")[2]
    sender = {"METRION_MAIL_FROM": "Costs <costs@example.com>"}
    assert doctor(mail.url, more=sender) == [
        f"OK    mail: {where} answers (not encrypted) and would take mail from Costs <costs@example.com>"
    ]
    assert mail.letters() == []


def test_mail_that_is_off(doctor: Doctor) -> None:
    assert doctor("") == ["OK    mail: off: METRION_SMTP_URL is not set, so nobody is mailed"]
    assert doctor("", "--mail-to", TO)[1:] == ["FAIL  test mail: mail is off; set METRION_SMTP_URL"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (("hunter2", "wrong"), "the log-in is refused, answer 535 5.7.8"),
        (("smtp:", "smtps:"), "TLS fails: wrong version number"),
        (("127.0.0.1", "127.1"), "it offers no encryption (STARTTLS)"),
    ],
)
def test_a_mail_server_that_does_not(doctor: Doctor, mail: MailServer, spoil: tuple[str, str], words: str) -> None:
    said = doctor(mail.url.replace(*spoil), "--mail-to", TO, more={"METRION_MAIL_FROM": "costs@example.com"})
    assert [line.partition(":")[0] for line in said] == ["WARN  mail", "FAIL  test mail"]
    assert all(f"({words})" in line for line in said)
    assert said[0].endswith("correct METRION_SMTP_URL")


def test_nobody_there(doctor: Doctor) -> None:
    assert doctor("smtp://127.0.0.1:1") == [
        "WARN  mail: 127.0.0.1:1 fails (Connection refused); correct METRION_SMTP_URL"
    ]


def test_a_sender_that_other_servers_refuse(doctor: Doctor, mail: MailServer) -> None:
    elsewhere = mail.url.replace("127.0.0.1", "127.1")
    assert doctor(elsewhere)[1] == (
        "WARN  mail: other servers refuse mail from Metrion <metrion@localhost>; set METRION_MAIL_FROM"
    )
    assert len(doctor(mail.url)) == 1  # a server on this machine may know what to do with it


def test_a_test_mail(doctor: Doctor, mail: MailServer) -> None:
    said = doctor(mail.url, "--mail-to", TO, more={"METRION_PUBLIC_URL": "https://metrion.example.com"})
    assert said[1] == f"OK    test mail: the mail server took it; see whether it arrives at {TO}"
    arrived = mail.wait_for(TO)
    assert arrived["Subject"] == "Mail from Metrion at metrion.example.com works"
    assert arrived["From"] == "Metrion <metrion@metrion.example.com>"


def test_a_test_mail_to_what_is_no_address(doctor: Doctor, mail: MailServer) -> None:
    assert doctor(mail.url, "--mail-to", "ann")[1] == "FAIL  test mail: 'ann' is not an e-mail address"


@pytest.mark.parametrize(("age_ms", "lines"), [(30_000, 1), (90_000, 2)])
def test_mail_that_does_not_leave(doctor: Doctor, mail: MailServer, tmp_path: Path, age_ms: int, lines: int) -> None:
    database = outbox(tmp_path)
    with database.begin() as connection:
        connection.exec_driver_sql(f"UPDATE outbox SET created_ms = {now_ms() - age_ms}")  # noqa: S608
    assert len(doctor(mail.url)) == lines
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE outbox SET problem = 'answer 450', created_ms = 0")
    database.close()
    assert doctor(mail.url)[1] == (
        "WARN  mail: 1 not sent yet, the oldest from 1970-01-01T00:00:00.000Z; what went wrong: answer 450"
    )


def outbox(data_dir: Path) -> Database:
    """A database with one mail in it."""
    settings = Settings(data_dir=data_dir)
    database = open_writer(settings)
    migrate(database)
    vault = open_vault(settings, database)
    letter = Letters(settings.origin).password_changed(TO, Occasion(now_ms()))
    with database.begin() as connection:
        post(connection, vault, 7, letter)
    return database
