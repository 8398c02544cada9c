"""Message: a mail to one person, and how it is written for the mail server."""

from __future__ import annotations

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import msgspec

from metrion.kit.mailbox import parse_mailbox

_LONGEST_SUBJECT = 250


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is told to whom. Raises ValueError where an address or a subject could end its header line.

    `kind` names it in logs, which never hold its content. After `valid_until_ms` it is not sent any more (0: always).
    """

    to: str
    subject: str
    text: str
    html: str
    kind: str
    valid_until_ms: int = 0

    def __post_init__(self) -> None:
        if parse_mailbox(self.to).addr_spec != self.to:
            raise ValueError("the addressee must be an address alone")
        if not self.subject.isprintable() or not 0 < len(self.subject) <= _LONGEST_SUBJECT:
            raise ValueError(f"the subject must be one line of at most {_LONGEST_SUBJECT} characters")


def write_mail(message: Message, sender: Address, message_id: str, at_ms: int) -> EmailMessage:
    """`message` as a mail, plain text first; all of it is ASCII, whatever its languages, for any server to take.

    `message_id` without its angle brackets; the same one tells a receiver that it has this mail already.
    """
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = Address(addr_spec=message.to)
    mail["Subject"] = message.subject
    mail["Date"] = datetime.fromtimestamp(at_ms / 1000, UTC)
    mail["Message-ID"] = f"<{message_id}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answers, please
    mail["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    mail.set_content(message.text, cte="quoted-printable")
    mail.add_alternative(message.html, subtype="html", cte="quoted-printable")
    return mail
