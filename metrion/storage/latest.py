"""An account's latest call, for the page that waits for it; and one call by its id."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Row, exists, select

from metrion.kit.ids import first_id
from metrion.storage.database import Connection
from metrion.storage.tables import calls


class Told(NamedTuple):
    """What a page tells of a call, by the names of its columns."""

    request_id: bytes
    started_ms: int
    provider: str
    mode: str
    model: str  # as answered
    requested_model: str
    requester: str
    status: int
    outcome: str
    error_message: str | None
    input_tokens: int
    output_tokens: int
    cost_nano: int | None
    cost_source: str
    latency_us: int


_CALL = select(*(calls.c[name] for name in Told._fields))


def latest_call(connection: Connection, account_id: int, *, after: bytes, but: str) -> Told | None:
    """The account's newest call whose id is greater than `after`, the ones of requester `but` left out."""
    query = _CALL.where(calls.c.account_id == account_id, calls.c.request_id > after, calls.c.requester != but)
    return _told(connection.execute(query.order_by(calls.c.request_id.desc()).limit(1)).one_or_none())


def has_succeeded(connection: Connection, account_id: int, *, before: bytes, but: str) -> bool:
    """Whether any call before that id was answered well, those of requester `but` left out."""
    earlier = (calls.c.account_id == account_id) & (calls.c.request_id < before)
    return bool(
        connection.execute(select(exists().where(earlier, calls.c.outcome == "ok", calls.c.requester != but))).scalar()
    )


def find_call(connection: Connection, account_id: int, request_id: bytes, since_ms: int) -> Told | None:
    """A call of the account by its id; None where it has no such call that began at `since_ms` or later."""
    query = _CALL.where(
        calls.c.account_id == account_id, calls.c.request_id == request_id, calls.c.request_id >= first_id(since_ms)
    )
    return _told(connection.execute(query).one_or_none())


def _told(row: Row[Any] | None) -> Told | None:
    return None if row is None else Told._make(row)
