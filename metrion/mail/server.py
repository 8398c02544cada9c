"""Server: the mail server that METRION_SMTP_URL names, the sender's own address, and what went wrong in plain words.

smtp://    TLS by STARTTLS, which must be offered unless the server is on this machine, where it is taken if offered
smtps://   TLS from the first byte

Certificates are always checked, against the system's store or the one that SSL_CERT_FILE names.
"""

from __future__ import annotations

import re
import ssl
from email.headerregistry import Address
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPRecipientsRefused, SMTPResponseException

from metrion.config import Settings, is_loopback
from metrion.kit.mailbox import parse_mailbox

SECONDS = 30.0  # for each answer of the server
_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")  # RFC 3463


def sender_of(settings: Settings, public_url: str) -> Address:
    """METRION_MAIL_FROM, or metrion@ and the public host's name; localhost where that has none."""
    if settings.mail_from:
        return parse_mailbox(settings.mail_from)
    host = urlsplit(public_url).hostname or ""
    named = re.search(r"[a-z]", host.rpartition(".")[2]) and ":" not in host
    return Address("Metrion", "metrion", host if named else "localhost")


def server_of(settings: Settings) -> tuple[str, int, bool]:
    """Host, port, and whether TLS is spoken from the first byte."""
    url = urlsplit(settings.smtp_url.reveal().decode())
    secure = url.scheme == "smtps"
    return url.hostname or "", url.port or (465 if secure else 587), secure


def new_connection(settings: Settings, name: str, seconds: float = SECONDS) -> SMTP:
    """A client that is not connected yet; `connect` also encrypts and logs in. `name`: how it greets.

    It raises aiosmtplib's SMTPException, OSError or TimeoutError; `explain` puts them in words.
    """
    url = urlsplit(settings.smtp_url.reveal().decode())
    host, port, secure = server_of(settings)
    return SMTP(
        hostname=host,
        port=port,
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password or "") if url.username else None,
        use_tls=secure,
        start_tls=False if secure else None if is_loopback(host) else True,
        local_hostname=name,
        timeout=seconds,
    )


def answer_code(problem: BaseException) -> int:
    """The code of the server's answer that `problem` is about; 0 where there is none."""
    if isinstance(problem, SMTPRecipientsRefused):
        problem = problem.recipients[0]
    return problem.code if isinstance(problem, SMTPResponseException) and problem.code > 0 else 0


def explain(problem: BaseException) -> str:
    """A problem in a few words, without the server's own: they may repeat addresses and content."""
    if isinstance(problem, SMTPRecipientsRefused):
        problem = problem.recipients[0]
    if isinstance(problem, SMTPResponseException):
        detail = _ENHANCED.match(problem.message)
        return f"answer {problem.code}{' ' + detail[1] if detail else ''}" if problem.code > 0 else "not SMTP"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate does not verify: {problem.verify_message}"
    if isinstance(problem, ssl.SSLError):
        return f"TLS fails: {(problem.reason or 'unknown reason').lower().replace('_', ' ')}"
    if problem.__cause__ is not None:
        return explain(problem.__cause__)
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem) or type(problem).__name__
