"""Writing calls' rows, in the caller's transaction, and what is asked of them at the start.

The statements are made from `tables` once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import func, or_, select

from metrion.storage import tables
from metrion.storage.database import Connection
from metrion.storage.many import Many

Row = tuple[Any, ...]  # in the order of COLUMNS
ALIKE = (  # what most rows of a batch have in common with many others: see `insert_calls`
    "account_id",
    "provider",
    "endpoint",
    "format",
    "mode",
    "model",
    "requested_model",
    "requester",
    "stream",
    "status",
    "outcome",
    "error_code",
    "error_message",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "rare",
    "cost_source",
    "price_ref",
    "written_nano",
)
COLUMNS = (*ALIKE, *(column.name for column in tables.calls.columns if column.name not in ALIKE))
_ASKED = 500  # ids in one question
_BEGIN, _END = f"INSERT INTO calls ({','.join(COLUMNS)}) VALUES", "ON CONFLICT DO NOTHING"
_INSERT = Many(_BEGIN, len(COLUMNS), _END)
_INSERT_ALIKE = Many(_BEGIN, len(COLUMNS), _END, alike=len(ALIKE), least=16)


def insert_calls(connection: Connection, rows: Iterable[Row]) -> None:
    """Write rows; one whose id is there already is left as it is.

    To hand a value over to SQLite costs as much as to store it, so rows that begin alike hand that over once.
    """
    together: defaultdict[Row, list[Row]] = defaultdict(list)
    for row in rows:
        together[row[: len(ALIKE)]].append(row)
    others = list(chain.from_iterable(_INSERT_ALIKE.write(connection, some) for some in together.values()))
    _INSERT.write(connection, others)


def written(connection: Connection, keys: Sequence[tuple[int, bytes]]) -> set[tuple[int, bytes]]:
    """Those of `keys` (account, request id) that have a row."""
    found: set[tuple[int, bytes]] = set()
    calls = tables.calls
    ids: defaultdict[int, list[bytes]] = defaultdict(list)
    for account_id, request_id in keys:
        ids[account_id].append(request_id)
    # An account at a time: among pairs of account and id, SQLite would look for every row of the table.
    for account_id, some in ids.items():
        for at in range(0, len(some), _ASKED):
            mine = (calls.c.account_id == account_id) & calls.c.request_id.in_(some[at : at + _ASKED])
            there = connection.execute(select(calls.c.request_id).where(mine)).scalars()
            found.update((account_id, request_id) for request_id in there)
    return found


def admitted_since(connection: Connection, account_id: int, since_ms: int, limit: int) -> list[int]:
    """Start times (Unix ms) of an account's latest `limit` admitted calls since then, oldest first."""
    calls = tables.calls
    query = (
        select(calls.c.started_ms)
        .where(
            calls.c.account_id == account_id,
            calls.c.request_id >= max(since_ms, 0).to_bytes(6, "big"),
            or_(calls.c.outcome != "rejected", calls.c.request_bytes > 0),  # a body is read of what was admitted
        )
        .order_by(calls.c.request_id.desc())
        .limit(limit)
    )
    return sorted(started for (started,) in connection.execute(query))


def month_used(connection: Connection, account_id: int, month_start_ms: int) -> int:
    """How many of an account's calls since `month_start_ms`, a full hour, were answered with 2xx.

    By totals, for rows may be deleted before their month is over.
    """
    hours = tables.model_hours
    query = select(func.sum(hours.c.requests)).where(
        hours.c.account_id == account_id, hours.c.start_ms >= month_start_ms, hours.c.status.between(200, 299)
    )
    return connection.execute(query).scalar() or 0
