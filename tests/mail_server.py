"""A real mail server on loopback for tests (aiosmtpd): takes letters, and misbehaves as told."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import Any, Self, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

OK = "250 OK"
Answer = Callable[[str, SMTP], Awaitable[str]]  # (address, the connection's protocol) → the answer


async def agree(address: str, connection: SMTP) -> str:
    """As a mail server should."""
    return OK


class MailServer:
    """Takes mail on a thread of its own: `with MailServer() as mail: … METRION_SMTP_URL=mail.url …`.

    `user`: "name:password" that must log in. `tls`: a context to offer STARTTLS with, or to speak at once (`smtps`).
    The answers `on_mail` (to a sender), `on_rcpt` (to an addressee) and `on_data` (to a letter, which is kept if the
    answer is 250) may be set at any time. After `stop`, `start` listens on the same port again.
    """

    def __init__(self, *, user: str = "", tls: ssl.SSLContext | None = None, smtps: bool = False) -> None:
        self.on_mail: Answer = agree
        self.on_rcpt: Answer = agree
        self.on_data: Answer = agree
        self.connections = 0
        self.logins: list[str] = []  # of each letter taken, who was logged in
        self.offered: list[EmailMessage] = []  # every letter that came whole, also one that was refused then
        self.port = 0
        self._user, self._tls, self._smtps = user, tls, smtps
        self._taken: list[tuple[str, EmailMessage]] = []
        self._read: set[int] = set()
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        """What METRION_SMTP_URL must be."""
        return f"smtp{'s' if self._smtps else ''}://{self._user + '@' if self._user else ''}127.0.0.1:{self.port}"

    def letters(self, to: str | None = None) -> list[EmailMessage]:
        """What was taken for `to` (or anybody), the oldest first."""
        with self._changed:
            return [letter for address, letter in self._taken if to in (None, address)]

    def wait_for(self, to: str, timeout: float = 10.0) -> EmailMessage:
        """The oldest letter to `to` that no call returned before; raises TimeoutError."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                for number, (address, letter) in enumerate(self._taken):
                    if address == to and number not in self._read:
                        self._read.add(number)
                        return letter
                if not self._changed.wait(max(end - time.monotonic(), 0)):
                    raise TimeoutError(f"no letter to {to}; there are {[address for address, _ in self._taken]}")

    @staticmethod
    def code_in(letter: EmailMessage) -> str:
        """The six digits of a letter's text."""
        found = re.search(r"^\s*(\d{6})\s*$", text_of(letter), re.MULTILINE)
        assert found, text_of(letter)
        return found[1]

    @staticmethod
    def link_in(letter: EmailMessage) -> str:
        """The first link that stands alone in a letter's text."""
        found = re.search(r"^(https?://\S+)$", text_of(letter), re.MULTILINE)
        assert found, text_of(letter)
        return found[1]

    # ── running ───────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Returns when it listens."""
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(ready)))
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        """Hang up on everybody and listen no more; letters are kept."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        server = await self._loop.create_server(
            self._connection, "127.0.0.1", self.port, ssl=self._tls if self._smtps else None
        )
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopping.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    def _connection(self) -> SMTP:
        self.connections += 1
        return SMTP(
            self,
            loop=self._loop,
            enable_SMTPUTF8=True,
            hostname="mail.test",
            tls_context=None if self._smtps else self._tls,
            auth_exclude_mechanism=() if self._user else ("LOGIN", "PLAIN"),
            auth_require_tls=self._tls is not None and not self._smtps,
            authenticator=self._authenticate,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ── what aiosmtpd asks ────────────────────────────────────────────────────────────────────────────────────────

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        known = isinstance(data, LoginPassword) and b"%b:%b" % (data.login, data.password) == self._user.encode()
        return AuthResult(success=known, handled=False, auth_data=data.login.decode() if known else None)

    async def handle_MAIL(  # noqa: N802 (aiosmtpd names it)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._user and not session.authenticated:
            return "530 5.7.0 log in first"
        answer = await self.on_mail(address, server)
        if answer.startswith("250"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self.on_rcpt(address, server)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        letter = message_from_bytes(content, policy=default)
        self.offered.append(letter)
        answer = await self.on_data(envelope.rcpt_tos[0], server)
        if answer.startswith("250"):
            with self._changed:
                self._taken += [(address, letter) for address in envelope.rcpt_tos]
                self.logins.append(session.auth_data or "")
                self._changed.notify_all()
        return answer


def text_of(letter: EmailMessage) -> str:
    """Its plain text."""
    return part_of(letter, "plain")


def part_of(letter: EmailMessage, subtype: str) -> str:
    """Its text of that kind: plain or html."""
    body = letter.get_body((subtype,))
    assert body is not None
    return cast(str, body.get_content()).replace("\r\n", "\n")
