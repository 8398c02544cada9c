"""Accounts, their Metrion keys and provider keys, as stored; sealed values stay sealed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from metrion.storage.tables import (
    accounts,
    codes,
    folds,
    links,
    master_keys,
    model_hours,
    provider_days,
    provider_keys,
    sessions,
    tokens,
)


def add_account(connection: Connection, email: str, plan: str, now_ms: int) -> int:
    """Add an account and return its id; `email` is in lower case and not there yet."""
    added = connection.execute(
        insert(accounts).values(email=email, plan=plan, granted=plan, created_ms=now_ms).returning(accounts.c.id)
    )
    return int(added.scalar_one())


def find_account(connection: Connection, email: str) -> Row[Any] | None:
    """The account of an e-mail address in lower case."""
    return connection.execute(select(accounts).where(accounts.c.email == email)).one_or_none()


def list_accounts(connection: Connection, account_id: int | None = None) -> Sequence[Row[Any]]:
    """Every account in the order they were made, or the one."""
    query = select(accounts).order_by(accounts.c.id)
    return connection.execute(query if account_id is None else query.where(accounts.c.id == account_id)).all()


def find_accounts(connection: Connection, search: str, after: int, limit: int | None) -> Sequence[Row[Any]]:
    """Accounts whose address contains `search`, in the order they were made, from behind the account `after`."""
    query = select(accounts).where(accounts.c.id > after).order_by(accounts.c.id).limit(limit)
    if search:
        query = query.where(accounts.c.email.contains(search, autoescape=True))
    return connection.execute(query).all()


def never_confirmed(connection: Connection, before_ms: int, limit: int, account_id: int | None = None) -> list[int]:
    """Accounts made before then (the one, or any) that never came to life.

    Their address was not confirmed, nobody was ever let in or asked to be since then, and they have neither a
    provider's key nor a request.
    """
    conditions = [
        accounts.c.confirmed_ms.is_(None),
        accounts.c.created_ms < before_ms,
        accounts.c.password.is_(None),
        accounts.c.used_ms.is_(None),
        accounts.c.operator == 0,
        *(~exists().where(one.c.account_id == accounts.c.id) for one in (sessions, provider_keys, model_hours)),
        *(~exists().where(one.c.account_id == accounts.c.id, one.c.created_ms >= before_ms) for one in (codes, links)),
    ]
    query = select(accounts.c.id).where(*conditions).order_by(accounts.c.id).limit(limit)
    return list(connection.execute(query if account_id is None else query.where(accounts.c.id == account_id)).scalars())


def update_account(connection: Connection, account_id: int, **columns: Any) -> None:
    """Set columns of an account."""
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(columns))


def has_operator(connection: Connection) -> bool:
    """Whether any account may see the operator's pages."""
    return bool(connection.execute(select(exists().where(accounts.c.operator == 1))).scalar())


def count_requests(connection: Connection, account_ids: Sequence[int] | None) -> dict[int, int]:
    """Requests ever, refused ones left out, of each of those accounts (None: of all) that made one."""
    hours = model_hours.c
    later = select(hours.account_id, hours.requests).join(folds, folds.c.account_id == hours.account_id)
    later = later.where(hours.start_ms >= folds.c.folded_ms, hours.outcome != "rejected")
    days = select(provider_days.c.account_id, provider_days.c.requests).where(provider_days.c.outcome != "rejected")
    if account_ids is not None:
        later = later.where(hours.account_id.in_(account_ids))
        days = days.where(provider_days.c.account_id.in_(account_ids))
    both = days.union_all(later).subquery()
    sums = select(both.c.account_id, func.sum(both.c.requests)).group_by(both.c.account_id)
    return {row[0]: row[1] for row in connection.execute(sums)}


def list_tokens(connection: Connection, account_id: int | None = None) -> Sequence[Row[Any]]:
    """Every Metrion key, or one account's: digest, account_id, sealed, created_ms."""
    query = select(tokens)
    return connection.execute(query if account_id is None else query.where(tokens.c.account_id == account_id)).all()


def find_by_token(connection: Connection, digest: bytes) -> Row[Any] | None:
    """The account whose Metrion key has that digest."""
    owner = select(accounts).join(tokens, tokens.c.account_id == accounts.c.id)
    return connection.execute(owner.where(tokens.c.digest == digest)).one_or_none()


def replace_token(connection: Connection, account_id: int, digest: bytes, sealed: bytes, now_ms: int) -> None:
    """Make this the account's only Metrion key."""
    connection.execute(delete(tokens).where(tokens.c.account_id == account_id))
    row = {"digest": digest, "account_id": account_id, "sealed": sealed, "created_ms": now_ms}
    connection.execute(insert(tokens).values(row))


def list_provider_keys(connection: Connection, account_id: int | None = None) -> Sequence[Row[Any]]:
    """Every provider key, or one account's by provider: account_id, provider, sealed, tail, created_ms."""
    query = select(provider_keys).order_by(provider_keys.c.account_id, provider_keys.c.provider)
    return connection.execute(
        query if account_id is None else query.where(provider_keys.c.account_id == account_id)
    ).all()


def set_provider_key(
    connection: Connection, account_id: int, provider: str, sealed: bytes, tail: str, now_ms: int
) -> None:
    """Store a provider's key in the place of the one before."""
    delete_provider_key(connection, account_id, provider)
    row = {"account_id": account_id, "provider": provider, "sealed": sealed, "tail": tail, "created_ms": now_ms}
    connection.execute(insert(provider_keys).values(row))


def delete_provider_key(connection: Connection, account_id: int, provider: str) -> bool:
    """Delete a provider's key; False where there was none."""
    which = (provider_keys.c.account_id == account_id) & (provider_keys.c.provider == provider)
    return connection.execute(delete(provider_keys).where(which)).rowcount > 0


def canaries(connection: Connection) -> dict[bytes, bytes]:
    """Sealed canaries by the id of the master key they were sealed under."""
    return {row.id: row.canary for row in connection.execute(select(master_keys))}


def add_canary(connection: Connection, key_id: bytes, canary: bytes, now_ms: int) -> None:
    """Remember a master key by its id and a value it sealed."""
    connection.execute(insert(master_keys).values(id=key_id, canary=canary, created_ms=now_ms))
