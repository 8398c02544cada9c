"""Outbox: mail on its way. What it says stays sealed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from metrion.storage.tables import outbox


class StoredMail(NamedTuple):
    """A row of the outbox."""

    id: int
    account_id: int  # 0: nobody's
    sealed: bytes
    created_ms: int
    tries: int


def add_mail(connection: Connection, account_id: int, sealed: bytes, now_ms: int) -> None:
    """Put a mail in; it may leave at once."""
    connection.execute(insert(outbox).values(account_id=account_id, sealed=sealed, created_ms=now_ms, next_ms=now_ms))


def due_mail(connection: Connection, now_ms: int, limit: int) -> Sequence[StoredMail]:
    """At most `limit` mails whose time has come, the oldest first."""
    columns = (outbox.c[name] for name in StoredMail._fields)
    query = select(*columns).where(outbox.c.next_ms <= now_ms).order_by(outbox.c.id).limit(limit)
    return [StoredMail(*row) for row in connection.execute(query)]


def next_mail_ms(connection: Connection) -> int | None:
    """When the next mail is due, in Unix ms; None where none waits."""
    found = connection.execute(select(func.min(outbox.c.next_ms))).scalar_one()
    return None if found is None else int(found)


def waiting_mail(connection: Connection) -> tuple[int, int, str]:
    """How many mails wait, since when in Unix ms, and the last problem of the oldest one that had any."""
    count, since = connection.execute(select(func.count(), func.min(outbox.c.created_ms))).one()
    query = select(outbox.c.problem).where(outbox.c.problem != "").order_by(outbox.c.id).limit(1)
    return int(count), int(since or 0), connection.execute(query).scalar_one_or_none() or ""


def delete_mail(connection: Connection, account_id: int, mail_id: int) -> None:
    """Take a mail out: the mail server has it, or it will never be sent."""
    connection.execute(delete(outbox).where(outbox.c.account_id == account_id, outbox.c.id == mail_id))


def postpone_mail(
    connection: Connection, account_id: int, mail_id: int, next_ms: int, tries: int, problem: str
) -> None:
    """Try a mail again at `next_ms`."""
    which = (outbox.c.account_id == account_id) & (outbox.c.id == mail_id)
    connection.execute(update(outbox).where(which).values(next_ms=next_ms, tries=tries, problem=problem))
