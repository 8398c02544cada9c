"""How a mail server is reached: encrypted, certified, logged in; and what is said where it is not."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from aiosmtplib import errors

from metrion.config import Settings
from metrion.kit.secrets import Secret
from metrion.mail.letters import Letters
from metrion.mail.server import PROBLEMS, explain, judge, new_connection, sender_of, server_of
from metrion.mail.trial import send_now, try_server
from tests.mail.certificates import make_certificate
from tests.mail_server import MailServer

pytestmark = pytest.mark.anyio
TO = "ann@example.com"
USER = "me%40example.com:p%2Fw%3A1"
TEST = Letters("https://metrion.example.com").test(TO)
Trust = Callable[..., ssl.SSLContext]


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trust:
    """A server's context with a certificate of those names, trusted here."""

    def make(*names: str) -> ssl.SSLContext:
        authority, context = make_certificate(tmp_path, *names)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        return context

    return make


async def fails(settings: Settings) -> str:
    """Why a letter cannot be sent."""
    with pytest.raises(PROBLEMS) as caught:
        await send_now(settings, TEST, 2)
    return explain(caught.value)


def at(url: str) -> Settings:
    return Settings(smtp_url=Secret(url), public_url="https://metrion.example.com")


# ── encryption ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_starttls_and_log_in(trust: Trust) -> None:
    with MailServer(user="me@example.com:p/w:1", tls=trust("127.0.0.1")) as mail:
        settings = at(mail.url.replace("me@example.com:p/w:1", USER))
        assert await try_server(settings, 5) == "TLSv1.3"
        await send_now(settings, TEST, 5)
    assert mail.logins == ["me@example.com"]
    assert mail.letters(TO)[0]["Subject"] == "Mail from Metrion at metrion.example.com works"


async def test_smtps_and_log_in(trust: Trust) -> None:
    with MailServer(user="me:pw", tls=trust("127.0.0.1"), smtps=True) as mail:
        assert await try_server(at(mail.url), 5) == "TLSv1.3"
        await send_now(at(mail.url), TEST, 5)
    assert mail.logins == ["me"]


@pytest.mark.parametrize("smtps", [False, True])
async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, smtps: bool) -> None:
    _, context = make_certificate(tmp_path, "127.0.0.1")
    with MailServer(user="me:pw", tls=context, smtps=smtps) as mail:
        assert await fails(at(mail.url)) == "its certificate does not verify: self-signed certificate"
    assert mail.offered == []


@pytest.mark.parametrize("smtps", [False, True])
async def test_another_hosts_certificate_is_refused(trust: Trust, smtps: bool) -> None:
    with MailServer(tls=trust("mail.example.com", "127.0.0.2"), smtps=smtps) as mail:
        assert (await fails(at(mail.url))).startswith("its certificate does not verify: IP address mismatch")


async def test_without_encryption_only_within_this_machine() -> None:
    with MailServer() as mail:
        assert await try_server(at(mail.url), 5) == "not encrypted"
        await send_now(at(mail.url), TEST, 5)
        elsewhere = mail.url.replace("127.0.0.1", "127.1")  # the same server by a name that does not tell so
        assert await fails(at(elsewhere)) == "it offers no encryption (STARTTLS)"
    assert len(mail.offered) == 1


async def test_elsewhere_starttls_is_used(trust: Trust) -> None:
    with MailServer(tls=trust("127.1")) as mail:
        assert await try_server(at(mail.url.replace("127.0.0.1", "127.1")), 5) == "TLSv1.3"


# ── log-in ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_wrong_password() -> None:
    with MailServer(user="me:pw") as mail:
        assert await fails(at(mail.url.replace("me:pw", "me:wrong"))) == "the log-in is refused, answer 535 5.7.8"


async def test_a_log_in_that_is_not_given() -> None:
    with MailServer(user="me:pw") as mail:
        assert await fails(at(mail.url.replace("me:pw@", ""))) == "answer 530 5.7.0"


async def test_a_log_in_that_is_not_asked_for() -> None:
    with MailServer() as mail:
        assert await fails(at(mail.url.replace("//", "//me:pw@"))) == "it offers no way to log in that is known here"


# ── words and verdicts ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "host", "port", "secure"),
    [
        ("smtp://mail.example.com", "mail.example.com", 587, False),
        ("smtps://mail.example.com", "mail.example.com", 465, True),
        ("smtp://u:p@mail.example.com:25/", "mail.example.com", 25, False),
        ("smtp://u:p@[::1]:2525", "::1", 2525, False),
    ],
)
async def test_the_server_a_url_names(url: str, host: str, port: int, secure: bool) -> None:
    assert server_of(at(url)) == (host, port, secure)


@pytest.mark.parametrize(
    ("settings", "sender"),
    [
        (Settings(public_url="https://metrion.example.com"), "Metrion <metrion@metrion.example.com>"),
        (Settings(public_url="https://metrion.example.com:8443"), "Metrion <metrion@metrion.example.com>"),
        (Settings(public_url="https://192.0.2.1"), "Metrion <metrion@localhost>"),
        (Settings(public_url="http://[2001:db8::a]"), "Metrion <metrion@localhost>"),
        (Settings(), "Metrion <metrion@localhost>"),
        (Settings(mail_from="Costs <m@example.com>"), "Costs <m@example.com>"),
        (Settings(mail_from="m@example.com"), "m@example.com"),
    ],
)
async def test_who_mail_comes_from(settings: Settings, sender: str) -> None:
    assert str(sender_of(settings)) == sender


async def test_it_greets_by_its_public_name() -> None:
    assert new_connection(at("smtp://mail.example.com"), 1).local_hostname == "metrion.example.com"


@pytest.mark.parametrize(
    ("problem", "verdict", "words"),
    [
        (errors.SMTPDataError(450, "4.2.1 ann@example.com is busy"), "for now", "answer 450 4.2.1"),
        (errors.SMTPDataError(499, ""), "for now", "answer 499"),
        (errors.SMTPDataError(500, "what"), "for good", "answer 500"),
        (errors.SMTPDataError(421, "4.3.2 bye"), "connection", "answer 421 4.3.2"),
        (errors.SMTPDataError(399, "odd"), "connection", "answer 399"),
        (errors.SMTPResponseException(-1, "HTTP/1.1 400"), "connection", "what it answers is not SMTP"),
        (
            errors.SMTPRecipientsRefused([errors.SMTPRecipientRefused(550, "5.1.1 no ann@example.com", TO)]),
            "for good",
            "answer 550 5.1.1",
        ),
        (errors.SMTPRecipientsRefused([errors.SMTPRecipientRefused(421, "", TO)]), "connection", "answer 421"),
        (errors.SMTPSenderRefused(451, "4.7.1", "m@x"), "for now", "answer 451 4.7.1"),
        (errors.SMTPSenderRefused(550, "5.7.1", "m@x"), "connection", "answer 550 5.7.1"),
        (errors.SMTPReadTimeoutError("ann"), "connection", "no answer in time"),
        (ValueError("Address 'ann@example.com' contains …"), "for good", "it cannot be sent as it is"),
        (errors.SMTPServerDisconnected("x"), "connection", "it hangs up"),
        (errors.SMTPException("The SMTP AUTH extension is not …"), "connection", "it offers no log-in"),
        (ConnectionRefusedError(111, "Connect call failed ('::1', 25)"), "connection", "Connection refused"),
        (OSError(-2, "Name or service not known"), "connection", "Name or service not known"),
    ],
)
async def test_what_a_problem_means(problem: Exception, verdict: str, words: str) -> None:
    assert (judge(problem), explain(problem)) == (verdict, words)
