"""Calls, and what a ledger needs around it, for the tests of this folder."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from hypothesis import strategies as st
from sqlalchemy import select

from metrion.call import Call, Outcome, Reading
from metrion.kit.ids import new_ids
from metrion.storage import tables
from metrion.storage.database import Database

MODEL = "gpt-4o-mini-2024-07-18"  # 150 nano-dollars a token in, 600 out: https://platform.openai.com/docs/pricing
NOON = 1_793_534_400_000  # 2026-11-01T12:00:00Z
IDS = new_ids(lambda: NOON)

names = st.text(max_size=20)
counts = st.integers(0, 2**62)
usages = st.dictionaries(names, st.none() | st.integers(-9, 2**62) | names, max_size=5)
readings = st.builds(
    Reading,
    model=names,
    response_id=names,
    usage=st.lists(usages.map(lambda usage: msgspec.Raw(msgspec.json.encode(usage))), max_size=3),
    tools=st.dictionaries(names, counts, max_size=2),
    facts=st.dictionaries(names, names, max_size=2),
    error=names,
    done=st.booleans(),
)
calls = st.builds(
    Call,
    id=st.binary(min_size=16, max_size=16),
    account_id=counts,
    started_ms=counts,
    provider=names,
    endpoint=names,
    format=names,
    mode=names,
    requester=names,
    requested_model=names,
    stream=st.booleans(),
    status=st.integers(0, 599),
    outcome=st.sampled_from(["", *Outcome]).map(str),
    error_message=names,
    latency_us=counts,
    reading=st.none() | readings,
)


def usage_of(prompt: int, completion: int) -> Reading:
    """What an OpenAI chat answer says of that many tokens."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return Reading(model=MODEL, usage=[msgspec.Raw(msgspec.json.encode(usage))])


def make_call(started_ms: int = NOON, **values: Any) -> Call:
    """An OpenAI chat call that was answered, but for `values`; each has an id of its own."""
    own = started_ms.to_bytes(6, "big") + next(IDS)[6:]
    given: dict[str, Any] = {
        "id": own,
        "account_id": 1,
        "started_ms": started_ms,
        "provider": "openai",
        "endpoint": "chat.completions",
        "format": "openai_chat",
        "mode": "stored",
        "requested_model": "gpt-4o-mini",
        "status": 200,
        "outcome": Outcome.OK.value,
        "reading": usage_of(10, 5),
    }
    return Call(**given | values)


def intent_of(call: Call) -> Call:
    """The same call as it was when its provider was dialled."""
    blank = {"status": 0, "outcome": "", "reading": None, "latency_us": 0, "error_code": "", "error_message": ""}
    return msgspec.structs.replace(call, **blank)


def rows_of(database: Database) -> list[dict[str, Any]]:
    """Every row, by time."""
    with database.begin() as connection:
        rows = connection.execute(select(tables.calls).order_by(tables.calls.c.request_id))
        return [dict(row) for row in rows.mappings()]


def sums_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """The totals by model and by requester, as they are."""
    found = {}
    with database.begin() as connection:
        for table in (tables.model_hours, tables.requester_hours):
            found[table.name] = [tuple(row) for row in connection.execute(select(table))]
    return found


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond that: a full disk, short write included."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
