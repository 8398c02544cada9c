"""Calls that are priced again: read a few at a time, and written with what they cost before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row as Stored
from sqlalchemy import bindparam, func, insert, select, update

from metrion.storage.database import Connection
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.tables import calls, repricing_runs, repricings

COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "rare",
)
COST = ("cost_nano", "cost_source", "price_ref")
SPLIT = ("input_nano", "cached_nano", "written_nano", "output_nano", "saved_nano")

_NANO_AT = COLUMNS.index("cost_nano")
_FETCHED = 16  # rows at once: one that holds a batch's results is tens of megabytes
_TAKEN_IDS = 500
_OF_CALL = (calls.c.account_id == bindparam("of_account")) & (calls.c.request_id == bindparam("of_request"))
_REPLACED = (*COUNTS, *COST, *SPLIT)
_REPLACE = update(calls).where(_OF_CALL).values({name: bindparam(f"new_{name}") for name in _REPLACED})


class Change(NamedTuple):
    """A call as it stands, and its row as it shall be, in the order of `rows.COLUMNS`."""

    before: Stored[Any]
    after: Row
    counts: str | None  # JSON of the counts before, where they differ

    @property
    def new_nano(self) -> int | None:
        nano: int | None = self.after[_NANO_AT]
        return nano


def stored_calls(
    connection: Connection, account_id: int, first: bytes, end: bytes, limit: int
) -> Iterator[Stored[Any]]:
    """An account's calls with ids from `first` to below `end`, in their order, `limit` at most."""
    ids = calls.c.request_id
    query = select(calls).where(calls.c.account_id == account_id, ids >= first, ids < end).order_by(ids).limit(limit)
    with connection.execute(query, execution_options={"yield_per": _FETCHED}) as found:
        yield from found


def start_run(connection: Connection, now_ms: int, reason: str) -> int:
    """Remember why calls are priced again; returns the run's id."""
    added = insert(repricing_runs).values(started_ms=now_ms, reason=reason).returning(repricing_runs.c.id)
    return int(connection.execute(added).scalar_one())


def replace_costs(connection: Connection, run_id: int, now_ms: int, changes: Sequence[Change]) -> None:
    """Write what calls of one account cost now, and keep what they cost before as a version of its own."""
    if not changes:
        return
    replaced = _versions(connection, [(change.before.account_id, change.before.request_id) for change in changes])
    connection.execute(insert(repricings), [_version(run_id, now_ms, change, replaced) for change in changes])
    connection.execute(_REPLACE, [_parameters(change) for change in changes])


def _versions(connection: Connection, keys: Sequence[tuple[int, bytes]]) -> dict[bytes, int]:
    """How often each call was priced again, by request id; 0 where it is not named."""
    found: dict[bytes, int] = {}
    for at in range(0, len(keys), _TAKEN_IDS):
        ids = [request_id for _, request_id in keys[at : at + _TAKEN_IDS]]
        query = (
            select(repricings.c.request_id, func.max(repricings.c.version))
            .where(repricings.c.account_id == keys[0][0], repricings.c.request_id.in_(ids))
            .group_by(repricings.c.request_id)
        )
        found.update((request_id, version) for request_id, version in connection.execute(query))
    return found


def _version(run_id: int, now_ms: int, change: Change, replaced: dict[bytes, int]) -> dict[str, Any]:
    before = change.before
    return {
        "account_id": before.account_id,
        "request_id": before.request_id,
        "version": replaced.get(before.request_id, 0) + 1,
        "run_id": run_id,
        "replaced_ms": now_ms,
        "counts": change.counts,
        **{name: getattr(before, name) for name in COST},
    }


def _parameters(change: Change) -> dict[str, Any]:
    row = dict(zip(COLUMNS, change.after, strict=True))
    new = {f"new_{name}": row[name] for name in _REPLACED}
    return {"of_account": row["account_id"], "of_request": row["request_id"], **new}


def versions_of(connection: Connection, account_id: int, request_id: bytes) -> Sequence[Stored[Any]]:
    """What a call cost before, with the reason and time of each change, the oldest first."""
    query = (
        select(repricings, repricing_runs.c.reason)
        .join(repricing_runs, repricing_runs.c.id == repricings.c.run_id)
        .where(repricings.c.account_id == account_id, repricings.c.request_id == request_id)
        .order_by(repricings.c.version)
    )
    return connection.execute(query).all()
