"""Everything that is kept of an account, as one JSON document for its owner: streamed, in bounded memory.

No key material: of keys only what their owner sees in Settings. Each step reads for a moment and lets go, so that an
export that takes an hour holds nothing up; what is recorded after its start is not in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

import orjson

from metrion.accounts.plans import visible_since
from metrion.config import Settings
from metrion.kit.clock import iso, now_ms
from metrion.kit.ids import first_id
from metrion.storage import export as stored
from metrion.storage.database import Connection
from metrion.storage.reports import call_fields, calls_from, cost_history

T = TypeVar("T")
Step = Callable[[Connection, Any], tuple[list[bytes], Any]]  # from a key: items as JSON, and the key to go on from

_STEP_ROWS = 500
_STEP_BYTES = 4 * 1024 * 1024  # of calls' usage: the results of a batch are one row


class Read(Protocol):
    """Runs `query` on a connection that only reads, off the event loop."""

    def __call__(self, query: Callable[[Connection], T]) -> Awaitable[T]: ...


async def export_account(read: Read, settings: Settings, account_id: int) -> AsyncIterator[bytes]:
    """Pieces of a JSON object: account, settings, subscription, keys' metadata, invoices' references,
    sessions, alert rules, usage by UTC day, logs.

    Logs are the calls that the account's plan shows, by the names of spec §3, the oldest first.
    """
    moment = now_ms()
    head = await read(lambda connection: _head(connection, account_id, moment))
    yield orjson.dumps(head)[:-1] + b',\n"usage":{'
    for number, kind in enumerate(stored.USAGE):
        yield b'%b"%b":[\n' % (b"," if number else b"", kind.encode())
        async for piece in _listed(read, _totals(account_id, kind), 0):
            yield piece
        yield b"]"
    yield b'},\n"logs":[\n'
    first = first_id(visible_since(settings, head["account"]["plan"], moment)) if head["account"] else first_id(moment)
    async for piece in _listed(read, _calls(account_id, first_id(moment)), first):
        yield piece
    yield b"]}\n"


async def _listed(read: Read, step: Step, key: Any) -> AsyncIterator[bytes]:
    """The items that `step` gives, one after the other, as a JSON array without its brackets."""
    before = b""
    while True:
        items, key = await read(_from(step, key))
        if items:
            yield before + b",\n".join(items)
            before = b",\n"
        if key is None:
            return


def _from(step: Step, key: Any) -> Callable[[Connection], tuple[list[bytes], Any]]:
    return lambda connection: step(connection, key)


def _head(connection: Connection, account_id: int, moment: int) -> dict[str, Any]:
    return {"exported_at": iso(moment), **stored.account_of(connection, account_id)}


def _totals(account_id: int, kind: str) -> Step:
    def step(connection: Connection, from_ms: int) -> tuple[list[bytes], Any]:
        rows, end = stored.totals_of_day(connection, account_id, kind, from_ms)
        return [orjson.dumps(row) for row in rows], end

    return step


def _calls(account_id: int, end: bytes) -> Step:
    def step(connection: Connection, first: bytes) -> tuple[list[bytes], Any]:
        items: list[bytes] = []
        size = 0
        for row in calls_from(connection, account_id, first, end, _STEP_ROWS):
            items.append(_call(connection, row))
            size += len(items[-1])
            if size > _STEP_BYTES or len(items) == _STEP_ROWS:
                return items, (int.from_bytes(row.request_id, "big") + 1).to_bytes(16, "big")
        return items, None

    return step


def _call(connection: Connection, row: Any) -> bytes:
    fields = call_fields(row)
    if fields["usage_raw"]:
        fields["usage_raw"] = _json(fields["usage_raw"])
    if history := cost_history(connection, row):
        fields["cost_history"] = history
    return orjson.dumps(fields)


def _json(text: str) -> Any:
    """`text` as it stands where it is JSON, so that its numbers stay as the provider wrote them; else as a string."""
    try:
        orjson.loads(text)
    except ValueError:
        return text
    return orjson.Fragment(text)
