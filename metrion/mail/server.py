"""Server: the mail server that METRION_SMTP_URL names, the sender's own address, and what went wrong in plain words.

smtp://    TLS by STARTTLS, which must be offered unless the server is on this machine, where it is taken if offered
smtps://   TLS from the first byte

Certificates are always checked, against the system's store or the one that SSL_CERT_FILE names.
"""

from __future__ import annotations

import os
import re
import ssl
from email.headerregistry import Address
from typing import Literal
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from metrion.config import Settings, is_loopback
from metrion.kit.mailbox import parse_mailbox

# RuntimeError: uvloop's for a connection that closed just now. ValueError: for what could not be a line of SMTP.
PROBLEMS = (SMTPException, OSError, RuntimeError, ValueError)
SECONDS = 30.0  # for each answer of the server
_CLOSING = 421
_OFFERS_NOT = {  # aiosmtplib's words, up to "extension"
    "SMTP STARTTLS": "it offers no encryption (STARTTLS)",
    "The SMTP AUTH": "it offers no log-in",
    "No suitable authentication method found.": "it offers no way to log in that is known here",
}
_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")  # RFC 3463


def sender_of(settings: Settings) -> Address:
    """METRION_MAIL_FROM, or Metrion <metrion@ and the public host's name>."""
    return parse_mailbox(settings.mail_from) if settings.mail_from else Address("Metrion", "metrion", _name(settings))


def _name(settings: Settings) -> str:
    """The public host's name; localhost where it has none but an address."""
    host = urlsplit(settings.public_url).hostname or settings.host
    return host if re.search(r"[a-z]", host.rpartition(".")[2]) and ":" not in host else "localhost"


def server_of(settings: Settings) -> tuple[str, int, bool]:
    """Host, port, and whether TLS is spoken from the first byte."""
    url = urlsplit(settings.smtp_url.reveal().decode())
    secure = url.scheme == "smtps"
    return url.hostname or "", url.port or (465 if secure else 587), secure


def new_connection(settings: Settings, seconds: float) -> SMTP:
    """A client that is not connected yet; `connect` also encrypts and logs in. What it raises is one of PROBLEMS."""
    url = urlsplit(settings.smtp_url.reveal().decode())
    host, port, secure = server_of(settings)
    return SMTP(
        hostname=host,
        port=port,
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password or "") if url.username else None,
        use_tls=secure,
        start_tls=False if secure else None if is_loopback(host) else True,
        local_hostname=_name(settings),
        timeout=seconds,
    )


def judge(problem: BaseException) -> Literal["for now", "for good", "connection"]:
    """Whether a mail that failed may be tried again, or whether the failure is not the mail's but the connection's.

    A server that refuses the sender's address refuses every mail, until an operator corrects the one or the other.
    """
    if isinstance(problem, SMTPRecipientsRefused):
        problem = problem.recipients[0]
    if isinstance(problem, SMTPSenderRefused) and problem.code != _CLOSING:
        return "for now" if problem.code < 500 else "connection"
    if isinstance(problem, SMTPResponseException):
        return "for good" if problem.code >= 500 else "for now" if 400 <= problem.code != _CLOSING else "connection"
    return "for good" if isinstance(problem, ValueError) else "connection"


def explain(problem: BaseException) -> str:
    """A problem in a few words, without the server's own: they may repeat addresses and content."""
    if isinstance(problem, SMTPRecipientsRefused):
        problem = problem.recipients[0]
    if isinstance(problem, SMTPAuthenticationError):
        return f"the log-in is refused, {_answer(problem)}"
    if isinstance(problem, SMTPResponseException):
        return _answer(problem) if problem.code > 0 else "what it answers is not SMTP"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate does not verify: {problem.verify_message}"
    if isinstance(problem, ssl.SSLError):
        return f"TLS fails: {(problem.reason or 'unknown reason').lower().replace('_', ' ')}"
    if isinstance(problem, SMTPServerDisconnected):
        return "it hangs up"
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, ValueError):
        return "it cannot be sent as it is"
    if problem.__cause__ is not None:
        return explain(problem.__cause__)
    if isinstance(problem, OSError) and problem.errno:  # asyncio's own words repeat the address
        return os.strerror(problem.errno) if problem.errno > 0 else problem.strerror or "no such host"
    return _OFFERS_NOT.get(str(problem).partition(" extension")[0], str(problem) or type(problem).__name__)


def _answer(problem: SMTPResponseException) -> str:
    detail = _ENHANCED.match(problem.message)
    return f"answer {problem.code}{' ' + detail[1] if detail else ''}"
