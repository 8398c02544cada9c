"""`/api/v1/logs`: an account's calls by the names of spec §3, newest first, and one call with its usage object."""

from __future__ import annotations

from typing import Any

from metrion.accounts.plans import visible_since
from metrion.storage import search
from metrion.storage.database import Connection
from metrion.storage.reports import call_fields, cost_history, usage_json
from metrion.storage.search import Wanted
from metrion.web.api import asked as address
from metrion.web.api.access import Problem, Question
from metrion.web.filters import STATUS

OWN = ("stream", "q", "before", "limit")
MOST = 500
_DEFAULT = 50
_LONGEST_TEXT = 256
_STREAM = {"true": True, "false": False, "": None}


async def find(question: Question) -> dict[str, Any]:
    """A page of calls, and what to send as `before` for the next."""
    visit, asked = question.visit, address.read(question, OWN)
    given = visit.request.query_params
    stream = _STREAM[address.one_of(question, "stream", _STREAM, "")]
    limit = address.number(question, "limit", MOST, _DEFAULT)
    before = _id(given["before"]) if "before" in given else None
    text = given.get("q", "")
    if len(text) > _LONGEST_TEXT:
        raise Problem(400, f"q has at most {_LONGEST_TEXT} characters.")
    found = address.bounds(question, asked)
    wanted = Wanted(
        found.from_ms,
        found.to_ms,
        asked.provider,
        asked.models,
        asked.requester,
        STATUS.get(asked.status),
        stream,
        text,
    )
    account_id = question.reader.id
    step = await visit.site.read(
        lambda connection: search.find_newest_first(connection, account_id, wanted, before, limit)
    )
    calls = [_without_usage(call_fields(row)) for row in step.rows]
    return address.head(question, found) | {"calls": calls, "next": step.after.hex() if step.after else None}


def _without_usage(call: dict[str, Any]) -> dict[str, Any]:
    del call["usage_raw"]
    return call


async def show(question: Question) -> dict[str, Any]:
    """One call with everything that was recorded of it."""
    visit, reader = question.visit, question.reader
    request_id = _id(visit.request.path_params["request_id"])

    def read(connection: Connection) -> dict[str, Any] | None:
        since = visible_since(visit.site.settings, reader.plan, question.now)
        row = search.get(connection, reader.id, request_id, since)
        if row is None:
            return None
        return call_fields(row) | {
            "usage_raw": usage_json(row.usage_raw),
            "cost_history": cost_history(connection, row),
        }

    call = await visit.site.read(read)
    if call is None:
        raise Problem(404, "There is no such call.")
    return call


def _id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 16:
        raise Problem(400, "A request id has 32 hex digits.")
    return found
